"""Class probabilities read in chunks: no second (N, K) array is ever held."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, TypeGuard

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    FloatArray,
    IntArray,
    as_array,
    as_labels,
    rounding_unit,
    sum_tolerance,
)
from vlmcal.types.predictions import Predictions
from vlmcal.types.softmax import RowSums, exponentials, row_sums, summed

# Elements per chunk: small enough for a core's cache, large enough to hide the cost of a call.
CHUNK = 1 << 16
# Sums of squares over the classes, by the axis along which these lie.
_SQUARES = ("kn,kn->n", "nk,nk->n")


class Summary:
    """What one pass over the probabilities yields for every row.

    Attributes:
        confidence: (N,) largest probability; cannot be written to.
        predicted: (N,) its class, the first one on ties.
        squares: (N,) sum of squared probabilities, from a pass of its own.
    """

    def __init__(self, source: "ClassProbabilities") -> None:
        self._source = source
        self.confidence: FloatArray
        self.predicted: IntArray
        if source.rows is not None:
            self.confidence, self.predicted = source.rows.top()
        else:
            self.predicted = source.scores.argmax(axis=1)
            self.confidence = np.minimum(source.chosen(self.predicted), 1.0)
        self.confidence.setflags(write=False)

    @cached_property
    def squares(self) -> FloatArray:
        """As told above."""
        result = np.empty(len(self.predicted))
        for rows, axis, values in self._source.blocks():
            np.einsum(_SQUARES[axis], values, values, out=result[rows])
        return result


@dataclass(frozen=True, eq=False)
class ClassProbabilities:
    """(N, K) class probabilities behind scores of any kind.

    Attributes:
        scores: (N, K) probabilities, logits or log-probabilities.
        kind: Which of the three.
        resolution: Rounding unit of the scores as they came in.
        rows: The Predictions that they belong to, which keep what was summed.

    Example:
        >>> source = ClassProbabilities.of([[0.7, 0.3], [0.2, 0.8]])
        >>> source.summary.confidence.tolist(), source.shape
        ([0.7, 0.8], (2, 2))
    """

    scores: FloatArray
    kind: Literal["probabilities", "logits", "log_probs"]
    resolution: float = 0.0
    rows: Predictions | None = None

    @classmethod
    def of(cls, data: Any) -> Self:
        """From an (N, K) array of probabilities, Predictions, or an object of this class.

        Raises:
            DataError: Not (N, K), NaN, values outside [0, 1], or rows that do not sum to 1 (within 5e-3
                for float16 and bfloat16, 1e-4 for float32, 1e-5 for float64).
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, Predictions):
            stated = data.given_probabilities
            if stated is not None:
                return cls(stated, "probabilities", data.resolution, data)
            return cls(data.logits, data.kind, data.resolution, data)
        raw = as_array(data)
        if raw.ndim != 2 or raw.size == 0 or raw.dtype.kind not in "fiub":
            raise DataError(
                f"probabilities: expected numbers of shape (N, K) with N, K >= 1, got {raw.dtype} "
                f"of shape {raw.shape}"
            )
        source = cls(raw, "probabilities", rounding_unit(data))
        source._check()
        return source

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        n, k = self.scores.shape
        return n, k

    def chunks(self, dtype: Any = np.float64) -> Iterator[tuple[slice, FloatArray]]:
        """Pairs (rows, probabilities of these rows in float64, or in float32 if logits are asked for it)."""
        for rows, axis, block in self.blocks(dtype):
            yield rows, block if axis == 1 else np.ascontiguousarray(block.T)

    def blocks(self, dtype: Any = np.float64) -> Iterator[tuple[slice, int, FloatArray]]:
        """As :meth:`chunks`, as they lie in memory: (rows, axis of the classes, probabilities)."""
        if self.kind == "logits":
            for rows, axis, block, _ in exponentials(self.scores, dtype):
                block /= summed(block, axis)
                yield rows, axis, block
            return
        for rows, scores in self._score_chunks():
            yield rows, 1, scores if self.kind == "probabilities" else np.exp(scores)

    def dense(self) -> FloatArray:
        """All probabilities as one float64 array, for methods that fit something to them."""
        return np.concatenate([chunk for _, chunk in self.chunks()])

    def log_probabilities(self) -> FloatArray:
        """All log-probabilities as one float64 array, exact for saturated logits."""
        values = np.asarray(self.scores, dtype=np.float64)
        if self.kind == "logits":
            return values - self.sums.log[:, None]
        with np.errstate(divide="ignore"):
            return np.log(values) if self.kind == "probabilities" else values

    def log_likelihood(self, labels: Any) -> FloatArray:
        """Log-probability of each label, (N,); minus infinity where it has probability 0."""
        if self._own(labels):
            return self._of_labels
        return self._log_of(self.labels(labels))

    @cached_property
    def _of_labels(self) -> FloatArray:
        """What several measures ask of the rows' own labels; not to be written to."""
        assert self.rows is not None
        found = self._log_of(self.labels(self.rows.labels))
        found.setflags(write=False)
        return found

    def _log_of(self, labels: IntArray) -> FloatArray:
        chosen = self._at(labels)
        if self.kind == "logits":
            chosen -= self.sums.log
            return chosen
        with np.errstate(divide="ignore"):
            return np.log(chosen, out=chosen) if self.kind == "probabilities" else chosen

    def label_probability(self, labels: Any) -> FloatArray:
        """Probability of each label, (N,)."""
        if self.kind == "probabilities":
            return self._at(self.labels(labels))
        return np.exp(self.log_likelihood(labels))

    def chosen(self, labels: IntArray) -> FloatArray:
        """Probability of one class per row, (N,), to the last bit as :meth:`chunks` gives it."""
        if self.kind == "logits":
            return self.sums.probability(self.scores, labels)
        own = self._at(labels)
        return np.exp(own) if self.kind == "log_probs" else own

    def roughly_chosen(self, labels: IntArray) -> FloatArray:
        """As :meth:`chosen`, off by no more than :attr:`rough` times itself where that is not 0."""
        if not self.rough or "sums" in vars(self.rows or self):
            return self.chosen(labels)
        return row_sums(self.scores, np.float32).probability(self.scores, labels).astype(np.float64)

    @property
    def rough(self) -> float:
        """Largest relative error of a softmax in float32 (probabilities from 1e-6 on); 0 for other scores."""
        single = self.kind == "logits" and self.scores.dtype == np.float32
        return 4e-6 + 2e-7 * self.shape[1] if single else 0.0

    def squared_error(self, labels: Any) -> FloatArray:
        """Brier score of each row, sum_k (p_k - 1[k = label])^2, (N,)."""
        return self.summary.squares - 2 * self.label_probability(labels) + 1

    def labels(self, labels: Any) -> IntArray:
        """Labels (N,), checked against K and N; the rows' own were."""
        if self._own(labels):
            return labels
        checked = as_labels(labels, self.shape[1])
        if checked.shape != (self.shape[0],):
            raise DataError(f"labels: expected {self.shape[0]} values, got {checked.size}")
        return checked

    def _own(self, labels: Any) -> TypeGuard[IntArray]:
        """Whether these are the labels of the rows, which were checked."""
        return self.rows is not None and labels is self.rows.labels and self.rows.labelled

    @cached_property
    def sums(self) -> RowSums:
        """Of logits: what the exponentials of every row sum to."""
        return row_sums(self.scores) if self.rows is None else self.rows.sums

    @cached_property
    def summary(self) -> Summary:
        """Confidence, prediction and squares of every row."""
        return Summary(self)

    def native_confidence(self) -> FloatArray:
        """Largest probability as a softmax in the scores' own precision gives it, (N,) float64."""
        if self.kind != "logits" or self.scores.dtype == np.float64:
            return self.summary.confidence
        half = self.resolution >= float(np.finfo(np.float16).eps)
        step = max(1, CHUNK // self.shape[1])
        parts = [
            softmax_maximum(self.scores[start : start + step], "float16" if half else "float32")
            for start in range(0, self.shape[0], step)
        ]
        return np.concatenate(parts)

    def _at(self, labels: IntArray) -> FloatArray:
        chosen = self.scores[np.arange(len(labels)), labels]
        return chosen.astype(np.float64, copy=False)

    def _score_chunks(self) -> Iterator[tuple[slice, FloatArray]]:
        n, k = self.shape
        step = max(1, CHUNK // k)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield rows, self.scores[rows].astype(np.float64, copy=False)

    def _check(self) -> None:
        tolerance = sum_tolerance(self.resolution)
        for rows, values in self._score_chunks():
            sums = values.sum(axis=1)
            bounded = values.min() >= 0 and values.max() <= 1 + tolerance
            if bounded and (np.abs(sums - 1) <= tolerance).all():
                continue
            bad = ~(
                (np.abs(sums - 1) <= tolerance)
                & (values >= 0).all(axis=1)
                & (values <= 1 + tolerance).all(axis=1)
            )
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"probabilities: row {rows.start + row} is not a distribution: "
                f"{np.array2string(values[row][:5], precision=4)} ... sums to {sums[row]:.6g} "
                f"(tolerance {tolerance:g}). Logits and similarities must go through softmax first "
                "(Predictions do that); rounded rows must be renormalised"
            )


def softmax_maximum(logits: FloatArray, dtype: str) -> FloatArray:
    """Largest softmax probability with all rounding of ``dtype``, (N,) as float64.

    Half precision is computed in float32 and rounded, as processors and accelerators do it.

    Example:
        >>> float(softmax_maximum(np.array([[1.0, 0.0]]), "float16")[0])
        0.73095703125
    """
    work = np.float64 if dtype == "float64" else np.float32
    values = np.asarray(logits).astype(dtype).astype(work)
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return np.asarray(probabilities.astype(dtype).max(axis=1), dtype=np.float64)
