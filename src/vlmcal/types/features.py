"""Image features of a frozen encoder, one row per image and view."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, IntArray, StrArray, as_strings


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Projected, NOT normalised image features, so that adapters see what the encoder gave.

    Attributes:
        image_features: (N, V, D) float32, possibly memory-mapped; V views per image.
        labels: (N,) int64.
        ids: (N,) item ids, as in the data set.
        views: (N, V, 5) crop box left, top, right, bottom as fractions of the image in [0, 1], and
            flip (0 or 1), so that pixel methods and teachers see the same views.
        key: Content key of the cache entry: backbone, preprocessing, data, view recipe, dtype.

    Raises:
        DataError: Shapes do not agree.
    """

    image_features: FloatArray
    labels: IntArray
    ids: StrArray
    views: FloatArray
    key: str = ""

    def __post_init__(self) -> None:
        shape = self.image_features.shape
        if len(shape) != 3:
            raise DataError(f"image_features: expected shape (N, V, D), got {shape}")
        if self.labels.shape != (shape[0],):
            raise DataError(f"labels: expected shape ({shape[0]},), got {self.labels.shape}")
        if self.views.shape != (*shape[:2], 5):
            raise DataError(f"views: expected shape {(*shape[:2], 5)}, got {self.views.shape}")
        object.__setattr__(self, "ids", as_strings(self.ids, shape[0], "ids"))

    def __len__(self) -> int:
        return int(self.image_features.shape[0])

    @property
    def n_views(self) -> int:
        """V, the number of views per image."""
        return int(self.image_features.shape[1])

    def subset(self, rows: Any) -> "Features":
        """The images selected by an index or boolean array."""
        return Features(
            image_features=np.asarray(self.image_features[rows]),
            labels=self.labels[rows],
            ids=self.ids[rows],
            views=self.views[rows],
            key=self.key,
        )
