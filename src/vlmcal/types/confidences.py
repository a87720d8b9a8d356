"""One confidence and one verdict per row: the common currency of top-label calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    NUMBERED,
    BoolArray,
    FloatArray,
    StrArray,
    as_array,
    as_strings,
    pick_ids,
    require_finite,
    rounding_unit,
    set_ids,
)
from vlmcal.types.shown import Shown, plural
from vlmcal.types.split import Split, as_split


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Confidences(Shown):
    """Stated or computed confidence that an answer is right, and whether it was.

    Attributes:
        confidence: (N,) in [0, 1], float64.
        correct: (N,) bool.
        ids: (N,) one distinct string per row.
        split: Which split the rows belong to; fitting on "test" is refused everywhere.
        groups: (N,) patient, slide or image that a row belongs to, or None.
        kinds: (N,) question type or any other stratum, or None.
        resolution: Rounding unit of the numbers before they became float64 (see
            :mod:`vlmcal.types.binning`); 0 when they were float64 all along.
        extras: Named (N, ...) arrays that some calibrators read ("hallucination").
        provenance: Where the rows come from, as plain data.

    Raises:
        DataError: Shapes differ, a confidence is outside [0, 1] or not finite, or ids repeat.

    Example:
        >>> rows = Confidences(confidence=[0.9, 0.6], correct=[True, False])
        >>> len(rows), float(rows.confidence.mean())
        (2, 0.75)
    """

    confidence: FloatArray
    correct: BoolArray
    ids: StrArray = NUMBERED  # type: ignore[assignment]
    split: Split = "unknown"
    groups: StrArray | None = None
    kinds: StrArray | None = None
    resolution: float = 0.0
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        confidence = as_array(self.confidence)
        if confidence.dtype.kind not in "fiub":
            raise DataError(f"confidence: expected numbers, got {confidence.dtype}")
        confidence = confidence.astype(np.float64)
        if confidence.ndim != 1:
            raise DataError(f"confidence: expected shape (N,), got {confidence.shape}")
        n = confidence.size
        require_finite(confidence, "confidence")
        if n and not (confidence.min() >= 0 and confidence.max() <= 1):
            wrong = np.flatnonzero((confidence < 0) | (confidence > 1))
            raise DataError(
                f"confidence: {wrong.size} of {n} are outside [0, 1], first {confidence[wrong[0]]} "
                f"in row {wrong[0]}; divide percentages by 100"
            )
        correct = as_array(self.correct)
        if correct.shape != (n,):
            raise DataError(f"correct: expected shape ({n},), got {correct.shape}")
        if correct.dtype != np.bool_ and not np.isin(correct, (0, 1)).all():
            raise DataError("correct: expected only 0/1 or True/False")
        set_ids(self, n)
        for name, array in self.extras.items():
            if len(array) != n:
                raise DataError(f"extras[{name!r}]: expected {n} rows, got {len(array)}")
        vars(self).update(
            resolution=max(self.resolution, rounding_unit(self.confidence)),
            confidence=confidence,
            correct=correct.astype(np.bool_),
            split=as_split(self.split),
            groups=None if self.groups is None else as_strings(self.groups, n, "groups"),
            kinds=None if self.kinds is None else as_strings(self.kinds, n, "kinds"),
        )

    def __len__(self) -> int:
        return int(self.confidence.size)

    @property
    def units(self) -> StrArray:
        """What is independent of each other, (N,): the groups, or the rows where there are none."""
        return self.ids if self.groups is None else self.groups

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        return f'Confidences: {plural(len(self), "row")}, split "{self.split}"', []

    def subset(self, rows: Any) -> "Confidences":
        """The rows selected by an index or boolean array."""
        return Confidences(
            confidence=self.confidence[rows],
            correct=self.correct[rows],
            ids=pick_ids(self.ids, rows),
            split=self.split,
            groups=None if self.groups is None else self.groups[rows],
            kinds=None if self.kinds is None else self.kinds[rows],
            resolution=self.resolution,
            extras={name: array[rows] for name, array in self.extras.items()},
            provenance=self.provenance,
        )
