"""Images that already are arrays: from Python or from an NPZ file, MedMNIST's layout included."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmcal.data.assemble import as_templates
from vlmcal.data.base import DATASETS, ByName, accepts
from vlmcal.data.splits import split_alias, split_names, stratified_split
from vlmcal.errors import DataError, SplitError, nearest
from vlmcal.io.npz import read_npz
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed

_KEYS: Final = ("images", "labels", "splits", "groups", "ids", "class_names")
_PARTS: Final = ("train", "val", "test")


@DATASETS.register("arrays")
@accepts(ByName((".npz",)))
def arrays(
    path: str | Path | None = None,
    *,
    images: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
) -> Dataset:
    """Load images from arrays in memory, or from an NPZ file.

    An NPZ file holds either ``images`` and ``labels`` (and, if wanted, ``splits``, ``groups``, ``ids``
    and ``class_names``), or, as MedMNIST does, ``train_images``, ``train_labels`` and the same for
    val and test; then ids are "train/0", "train/1", ... Labels of shape (N, 1) become (N,).

    Source of the second layout: Yang et al., MedMNIST v2, Scientific Data 2023, arXiv 2110.14795.

    Args:
        path: An ``.npz`` file; None if ``images`` and ``labels`` are given.
        images: uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), values 0 to 255.
        labels: (N,) integers from 0.
        class_names: K names in label order. Needed unless the file holds them: what a number means is
            not guessed.
        splits: (N,) train, val, test or calibration. Without them, a stratified split 50/20/30 is drawn
            (:func:`vlmcal.data.splits.stratified_split`).
        groups: (N,) patient or slide.
        ids: (N,) distinct names.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the file name.
        split_seed: Seed of the split if there is none.

    Raises:
        DataError: Unreadable file, wrong or missing keys, type, shape or labels.

    Example:
        >>> data = arrays(images=np.zeros((4, 8, 8), np.uint8), labels=[0, 1, 0, 1],
        ...               class_names=["ill", "well"], splits=["train", "train", "test", "test"])
        >>> len(data.of_split("test")), data.class_names
        (2, ('ill', 'well'))
    """
    given: dict[str, Any] = {
        "images": images, "labels": labels, "splits": splits, "groups": groups, "ids": ids,
        "class_names": class_names,
    }  # fmt: skip
    content = {key: value for key, value in given.items() if value is not None}
    title, where = name or "arrays", "arrays"
    if path is not None:
        file = Path(path).expanduser()
        both = sorted(content.keys() - {"class_names"})
        if both:
            raise DataError(f"{file}: pass either a file or {', '.join(both)}, not both")
        content, title, where = arrays_of(file, _labels) | content, name or file.stem, str(file)
    missing = [key for key in ("images", "labels", "class_names") if key not in content]
    if missing:
        raise DataError(f"{where}: no {missing[0]}; {_fix(missing[0])}")
    pixels = _images(content["images"], where)
    codes = _labels(content["labels"], len(pixels), where)
    side = content.get("groups")
    return Dataset(
        name=title,
        images=pixels,
        labels=codes,
        splits=(
            np.asarray(_splits(content["splits"], where))
            if "splits" in content
            else stratified_split(codes, groups=side, seed=split_seed)
        ),
        class_names=tuple(map(str, content["class_names"])),
        ids=content["ids"] if "ids" in content else np.arange(len(pixels)).astype(np.str_),
        templates=as_templates(templates),
        groups=side,
    )


def _fix(key: str) -> str:
    if key == "class_names":
        return "pass class_names=[...] in label order, because what a number means is not guessed"
    return f"give both images and labels, under these names; got no {key}"


Labels: TypeAlias = Callable[[Any, int, str], NDArray[Any]]


def arrays_of(file: Path, labels: Labels) -> dict[str, Any]:
    """The arrays of an NPZ file by the names that :func:`arrays` takes, parts put together.

    Args:
        file: In one of its two layouts.
        labels: (values, N, place) -> the labels of N images, checked.

    Raises:
        DataError: Wrong or missing keys, types or shapes.
    """
    content = read_npz(file)
    parts = [part for part in _PARTS if f"{part}_images" in content]
    if not parts or "images" in content:
        near = [key for key in content if key not in _KEYS]
        if "images" not in content or "labels" not in content:
            need = "images" if "images" not in content else "labels"
            raise DataError(
                f'{file}: no array "{need}"; expected images and labels, or train_images, train_labels, '
                f"... as in MedMNIST: {nearest(need, near)}"
            )
        return {key: content[key] for key in _KEYS if key in content}
    columns: dict[str, list[Any]] = {"images": [], "labels": [], "splits": [], "ids": []}
    for part in parts:
        if f"{part}_labels" not in content:
            raise DataError(f'{file}: has "{part}_images" but no "{part}_labels"')
        pixels = _images(content[f"{part}_images"], f"{file}: {part}_images")
        columns["images"].append(pixels)
        columns["labels"].append(labels(content[f"{part}_labels"], len(pixels), f"{file}: {part}"))
        columns["splits"].append(np.full(len(pixels), part))
        columns["ids"].append(np.asarray([f"{part}/{row}" for row in range(len(pixels))]))
    shapes = {pixels.shape[1:] for pixels in columns["images"]}
    if len(shapes) > 1:
        raise DataError(f"{file}: images of the parts differ in shape: {sorted(shapes, key=str)}")
    merged: dict[str, Any] = {key: np.concatenate(column) for key, column in columns.items()}
    if "class_names" in content:
        merged["class_names"] = content["class_names"]
    return merged


def _images(values: Any, where: str) -> NDArray[np.uint8]:
    pixels = np.asarray(values)
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{where}: images must be uint8 with values 0 to 255, got {pixels.dtype}; for values in "
            "[0, 1] use (255 * images).round().astype(numpy.uint8)"
        )
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 4 and pixels.shape[3] != 3 and pixels.shape[1] in (1, 3):
        raise DataError(
            f"{where}: images have shape {pixels.shape}, channels first; use numpy.moveaxis(images, 1, 3)"
        )
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise DataError(
            f"{where}: images must have shape (N, H, W) or (N, H, W, 3), got {pixels.shape}"
        )
    if pixels.size == 0:
        raise DataError(f"{where}: there is not a single image, shape {pixels.shape}")
    return pixels


def _labels(values: Any, n: int, where: str) -> NDArray[Any]:
    codes = np.asarray(values)
    if codes.ndim == 2 and codes.shape[1] == 1:
        codes = codes[:, 0]
    if codes.shape != (n,):
        raise DataError(
            f"{where}: expected one label per image, shape ({n},), got {codes.shape}; several findings "
            "per image are read by: vlmcal findings"
        )
    return codes


def _splits(values: Any, where: str) -> list[str]:
    cells = [str(value) for value in np.asarray(values).tolist()]
    unknown = sorted({cell for cell in cells if split_alias(cell) is None})
    if unknown:
        raise SplitError(
            f'{where}: unknown split "{unknown[0]}"; {nearest(unknown[0], split_names())}'
        )
    return [split_alias(cell) or "" for cell in cells]
