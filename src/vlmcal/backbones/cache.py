"""Image features, encoded once and kept under a key that names everything they depend on."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vlmcal.backbones import views as recipe
from vlmcal.backbones.ahead import rendered_ahead
from vlmcal.backbones.augmix import DEPTH, SEVERITY, WIDTH
from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.entries import Arrays, Entries, Specs
from vlmcal.backbones.known_rows import NAMES, copy_known, image_names
from vlmcal.backbones.partial import Partial
from vlmcal.errors import DataError, SpecError
from vlmcal.hashing import digest
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.io.fingerprint import content_fingerprint, content_of, image_hashes
from vlmcal.io.images import read_image, require_readable
from vlmcal.types.arrays import IntArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features

Progress = Callable[[int, int], None]
_ENCODED = ("features", "views")
_TILE = 8
_VERSION = 1  # raise it when the same key would give other numbers


def image_features(
    encoder: FeatureEncoder,
    dataset: Dataset,
    *,
    views: int = 1,
    seed: int = 0,
    flip: bool = True,
    interpolation: str | None = None,
    augmix: bool = False,
    cache_dir: str | os.PathLike[str] | Literal[False] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Features:
    """Projected, not normalised image features (N, V, D) of a data set, from the cache if known.

    An entry is read without copying (memory-mapped) after its size and SHA-256 were checked; a
    damaged one is made again with a warning. Several processes may make the same entry at once: it
    appears complete or not at all, and the first one stays. What an interrupted call had encoded within the
    last day is not encoded again, and neither is an image that any entry of the same model, preprocessing
    and views holds, whatever data set or part of one it was encoded for.

    Args:
        encoder: The frozen model.
        dataset: N images.
        views: 1 for the centre crop of the evaluation transform; V > 1 for V random crops.
        seed: Seed of the random crops. Precomputed features have one view, whatever is asked for.
        flip: Whether random crops may be mirrored; False for digits, letters, sides of a body.
        interpolation: PIL filter of random crops; None for that of the evaluation transform.
        augmix: Mix random crops with distortions of themselves (:mod:`vlmcal.backbones.augmix`).
        cache_dir: Folder of the cache; None for ``$VLMCAL_CACHE`` or ``~/.cache/vlmcal``, False to
            compute without reading or writing any file.
        batch_size: Views per forward pass.
        progress: Called with (images done, N) after every batch.

    Raises:
        DataError: There are no images, or some cannot be read; lists them with path and reason. Or the
            data hold features and the backbone is not the file they come from, or the other way round.
        SpecError: ``views`` or ``batch_size`` is below 1.
        StoreError: The cache folder cannot be written.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> data = Dataset(name="d", images=np.zeros((3, 8, 8), np.uint8), labels=[0, 1, 1],
        ...                splits=["train"] * 3, class_names=("zero", "one"))
        >>> features = image_features(load_backbone("pocket"), data, views=2, cache_dir=False)
        >>> features.image_features.shape, features.views.shape
        ((3, 2, 64), (3, 2, 5))
    """
    if views < 1 or batch_size < 1:
        raise SpecError(f"expected views and batch_size >= 1, got {views} and {batch_size}")
    if not len(dataset):
        raise DataError(f'data set "{dataset.name}" has no images to encode')
    if _holds_features(encoder, dataset):
        return _as_given(encoder, dataset)
    wanted = recipe.Draw(views, seed, flip, interpolation, augmix)
    folder = default_cache_dir() if cache_dir is None else cache_dir and Path(cache_dir)
    job = _Job(encoder, dataset, wanted, folder if isinstance(folder, Path) else None, batch_size)

    def fill(arrays: Arrays) -> None:
        job.encode(arrays, progress)

    arrays = job.stored(fill) if job.files is not None else job.empty()
    if job.files is None:
        fill(arrays)
    return Features(
        image_features=arrays["features"],
        labels=dataset.labels,
        ids=dataset.ids,
        views=arrays["views"],
        key=job.key,
    )


def is_encoded(
    encoder: FeatureEncoder, dataset: Dataset, *, cache_dir: str | os.PathLike[str] | None = None
) -> bool:
    """Whether the evaluation features of a data set are in the cache, or need none."""
    if _holds_features(encoder, dataset):
        return True
    files = default_cache_dir() if cache_dir is None else Path(cache_dir)
    return (files / "features" / _Job(encoder, dataset, recipe.Draw(), files).key).is_dir()


def encode_rows(
    encoder: FeatureEncoder,
    dataset: Dataset,
    rows: range,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> None:
    """Encode some images of a data set, and leave them where :func:`image_features` goes on from.

    Several processes that share the cache encode a large data set so; whoever then asks for all of it finds
    the rows done. Numbers are those of one pass where ``rows`` starts at a whole number of batches.

    Args:
        encoder: The frozen model.
        dataset: N images.
        rows: Which of them.
        cache_dir: Folder of the cache.
        batch_size: Images per forward pass.
        progress: Called with (images done, N) after every batch.

    Raises:
        DataError: Some images cannot be read.
        StoreError: The cache folder cannot be written.
    """
    if _holds_features(encoder, dataset):
        return
    files = default_cache_dir() if cache_dir is None else Path(cache_dir)
    job = _Job(encoder, dataset, recipe.Draw(), files, batch_size)
    arrays = job.empty()
    job.encode(arrays, progress, rows)
    job.partial.save({name: arrays[name] for name in _ENCODED})


class _Job:
    """What is to be encoded, and what of it is known.

    Args:
        encoder: The frozen model.
        dataset: N images.
        views: How they are seen.
        files: Folder of the cache, or None for none.
        batch_size: Views per forward pass.
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        dataset: Dataset,
        views: recipe.Draw,
        files: Path | None,
        batch_size: int = 64,
    ) -> None:
        self.encoder, self.dataset, self.views = encoder, dataset, views
        self.files, self.batch_size = files, batch_size
        self.hashes = image_hashes(dataset, files)
        self.tower = _tower(encoder, views)
        self.description = {**self.tower, "data": content_of(dataset, self.hashes)}
        self.key = digest(self.description)
        self.partial = Partial(None if files is None else files / "features" / f".{self.key}.rows")

    @property
    def specs(self) -> Specs:
        """Shape and type of every array."""
        n, v = len(self.dataset), self.views.count
        return {
            "features": ((n, v, self.encoder.embed_dim), np.dtype(np.float32)),
            "views": ((n, v, 5), np.dtype(np.float64)),
            NAMES: ((n, 16), np.dtype(np.uint8)),
        }

    def empty(self) -> Arrays:
        """Arrays in memory, without content."""
        return {name: np.empty(shape, dtype) for name, (shape, dtype) in self.specs.items()}

    def stored(self, fill: Callable[[Arrays], None]) -> Arrays:
        """Arrays of the cache; ``fill`` is called where they are not there."""
        assert self.files is not None
        names = {"encoder_name": self.encoder.name, "dataset_name": self.dataset.name}
        about = {**self.description, **names, "tower": digest(self.tower)}
        entries = Entries(self.files / "features")
        arrays = entries.get(self.key, self.specs, fill, about, later=(NAMES,))
        self.partial.remove()
        return arrays

    def encode(self, into: Arrays, progress: Progress | None, wanted: range | None = None) -> None:
        """Fill the arrays: rows that are known from before or from other data, then the rest in batches."""
        by_id = self.views.count > 1
        into[NAMES][:] = image_names(self.hashes, self.dataset.ids, drawn_by_id=by_id)
        arrays = {name: into[name] for name in _ENCODED}
        done = self.partial.restore(arrays)
        if self.files is not None:
            copy_known(self.files / "features", digest(self.tower), into[NAMES], arrays, done)
        span = np.arange(len(self.dataset)) if wanted is None else np.asarray(wanted)
        missing = span[~done[span]]
        per_group = max(1, self.batch_size // self.views.count)
        groups = [missing[at : at + per_group] for at in range(0, len(missing), per_group)]
        finished = len(span) - len(missing)
        try:
            for rows, pixels, boxes in _rendered(self.encoder, self.dataset, self.views, groups):
                features = self._forward(torch.from_numpy(pixels))
                arrays["features"][rows] = features.reshape(len(rows), self.views.count, -1)
                arrays["views"][rows] = boxes
                self.partial.add(rows, arrays)
                finished += len(rows)
                if progress is not None:
                    progress(finished, len(span))
        except BaseException:
            self.partial.save(arrays)
            raise

    def _forward(self, pixels: torch.Tensor) -> NDArray[np.float32]:
        encoder, parts = self.encoder, []
        for piece in torch.split(pixels, self.batch_size):
            # Matrix kernels treat the last rows of a batch apart, so that an image's features would depend
            # in their last bits on how many others were left to encode: whole tiles keep them the same.
            more = -len(piece) % _TILE
            filled = torch.cat([piece, piece[-1:].expand(more, -1, -1, -1)]) if more else piece
            with torch.no_grad(), encoder.encoding():
                encoded = encoder.encode_pixels(filled.to(encoder.device, encoder.dtype))
            parts.append(encoded[: len(piece)].float().cpu())
        features: NDArray[np.float32] = torch.cat(parts).numpy()
        return features


def _holds_features(encoder: FeatureEncoder, dataset: Dataset) -> bool:
    """Whether the data set holds features of this very backbone.

    Raises:
        DataError: Only one of the two is precomputed, or the widths differ.
    """
    rows = dataset.images
    given = dataset.holds_features
    if given != (encoder.family == "precomputed"):
        raise DataError(
            f'data set "{dataset.name}" holds {"features" if given else "pictures"}, but the backbone '
            f'"{encoder.name}" {"encodes pictures" if given else "holds features only"}; name the file of '
            "features both as data and as backbone"
        )
    if given and rows.shape[1] != encoder.embed_dim:  # type: ignore[union-attr]
        raise DataError(
            f'data set "{dataset.name}" has features of {rows.shape[1]} numbers, the texts of '  # type: ignore[union-attr]
            f'"{encoder.name}" have {encoder.embed_dim}; they belong to different models'
        )
    return given


def _as_given(encoder: FeatureEncoder, dataset: Dataset) -> Features:
    rows = np.asarray(dataset.images, dtype=np.float32)[:, None]
    whole = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
    return Features(
        image_features=rows,
        labels=dataset.labels,
        ids=dataset.ids,
        views=np.tile(whole, (len(rows), 1, 1)),
        key=digest({"given": content_fingerprint(dataset), "encoder": encoder.fingerprint}),
    )


def _tower(encoder: FeatureEncoder, views: recipe.Draw) -> dict[str, Any]:
    """All that features depend on beside the images."""
    random_crops: dict[str, Any] = {
        "kind": "random_resized_crop",
        "count": views.count,
        "seed": views.seed,
        "flip": views.flip,
        "scale": recipe.SCALE,
        "ratio": recipe.RATIO,
    }
    if views.interpolation is not None:
        random_crops["interpolation"] = views.interpolation
    if views.augmix:
        random_crops["augmix"] = {"severity": SEVERITY, "width": WIDTH, "depth": DEPTH}
    return {
        "version": _VERSION,
        "encoder": encoder.fingerprint,
        "preprocess": encoder.preprocess.describe(),
        "views": random_crops if views.count > 1 else {"kind": "centre"},
        "dtype": str(encoder.dtype),
    }


def _rendered(
    encoder: FeatureEncoder, dataset: Dataset, views: recipe.Draw, groups: list[IntArray]
) -> Iterator[tuple[IntArray, NDArray[np.float32], NDArray[np.float64]]]:
    """Pixels (n V, 3, H, W) and boxes (n, V, 5) of each group; the next group is drawn meanwhile."""

    def render(row: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        image = read_image(dataset.images[row])
        item = str(dataset.ids[row])
        pixels, boxes = recipe.draw_views(image, views, encoder.preprocess, item)
        return pixels, np.asarray(boxes, np.float64)

    batches = [rows.tolist() for rows in groups]
    try:
        for rows, (_, made) in zip(groups, rendered_ahead(render, batches), strict=True):
            yield rows, np.concatenate([m[0] for m in made]), np.stack([m[1] for m in made])
    except DataError:
        require_readable(list(dataset.images))
        raise
