"""Sets of findings: what is reported as possible in each row."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray, as_ids, as_strings
from vlmcal.types.shown import Shown, plural


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FindingSets(Shown):
    """A set of findings for each row, of any size, with the truth where it is known.

    Attributes:
        sets: (N, L) whether a finding is in the set.
        labels: (N, L) 1, 0 or NaN (unknown).
        names: L names.
        alpha: Target share of missed findings.
        ids: (N,) one distinct string per row.
        groups: (N,) patient or study of each row, or None.
        provenance: How they were made, as plain data.

    Raises:
        DataError: Shapes differ.

    Example:
        >>> FindingSets(sets=[[True, False]], labels=[[1, 0]], names=("edema", "mass")).listed()
        ['edema']
    """

    sets: BoolArray
    labels: FloatArray
    names: tuple[str, ...]
    alpha: float = 0.1
    ids: StrArray = None  # type: ignore[assignment]
    groups: StrArray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sets = np.asarray(self.sets, dtype=np.bool_)
        labels = np.asarray(self.labels, dtype=np.float64)
        if sets.ndim != 2 or sets.shape != labels.shape or sets.shape[1] != len(self.names):
            raise DataError(
                f"sets: expected sets and labels (N, {len(self.names)}), got {sets.shape} and {labels.shape}"
            )
        set_ = object.__setattr__
        set_(self, "sets", sets)
        set_(self, "labels", labels)
        set_(self, "ids", as_ids(self.ids, len(sets)))
        groups = None if self.groups is None else as_strings(self.groups, len(sets), "groups")
        set_(self, "groups", groups)

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def labelled(self) -> bool:
        """Whether any truth is known."""
        return bool(np.isfinite(self.labels).any())

    def listed(self, mark: str = "|") -> list[str]:
        """The findings of each set in one text."""
        names = np.asarray(self.names)
        return [mark.join(names[row].tolist()) for row in self.sets]

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        size = self.sets.sum(axis=1).mean()
        return f"FindingSets: {plural(len(self), 'row')}, {size:.2f} findings on average", []
