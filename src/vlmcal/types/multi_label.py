"""Findings that do not exclude each other: one independent probability and one truth for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.types import special
from vlmcal.types.arrays import (
    BoolArray,
    FloatArray,
    Numbers,
    StrArray,
    as_array,
    as_ids,
    as_strings,
    pick_ids,
    require_finite,
    rounding_unit,
)
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import Shown, plural
from vlmcal.types.softmax import log_pair
from vlmcal.types.split import Split, as_split

UNCERTAIN = -1
# What stands in the place of "uncertain" (-1) or of an empty cell.
MEANING: Mapping[str, float] = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiLabel(Shown):
    """Probabilities of L findings in N rows, each for itself, and whether each finding was there.

    Attributes:
        probabilities: (N, L) in [0, 1]; rows need not sum to 1.
        labels: (N, L) 1 where the finding is present, 0 where it is absent, NaN where nobody knows; None
            where nothing is known at all.
        names: L names of the findings; default "0", "1", ...
        ids: (N,) one distinct string per row.
        groups: (N,) patient or study of each row, or None.
        split: Which split the rows belong to; fitting on "test" is refused everywhere.
        resolution: Rounding unit of the probabilities as they came in.
        provenance: Where the rows come from, as plain data.

    Raises:
        DataError: Shapes differ, NaN or probabilities outside [0, 1], labels other than 0, 1 and NaN, or
            names or ids that repeat.

    Example:
        >>> rows = MultiLabel(
        ...     probabilities=[[0.9, 0.2], [0.4, 0.7]], labels=[[1, 0], [np.nan, 1]], names=("edema", "mass"))
        >>> rows
        MultiLabel: 2 rows, 2 findings, 3 of 4 truths known, split "unknown"
        >>> rows.column("mass").probabilities().round(3).tolist()
        [[0.8, 0.2], [0.3, 0.7]]
    """

    probabilities: FloatArray
    labels: FloatArray = None  # type: ignore[assignment]
    names: tuple[str, ...] = ()
    ids: StrArray = None  # type: ignore[assignment]
    groups: StrArray | None = None
    split: Split = "unknown"
    resolution: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = as_array(self.probabilities).astype(np.float64)
        if values.ndim != 2 or values.size == 0:
            raise DataError(
                f"probabilities: expected shape (N, L) with N, L >= 1, got {values.shape}"
            )
        n, count = values.shape
        require_finite(values, "probabilities")
        outside = np.flatnonzero(((values < 0) | (values > 1)).any(axis=1))
        if outside.size:
            row = outside[0]
            raise DataError(
                f"probabilities: {outside.size} of {n} rows have values outside [0, 1], first row {row}: "
                f"{np.array2string(values[row][:5], precision=4)}. Logits go through a sigmoid first, "
                "percentages are divided by 100"
            )
        names = tuple(map(str, self.names)) or tuple(map(str, range(count)))
        if len(names) != count or len(set(names)) != count:
            raise DataError(
                f"names: expected {count} different names, one per finding, got {list(names)[:8]}"
            )
        vars(self).update(
            resolution=max(self.resolution, rounding_unit(self.probabilities)),
            probabilities=values,
            labels=_truth(self.labels, values.shape),
            names=names,
            ids=as_ids(self.ids, n),
            split=as_split(self.split),
            groups=None if self.groups is None else as_strings(self.groups, n, "groups"),
        )

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def known(self) -> BoolArray:
        """(N, L) where the truth is known."""
        return np.isfinite(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether any truth is known."""
        return bool(self.known.any())

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        known, cells = int(self.known.sum()), self.labels.size
        truths = "" if known == cells else f", {known:,} of {cells:,} truths known"
        what = f"{plural(len(self), 'row')}, {plural(len(self.names), 'finding')}{truths}"
        return f'MultiLabel: {what}, split "{self.split}"', []

    def subset(self, rows: Any) -> Self:
        """The rows selected by an index or boolean array."""
        return replace(
            self,
            probabilities=self.probabilities[rows],
            labels=self.labels[rows],
            ids=pick_ids(self.ids, rows),
            groups=None if self.groups is None else self.groups[rows],
        )

    def with_probabilities(self, values: FloatArray, step: Mapping[str, Any]) -> Self:
        """The same rows with other probabilities; ``step`` is added to how they were made."""
        steps = [*self.provenance.get("steps", []), dict(step)]
        return replace(self, probabilities=values, provenance={**self.provenance, "steps": steps})

    def as_scores(self) -> Predictions:
        """The probabilities as plain scores without labels, for what tells rows apart."""
        return Predictions(
            logits=self.probabilities,
            labels=None,  # type: ignore[arg-type]
            ids=self.ids,
            class_names=self.names,
            split=self.split,
            groups=self.groups,
        )

    def index(self, name: str) -> int:
        """Which finding is called ``name``.

        Raises:
            DataError: None; says the nearest name.
        """
        require_known(name, self.names, "no finding", DataError)
        return self.names.index(name)

    def column(self, name: str, *, labelled: bool = True) -> Predictions:
        """One finding as a two-class problem ("no NAME", NAME), for whatever is written for these.

        Args:
            name: Of the finding.
            labelled: Only the rows whose truth is known; False keeps all rows, without labels.
        """
        at = self.index(name)
        keep = self.known[:, at] if labelled else np.ones(len(self), np.bool_)
        p = self.probabilities[keep, at]
        return Predictions(
            logits=log_pair(p),
            kind="log_probs",
            labels=self.labels[keep, at].astype(np.int64) if labelled else None,  # type: ignore[arg-type]
            ids=pick_ids(self.ids, keep),
            class_names=(f"no {name}", name),
            split=self.split,
            groups=None if self.groups is None else self.groups[keep],
            resolution=self.resolution,
            provenance={"reading": {"positive": name}},
        )


