"""Predictions: the hand-over between models and everything that measures or repairs them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax, softmax

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    FloatArray,
    IntArray,
    StrArray,
    as_array,
    as_ids,
    as_labels,
    as_strings,
    is_unlabelled,
    no_labels,
    pick_ids,
    require_finite,
    rounding_unit,
)
from vlmcal.types.confidences import Confidences
from vlmcal.types.probability_rows import unit_rows
from vlmcal.types.shown import Shown, plural
from vlmcal.types.split import Split, as_split

ScoreKind = Literal["logits", "log_probs"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Predictions(Shown):
    """Class scores of N samples over K classes, with what is needed to judge them.

    Attributes:
        logits: (N, K) float32 or float64. Unnormalised logits, or log-probabilities (see ``kind``);
            softmax of either gives the probabilities.
        labels: (N,) int64 in 0 .. K - 1. None where nobody knows them: then they become
            :data:`~vlmcal.types.arrays.UNLABELLED`, which no method can use as an index, and nothing can be
            fitted or measured.
        ids: (N,) one distinct string per row; defaults to the row number.
        class_names: K names; defaults to "0", "1", ...
        kind: "logits" or "log_probs". Never guessed.
        split: Which split the rows belong to.
        groups: (N,) patient or slide of each row, or None.
        extras: Named arrays that some methods need: ``image_features`` (N, D) and ``text_features`` (K, D) of
            the model that made the scores, ``zero_shot_logits`` (N, K), ``base_text_features`` ...
        resolution: Rounding unit of the scores as they came in (float16 data keeps its coarse unit).
        provenance: How the rows were made, as plain data.

    Raises:
        DataError: Wrong shapes, NaN or infinity, labels out of range, repeated ids.

    Example:
        >>> p = Predictions(logits=[[2.0, 0.0], [0.0, 1.0]], labels=[0, 0])
        >>> p.probabilities().round(3).tolist()
        [[0.881, 0.119], [0.269, 0.731]]
        >>> p.top_label().correct.tolist()
        [True, False]
    """

    logits: FloatArray
    labels: IntArray
    ids: StrArray = None  # type: ignore[assignment]
    class_names: tuple[str, ...] = ()
    kind: ScoreKind = "logits"
    split: Split = "unknown"
    groups: StrArray | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    resolution: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        raw = as_array(self.logits)
        if raw.ndim != 2 or raw.shape[0] == 0 or raw.shape[1] == 0:
            raise DataError(
                f"logits: expected shape (N, K) with N, K >= 1, got {raw.shape}"
                + ("; there are no rows to measure" if raw.size == 0 else "")
            )
        if raw.dtype.kind not in "fiu":
            raise DataError(f"logits: expected numbers, got {raw.dtype}")
        resolution = max(self.resolution, rounding_unit(self.logits))
        keep = raw.dtype in (np.float32, np.float64)
        wider = np.float32 if raw.dtype.kind == "f" else np.float64
        logits: FloatArray = raw if keep else raw.astype(wider)
        n, k = logits.shape
        if self.kind == "logits":
            require_finite(logits, "logits")
        elif np.isnan(logits).any() or (logits > 1e-3).any():
            raise DataError("log_probs: expected log-probabilities (at most 0, no NaN)")
        names = tuple(map(str, self.class_names)) or tuple(str(i) for i in range(k))
        if len(names) != k:
            raise DataError(f"class_names: expected {k} names for {k} columns, got {len(names)}")
        ids = as_ids(self.ids, n)
        labels = no_labels(n) if is_unlabelled(self.labels) else as_labels(self.labels, k)
        if labels.shape != (n,):
            raise DataError(f"labels: expected {n} values for {n} rows, got {labels.size}")
        groups = None if self.groups is None else as_strings(self.groups, n, "groups")
        for name, value in {
            "logits": logits,
            "labels": labels,
            "ids": ids,
            "class_names": names,
            "split": as_split(self.split),
            "groups": groups,
            "resolution": resolution,
        }.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return int(self.logits.shape[0])

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        size = f"{plural(len(self), 'row')}, {plural(self.n_classes, 'class')}"
        return f'Predictions: {size}, {self.kind}, split "{self.split}"', []

    @property
    def n_classes(self) -> int:
        """K, the number of classes (never inferred from the labels present)."""
        return int(self.logits.shape[1])

    @property
    def labelled(self) -> bool:
        """Whether the right classes are known."""
        return not is_unlabelled(self.labels)

    def require_labels(self, what: str) -> None:
        """Refuse rows whose right class nobody knows.

        Raises:
            DataError: Says what the labels are needed for.
        """
        if not self.labelled:
            raise DataError(
                f"{what} needs the right class of each row, but these rows have no labels; name their "
                "column (labels=NAME), or give them in a second file (labels_file=FILE)"
            )

    def probabilities(self, dtype: Any = np.float64) -> FloatArray:
        """Softmax of the logits, or exp of the log-probabilities: (N, K)."""
        scores = self.logits.astype(dtype, copy=False)
        result: FloatArray = np.exp(scores) if self.kind == "log_probs" else softmax(scores, axis=1)
        return result

    def log_probabilities(self) -> FloatArray:
        """Log-probabilities (N, K) in float64; safe for saturated logits."""
        scores = self.logits.astype(np.float64, copy=False)
        result: FloatArray = scores if self.kind == "log_probs" else log_softmax(scores, axis=1)
        return result

    def predicted(self) -> IntArray:
        """Index of the largest score, (N,); the first one on ties."""
        result: IntArray = self.logits.argmax(axis=1).astype(np.int64)
        return result

    def top_label(self) -> Confidences:
        """Confidence and correctness of the predicted class, without an (N, K) copy.

        Raises:
            DataError: The rows have no labels.
        """
        self.require_labels("whether a prediction is right")
        scores = self.logits
        top = scores.argmax(axis=1)
        best = scores[np.arange(len(self)), top].astype(np.float64)
        if self.kind == "log_probs":
            confidence = np.exp(best)
        else:
            confidence = np.empty(len(self))
            step = max(1, (1 << 22) // self.n_classes)
            for start in range(0, len(self), step):
                rows = slice(start, start + step)
                shifted = scores[rows].astype(np.float64) - best[rows, None]
                confidence[rows] = 1.0 / np.exp(shifted).sum(axis=1)
        return Confidences(
            confidence=np.minimum(confidence, 1.0),
            correct=top == self.labels,
            ids=self.ids,
            split=self.split,
            groups=self.groups,
            resolution=self.resolution,
            provenance=self.provenance,
        )

    def subset(self, rows: Any) -> "Predictions":
        """The rows selected by an index or boolean array; per-row extras follow."""
        n = len(self)
        extras = {
            name: array[rows] if name in ROW_EXTRAS and len(array) == n else array
            for name, array in self.extras.items()
        }
        return replace(
            self,
            logits=self.logits[rows],
            labels=self.labels[rows],
            ids=pick_ids(self.ids, rows),
            groups=None if self.groups is None else self.groups[rows],
            extras=extras,
        )

    def with_scores(
        self, scores: FloatArray, kind: ScoreKind, step: Mapping[str, Any]
    ) -> "Predictions":
        """The same rows with new scores; ``step`` is appended to the provenance."""
        steps = [*self.provenance.get("steps", []), dict(step)]
        return replace(
            self, logits=scores, kind=kind, provenance={**self.provenance, "steps": steps}
        )


# Extras with one row per sample; all others belong to classes.
ROW_EXTRAS = frozenset(
    {
        *("image_features", "zero_shot_logits", "knn_distance", "proximity"),
        *("failure_probability", "label_attention", "hallucination"),
        *("mutual_information", "likelihood_ratio"),
    }
)


def from_probabilities(probabilities: Any, labels: Any, **other: Any) -> Predictions:
    """Predictions from class probabilities (N, K), kept as log-probabilities.

    Rows must sum to 1 within 5e-3 (float16, bfloat16), 1e-4 (float32) or 1e-5 (float64), or, where all
    numbers are printed with d = 2 to 6 decimals, within K/2 10^-d; such rows are divided by their sum, with
    a warning.

    Args:
        probabilities: (N, K) in [0, 1].
        labels: (N,) integers in 0 .. K - 1, or None.
        **other: Further fields of :class:`Predictions`; ``renormalise=True`` divides every row within 1e-2
            of 1 by its sum.

    Raises:
        DataError: A value is outside [0, 1], NaN, or a row does not sum to 1; the message says
            whether the numbers look like percentages or logits.

    Example:
        >>> p = from_probabilities([[0.7, 0.3]], [0])
        >>> p.kind, round(float(p.top_label().confidence[0]), 6)
        ('log_probs', 0.7)
    """
    renormalise = bool(other.pop("renormalise", False))
    rows = unit_rows(probabilities, renormalise=renormalise)
    if rows.note and not renormalise:
        warnings.warn(rows.note, UserWarning, stacklevel=2)
    resolution = max(rounding_unit(probabilities), rows.unit)
    with np.errstate(divide="ignore"):
        scores = np.log(np.minimum(rows.values, 1.0))
    return Predictions(
        logits=scores, labels=labels, kind="log_probs", resolution=resolution, **other
    )
