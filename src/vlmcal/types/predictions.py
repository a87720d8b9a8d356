"""Predictions: the hand-over between models and everything that measures or repairs them."""

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    NUMBERED,
    FloatArray,
    IntArray,
    StrArray,
    as_array,
    as_labels,
    as_strings,
    given_ids,
    is_unlabelled,
    no_labels,
    pick_ids,
    require_finite,
    rounding_unit,
    set_ids,
)
from vlmcal.types.confidences import Confidences
from vlmcal.types.probability_rows import unit_rows
from vlmcal.types.row_hashes import (
    Hashes,
    Words,
    content_words,
    hashed,
    is_numbered,
    string_hashes,
)
from vlmcal.types.shown import Shown, plural
from vlmcal.types.softmax import (
    Divided,
    Order,
    RowSums,
    log_softmax,
    row_sums,
    softmax,
)
from vlmcal.types.split import Split, as_split

Made = TypeVar("Made")
ScoreKind = Literal["logits", "log_probs"]
# The place of an attribute in ``vars``, where it is kept until something else is asked for.
_PROBABILITIES = "_probabilities"
_DIVIDED = "_divided"
_KEPT = "_kept"
_CACHED = (
    "numbered",
    "words",
    "content",
    "id_hashes",
    "drawn",
    "sums",
    _KEPT,
    _PROBABILITIES,
    _DIVIDED,
)


class _Logits:
    """The field ``logits`` of rows made from probabilities or by a division, when it is asked for."""

    def __get__(self, rows: Any, owner: Any = None) -> FloatArray:
        if rows is None:
            raise AttributeError("logits")  # a field without default
        divided: Divided | None = vars(rows).get(_DIVIDED)
        with np.errstate(divide="ignore"):
            made: FloatArray = (
                np.log(rows.given_probabilities, dtype=np.float64)
                if divided is None
                else divided.whole()
            )
        vars(rows)["logits"] = made
        return made


_LOGITS = _Logits()


