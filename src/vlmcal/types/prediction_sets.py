"""Label sets from conformal prediction, with what is needed to check their coverage."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    NUMBERED,
    BoolArray,
    IntArray,
    StrArray,
    as_array,
    as_labels,
    as_strings,
    is_unlabelled,
    no_labels,
)
from vlmcal.types.shown import Shown, plural


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PredictionSets(Shown):
    """One set of labels per row.

    Attributes:
        sets: (N, K) bool; True where the class is in the set.
        labels: (N,) int64; None where nobody knows them, as in Predictions.
        alpha: Target miscoverage in (0, 1).
        ids: (N,) distinct strings.
        class_names: K names.
        groups: (N,) or None.
        provenance: How the sets were made, as plain data.

    Raises:
        DataError: Shapes do not agree or alpha is outside (0, 1).

    Example:
        >>> s = PredictionSets(sets=[[True, False], [True, True]], labels=[0, 1], alpha=0.1)
        >>> s.sizes().tolist(), s.covered().tolist()
        ([1, 2], [True, True])
    """

    sets: BoolArray
    labels: IntArray
    alpha: float
    ids: StrArray = NUMBERED  # type: ignore[assignment]
    class_names: tuple[str, ...] = ()
    groups: StrArray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sets = as_array(self.sets).astype(np.bool_, copy=False)
        if sets.ndim != 2:
            raise DataError(f"sets: expected shape (N, K), got {sets.shape}")
        if not 0 < self.alpha < 1:
            raise DataError(f"alpha: expected a number between 0 and 1, got {self.alpha}")
        n, k = sets.shape
        labels = no_labels(n) if is_unlabelled(self.labels) else as_labels(self.labels, k)
        if labels.shape != (n,):
            raise DataError(f"labels: expected {n} values for {n} rows, got {labels.size}")
        names = tuple(map(str, self.class_names)) or tuple(str(i) for i in range(k))
        if len(names) != k:
            raise DataError(f"class_names: expected {k} names, got {len(names)}")
        given = vars(self).pop("ids", None)
        if given is not None:
            vars(self)["ids"] = as_strings(given, n, "ids")
        groups = None if self.groups is None else as_strings(self.groups, n, "groups")
        vars(self).update(sets=sets, labels=labels, class_names=names, groups=groups)

    def __len__(self) -> int:
        return int(self.sets.shape[0])

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        size = f"{plural(len(self), 'row')}, {plural(self.sets.shape[1], 'class')}"
        mean = self.sizes().mean() if len(self) else 0.0
        return f"PredictionSets: {size}, alpha {self.alpha:g}, {mean:.2f} labels per set", []

    @property
    def labelled(self) -> bool:
        """Whether the right classes are known."""
        return not is_unlabelled(self.labels)

    def sizes(self) -> IntArray:
        """Number of labels in each set, (N,)."""
        return np.asarray(self.sets.sum(axis=1), dtype=np.int64)

    def covered(self) -> BoolArray:
        """Whether each set holds the true label, (N,).

        Raises:
            DataError: The rows have no labels.
        """
        if not self.labelled:
            raise DataError(
                "whether a set holds the right class needs labels; these rows have none"
            )
        return self.sets[np.arange(len(self)), self.labels]