def _truth(labels: Any, shape: tuple[int, ...]) -> FloatArray:
    if labels is None:
        return np.full(shape, np.nan)
    truth = as_array(labels).astype(np.float64)
    if truth.shape != shape:
        raise DataError(
            f"labels: expected one truth per row and finding, shape {shape}, got {truth.shape}"
        )
    if (truth == UNCERTAIN).any():
        raise DataError(
            f"labels: {int((truth == UNCERTAIN).sum()):,} are -1 (uncertain); say what that means with "
            'uncertain="ignore", "positive" or "negative"'
        )
    wrong = np.isfinite(truth) & (truth != 0) & (truth != 1) | np.isinf(truth)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"labels: expected 0, 1 or NaN, got {truth[row, column]:g} in row {row}, finding {column}"
        )
    return truth


def multi_label_arrays(
    probabilities: Numbers,
    labels: Numbers | None,
    *,
    names: Sequence[str] = (),
    groups: Any = None,
    uncertain: str | None = None,
    logits: bool = False,
) -> MultiLabel:
    """Plain arrays (lists, NumPy, pandas, tensors) as :class:`MultiLabel`.

    Args:
        probabilities: (N, L); columns of a data frame name the findings.
        labels: (N, L) of 0, 1, NaN (unknown) and, where ``uncertain`` says what it means, -1.
        names: L names.
        groups: (N,) patient or study of each row.
        uncertain: "ignore", "positive" or "negative": what -1 stands for.
        logits: The scores are log-odds; their sigmoid is taken.

    Raises:
        DataError: As :class:`MultiLabel`.
        SpecError: Another word for ``uncertain``.

    Example:
        >>> rows = multi_label_arrays([[0.9, 0.2]], [[1, -1]], uncertain="ignore")
        >>> rows.known.tolist()
        [[True, False]]
    """
    given = tuple(names) or tuple(map(str, getattr(probabilities, "columns", ())))
    scores = as_array(probabilities)
    if logits:
        require_finite(scores.astype(np.float64), "logits")
        scores = special.expit(scores.astype(np.float64))
    truth = None if labels is None else as_array(labels).astype(np.float64)
    if uncertain is not None:
        require_known(uncertain, MEANING, "uncertain: no reading")
        if truth is not None:
            truth = np.where(truth == UNCERTAIN, MEANING[uncertain], truth)
    return MultiLabel(
        probabilities=scores,
        labels=truth,  # type: ignore[arg-type]
        names=given,
        groups=groups,
        resolution=0.0 if logits else rounding_unit(probabilities),
    )


def given_findings(
    rows: Any, labels: Any, scores: str | None, groups: Any, uncertain: str | None
) -> MultiLabel:
    """Rows of findings, as they are or from plain arrays.

    Raises:
        DataError: Rows of another kind, or no labels.
        SpecError: Something that the rows carry themselves, or scores that are none of findings.
    """
    if isinstance(rows, MultiLabel):
        for name, value in (
            ("labels", labels), ("scores", scores), ("groups", groups), ("uncertain", uncertain),
        ):  # fmt: skip
            if value is not None:
                raise SpecError(f"{name}: MultiLabel carry their own; leave it out")
        return rows
    if isinstance(rows, Shown) or labels is None:
        raise DataError(
            "multi_label: expected arrays of probabilities (N, L) and labels (N, L), got "
            f"{type(rows).__name__}" + ("" if labels is not None else " without labels")
        )
    if scores not in (None, "probs", "logits"):
        raise SpecError(f'scores: expected "probs" or "logits" of findings, got "{scores}"')
    return multi_label_arrays(
        rows, labels, groups=groups, uncertain=uncertain, logits=scores == "logits"
    )