class _Stated:
    """Class probabilities (N, K) in [0, 1] that were checked, on their way into Predictions."""

    def __init__(self, values: FloatArray) -> None:
        self.values = values


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

    logits: FloatArray = _LOGITS  # type: ignore[assignment]
    labels: IntArray
    ids: StrArray = NUMBERED  # type: ignore[assignment]
    class_names: tuple[str, ...] = ()
    kind: ScoreKind = "logits"
    split: Split = "unknown"
    groups: StrArray | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    resolution: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.logits, _Stated):
            stated: FloatArray = vars(self).pop("logits").values
            resolution, (n, k) = self.resolution, stated.shape
            vars(self)[_PROBABILITIES] = stated
        else:
            resolution = max(self.resolution, rounding_unit(self.logits))
            scores = _as_scores(self.logits)
            _check_scores(scores, self.kind)
            object.__setattr__(self, "logits", scores)
            n, k = scores.shape
        names = tuple(map(str, self.class_names)) or tuple(str(i) for i in range(k))
        if len(names) != k:
            raise DataError(f"class_names: expected {k} names for {k} columns, got {len(names)}")
        set_ids(self, n)
        labels = no_labels(n) if is_unlabelled(self.labels) else as_labels(self.labels, k)
        if labels.shape != (n,):
            raise DataError(f"labels: expected {n} values for {n} rows, got {labels.size}")
        vars(self).update(
            labels=labels,
            class_names=names,
            split=as_split(self.split),
            groups=None if self.groups is None else as_strings(self.groups, n, "groups"),
            resolution=resolution,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        size = f"{plural(len(self), 'row')}, {plural(self.n_classes, 'class')}"
        return f'Predictions: {size}, {self.kind}, split "{self.split}"', []

    @property
    def n_classes(self) -> int:
        """K, the number of classes (never inferred from the labels present)."""
        return len(self.class_names)

    @property
    def given_probabilities(self) -> FloatArray | None:
        """The probabilities (N, K) that the rows were made from, as they came; None for other rows."""
        found: FloatArray | None = vars(self).get(_PROBABILITIES)
        return found

    @cached_property
    def numbered(self) -> bool:
        """Whether the ids are row numbers, which nobody gave and which occur in every file."""
        given = given_ids(self)
        return given is None or is_numbered(given)

    @cached_property
    def content(self) -> Hashes:
        """One number of 64 bits per row, of its scores, (N,)."""
        return hashed(self.words)

    @cached_property
    def words(self) -> Words:
        """What :attr:`content` is made of, a copy of up to 16 scores of each row, (N, M)."""
        return content_words(self.logits)

    @cached_property
    def id_hashes(self) -> Hashes:
        """One number of 64 bits per row, of its id, (N,)."""
        return string_hashes(self.ids)

    @cached_property
    def sums(self) -> RowSums:
        """What the exponentials of each row of logits sum to, from one pass for whoever needs them."""
        return row_sums(self._read)

    @cached_property
    def drawn(self) -> dict[tuple[int, tuple[str, ...]], FloatArray]:
        """Uniform numbers of the rows by seed and stream, kept by what draws them; never handed on."""
        return {}

    def keeping(self) -> Self:
        """The same rows, for several methods one after the other: what :meth:`kept` makes of them is kept."""
        new = object.__new__(type(self))
        vars(new).update({**vars(self), _KEPT: {}})
        return new

    def kept(self, what: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` makes of these rows; of rows that are :meth:`keeping`, made once by its name.

        An array that is kept cannot be written to.

        Example:
            >>> rows = Predictions(logits=[[2.0, 0.0]], labels=[0]).keeping()
            >>> rows.kept("classes", lambda: 2), rows.kept("classes", lambda: 3)
            (2, 2)
        """
        store: dict[Hashable, Made] | None = vars(self).get(_KEPT)
        if store is None:
            return make()
        if what not in store:
            made = make()
            if isinstance(made, np.ndarray):
                made.setflags(write=False)
            store[what] = made
        return store[what]

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

    def probabilities(self, dtype: Any = np.float64, order: Order = "C") -> FloatArray:
        """Softmax of the logits, or exp of the log-probabilities: (N, K).

        Args:
            dtype: Of the numbers.
            order: "F" lays the classes one after the other in memory.
        """
        stated = self.given_probabilities
        if stated is not None:
            return stated.astype(dtype, order=order)
        if self.kind == "log_probs":
            result: FloatArray = self.logits.astype(dtype, order=order)
            return np.exp(result, out=result)
        return softmax(self._read, dtype, order)

    def log_probabilities(self) -> FloatArray:
        """Log-probabilities (N, K) in float64; safe for saturated logits."""
        if self.kind == "logits":
            return log_softmax(self._read)
        result: FloatArray = self.logits.astype(np.float64, copy=False)
        return result

    def predicted(self) -> IntArray:
        """Index of the largest score, (N,); the first one on ties."""
        stated = self.given_probabilities
        scores = self.logits if stated is None else stated
        return self.kept("predicted", lambda: scores.argmax(axis=1))

    def top(self) -> tuple[FloatArray, IntArray]:
        """Largest probability, in float64, and its class, (N,) each."""
        predicted = self.predicted()
        return self.kept("largest", lambda: self._largest(predicted)), predicted

    def _largest(self, predicted: IntArray) -> FloatArray:
        stated = self.given_probabilities
        if stated is None and self.kind == "logits":
            found = self.sums.probability(self.logits, predicted)
        else:
            scores = self.logits if stated is None else stated
            found = scores[np.arange(len(self)), predicted].astype(np.float64)
            found = np.exp(found) if stated is None else found
        return np.minimum(found, 1.0, out=found)

    def top_label(self) -> Confidences:
        """Confidence and correctness of the predicted class, without an (N, K) copy.

        Raises:
            DataError: The rows have no labels.
        """
        self.require_labels("whether a prediction is right")
        return self.kept("top label", self._top_label)

    def _top_label(self) -> Confidences:
        confidence, predicted = self.top()
        return Confidences(
            confidence=confidence,
            correct=predicted == self.labels,
            ids=given_ids(self),
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

    @property
    def _read(self) -> FloatArray | Divided:
        """The logits for one who reads them piece by piece."""
        divided: Divided | None = vars(self).get(_DIVIDED)
        return self.logits if divided is None else divided

    def with_scores(
        self, scores: FloatArray | Divided, kind: ScoreKind, step: Mapping[str, Any]
    ) -> "Predictions":
        """The same rows with new scores; ``step`` is appended to the provenance.

        Args:
            scores: (N, K). Logits of these rows divided by a number are taken as they are.
            kind: What they are.
            step: How they were made.

        Raises:
            DataError: The scores have another shape or numbers that are no scores; nothing else is checked
                again.
        """
        steps = [*self.provenance.get("steps", []), dict(step)]
        provenance = {**self.provenance, "steps": steps}
        if isinstance(scores, Divided):
            new = self._with(kind=kind, provenance=provenance, **{_DIVIDED: scores})
            del vars(new)["logits"]
            return new
        scores = _as_scores(scores)
        if scores.shape != (len(self), self.n_classes):
            raise DataError(
                f"scores: expected shape {(len(self), self.n_classes)}, got {scores.shape}"
            )
        _check_scores(scores, kind)
        return self._with(logits=scores, kind=kind, provenance=provenance)

    def _with(self, **checked: Any) -> Self:
        """A copy with fields whose values need no check."""
        new = object.__new__(type(self))
        kept = {name: value for name, value in vars(self).items() if name not in _CACHED}
        vars(new).update({**kept, **checked})
        return new


def _as_scores(values: Any) -> FloatArray:
    raw = as_array(values)
    if raw.ndim != 2 or raw.shape[0] == 0 or raw.shape[1] == 0:
        raise DataError(
            f"logits: expected shape (N, K) with N, K >= 1, got {raw.shape}"
            + ("; there are no rows to measure" if raw.size == 0 else "")
        )
    if raw.dtype.kind not in "fiu":
        raise DataError(f"logits: expected numbers, got {raw.dtype}")
    if raw.dtype in (np.float32, np.float64):
        return raw
    small = raw.dtype.kind == "f" and raw.dtype.itemsize < np.dtype(np.float64).itemsize
    return raw.astype(np.float32 if small else np.float64)


def _check_scores(scores: FloatArray, kind: ScoreKind) -> None:
    if kind == "logits":
        require_finite(scores, "logits")
    elif not scores.max() <= 1e-3:  # false for NaN, too
        raise DataError("log_probs: expected log-probabilities (at most 0, no NaN)")


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
    return Predictions(
        logits=_Stated(rows.values),  # type: ignore[arg-type]
        labels=labels,
        kind="log_probs",
        resolution=resolution,
        **other,
    )
