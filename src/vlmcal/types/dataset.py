"""Images with labels, splits and class names: what a manifest says, before any pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.types.arrays import IntArray, StrArray, as_ids, as_labels, as_strings, pick_ids
from vlmcal.types.picture import Picture
from vlmcal.types.shown import Shown, plural
from vlmcal.types.split import SPLITS

DEFAULT_TEMPLATES = ("a photo of a {}.",)


def require_templates(templates: Sequence[str]) -> None:
    """Refuse prompts without one place for the class name.

    Raises:
        DataError: There are none, or one has no ``{}`` or several.
    """
    bad = [text for text in templates if text.count("{}") != 1]
    if bad or not templates:
        raise DataError(f"templates: expected exactly one {{}} in each, got {bad or 'none'}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset(Shown):
    """A classified set of images.

    Attributes:
        name: Short name for reports.
        images: N paths (or parts of files, :class:`vlmcal.types.picture.Picture`), or a uint8 array
            (N, H, W) or (N, H, W, 3).
        labels: (N,) int64 index into ``class_names``.
        ids: (N,) distinct strings.
        splits: (N,) one of train, val, calibration, test, unknown per image.
        class_names: K names, in label order; underscores are shown to models as spaces.
        templates: Zero-shot prompts with one ``{}`` for the class name.
        groups: (N,) patient or slide, kept on one side of every split, or None.
        remarks: What whoever read them wants said beside every result.

    Raises:
        DataError: Shapes differ, labels out of range, ids repeat, a template lacks ``{}``.
    """

    name: str
    images: Sequence[Path | Picture] | NDArray[np.uint8]
    labels: IntArray
    splits: StrArray
    class_names: tuple[str, ...]
    ids: StrArray = None  # type: ignore[assignment]
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    groups: StrArray | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        names = tuple(map(str, self.class_names))
        if len(set(names)) != len(names) or not names:
            raise DataError(f"class_names: expected distinct names, got {names[:10]}")
        labels = as_labels(self.labels, len(names))
        if labels.shape != (n,):
            raise DataError(f"labels: expected {n} values for {n} images, got {labels.size}")
        splits = as_strings(self.splits, n, "splits")
        unknown = sorted(set(splits.tolist()) - set(SPLITS))
        if unknown:
            raise DataError(f"splits: unknown {unknown}; expected {', '.join(SPLITS)}")
        ids = as_ids(self.ids, n)
        require_templates(self.templates)
        vars(self).update(
            labels=labels,
            splits=splits,
            ids=ids,
            class_names=names,
            templates=tuple(self.templates),
            groups=None if self.groups is None else as_strings(self.groups, n, "groups"),
        )

    @property
    def holds_features(self) -> bool:
        """Whether the rows are precomputed features, (N, D) floats, and not pictures."""
        rows = self.images
        return isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind == "f"

    def __len__(self) -> int:
        return len(self.images)

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """The name and sizes, and a line per split."""
        title = f"Dataset {self.name}: {plural(len(self), 'image')}, {plural(len(self.class_names), 'class')}"
        sizes = [(name, f"{int((self.splits == name).sum()):,}") for name in SPLITS]
        return title, [("split", "images"), *(line for line in sizes if line[1] != "0")]

    def subset(self, rows: Any) -> "Dataset":
        """The images selected by an index or boolean array; class names stay."""
        index = np.arange(len(self))[rows]
        images = (
            self.images[index]
            if isinstance(self.images, np.ndarray)
            else tuple(self.images[i] for i in index)
        )
        return replace(
            self,
            images=images,
            labels=self.labels[index],
            splits=self.splits[index],
            ids=pick_ids(self.ids, index),
            groups=None if self.groups is None else self.groups[index],
        )

    def of_split(self, split: str) -> "Dataset":
        """The images of one split."""
        return self.subset(self.splits == split)

    def of_classes(self, classes: Sequence[int]) -> "Dataset":
        """The images of some classes, relabelled 0 .. len(classes) - 1 in the given order."""
        lookup = np.full(len(self.class_names), -1, dtype=np.int64)
        lookup[np.asarray(classes, dtype=np.int64)] = np.arange(len(classes))
        kept = self.subset(lookup[self.labels] >= 0)
        return replace(
            kept,
            labels=lookup[kept.labels],
            class_names=tuple(self.class_names[c] for c in classes),
        )
