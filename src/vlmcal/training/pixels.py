"""Pixels of the views whose features are cached, rendered again from their recorded boxes."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.views import View, render_view
from vlmcal.errors import DataError
from vlmcal.io.images import read_image
from vlmcal.learners.base import Learner
from vlmcal.types.arrays import IntArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features

KEPT_BYTES = 512 << 20


class PixelBank:
    """(rows, view) -> pixels (B, 3, H, W) float32 of a data set, exactly those of the cached features.

    Crop and flip of every view are part of the features, so a learner that changes the image tower and a
    teacher that reads the cache see the same picture. Pixels are kept up to ``keep`` bytes.

    Args:
        data: The images.
        features: Cached features of the same images in the same order.
        preprocess: The encoder's recipe.
        keep: Bytes of rendered pixels to keep in memory; 0 for images that are shown once.

    Raises:
        DataError: Data and features are not of the same items.

    Example:
        >>> data = Dataset(name="d", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1],
        ...                splits=["train"] * 2, class_names=("zero", "one"))
        >>> features = Features(image_features=np.zeros((2, 1, 8)), labels=data.labels, ids=data.ids,
        ...                     views=np.array([[[0, 0, 1, 1, 0]]] * 2, dtype=float))
        >>> tuple(PixelBank(data, features, Preprocess(size=6, resize=6))(np.array([1]), 0).shape)
        (1, 3, 6, 6)
    """

    def __init__(
        self, data: Dataset, features: Features, preprocess: Preprocess, *, keep: int = KEPT_BYTES
    ) -> None:
        if not np.array_equal(data.ids, features.ids):
            raise DataError(
                f'pixels of "{data.name}": {len(data)} images but features of {len(features)} other '
                "items; encode the same subset that is trained on"
            )
        self._images, self._views, self._preprocess = data.images, features.views, preprocess
        self._room = keep
        self._kept: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def __call__(self, rows: IntArray, view: int) -> Tensor:
        """Pixels (B, 3, H, W) of the images ``rows`` under view number ``view``."""
        return torch.from_numpy(np.stack(list(self._render(rows, view))))

    def _render(self, rows: IntArray, view: int) -> Iterable[NDArray[np.float32]]:
        def one(row: int) -> NDArray[np.float32]:
            kept = self._kept.get((row, view))
            if kept is not None:
                return kept
            left, top, right, bottom, flip = self._views[row, view].tolist()
            box = View(left, top, right, bottom, bool(flip))
            return render_view(read_image(self._images[row]), box, self._preprocess)

        for row, pixels in zip(rows.tolist(), self._pool.map(one, rows.tolist()), strict=True):
            if (row, view) not in self._kept and pixels.nbytes <= self._room:
                self._kept[row, view] = pixels
                self._room -= pixels.nbytes
            yield pixels


def pixel_source(learner: Learner, data: Dataset, features: Features) -> PixelBank | None:
    """Pixels for a learner that changes the image tower; None for one that reads cached features."""
    if learner.consumes == "features":
        return None
    return PixelBank(data, features, learner.encoder.preprocess)
