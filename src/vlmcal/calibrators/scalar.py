"""Calibrators made of one curve per class: what they share."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from vlmcal.calibrators.base import Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores, log_odds, log_shares
from vlmcal.state_rules import StateRule, sane
from vlmcal.state_rules import curve as sound_curve
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions
from vlmcal.types.softmax import blocks, softmax

Curve = dict[str, Any]
Outcomes = TypeVar("Outcomes", BoolArray, FloatArray)
Space = Literal["probability", "log_odds"]


@dataclass
class ScalarCalibrator(Calibrator):
    """One curve from score to calibrated score for each class, rows normalised to sum to 1.

    With two classes (and so with :class:`Confidences`) there is one curve, for class 1, and class 0 gets
    the complement. Subclasses fit and apply a single curve; this class does the rest. The rows of a fit come
    in the order of their scores, which is found once for all calibrators.

    Attributes:
        levels: Key of the values that a curve takes, where these may be 0 or 1 exactly.
        space: What a curve maps: probabilities, or log-odds ``log(p / (1 - p))``, which keep their
            precision near 0 and 1.
        absent: What happens to a class without a single fitting row: "input" keeps its probability,
            "zero" makes it 0 (as netcal does).
        zero: What an exact probability of 0 stands for where log-odds are needed.
        softmax_twice: Take a further softmax of the probabilities first. Only to reproduce published numbers:
            the code of distance-aware calibration hands probabilities to calibrators that expect logits.
        curves_: One dictionary of learned values per curve; empty for an absent class.
    """

    state: ClassVar[Mapping[str, StateRule]] = {"curves_": sane}
    scalar: ClassVar[bool] = True
    space: ClassVar[Space] = "probability"
    levels: ClassVar[str] = ""

    absent: Literal["input", "zero"] = "input"
    zero: Zero = 1e-6
    softmax_twice: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.curves_: list[Curve] = []

    @abstractmethod
    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve: ...

    @abstractmethod
    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray: ...

    def _fit(self, predictions: Predictions) -> None:
        inputs = self._inputs(predictions)
        what = "order", self.space, self.zero, self.softmax_twice
        order = (
            predictions.kept(what, lambda: _orders(inputs))
            if self.any_order()
            else np.broadcast_to(np.arange(len(inputs))[:, None], inputs.shape)
        )
        self.curves_ = self._fit_curves(inputs, order, predictions.labels)
        self._tell_infinite([curve for curve in self.curves_ if curve])
        missing = [
            predictions.class_names[i]
            for i, count in enumerate(
                np.bincount(predictions.labels, minlength=predictions.n_classes)
            )
            if count == 0
        ]
        if missing:
            fate = "left as it is" if self.absent == "input" else "set to 0"
            self._tell(
                f"no fitting row of {len(missing)} of {predictions.n_classes} classes ({missing[0]!r}"
                f"{', ...' if len(missing) > 1 else ''}); their probability is {fate}"
            )

    def _tell_infinite(self, curves: list[Curve]) -> None:
        """Say where a class can get probability 0, so that one row of it makes the log-loss infinite."""
        levels = [curve[self.levels] for curve in curves if self.levels]
        ends = sum(bool((level <= 0).any() or (level >= 1).any()) for level in levels)
        if ends:
            self._tell(
                f"{ends} of {len(levels)} curves reach 0 or 1 exactly, so the log-loss of new rows may be "
                "infinite; wrap it in mixture where log-loss matters"
            )

    def _tell_step(self, separable: bool, scores: FloatArray) -> None:
        """Say where the rows of a class leave no curve but a step."""
        if separable:
            self._tell(
                f"the scores separate a class perfectly on these {scores.size} rows, so the curve is a "
                "step; add fitting rows or leave out smooth=False"
            )

    def _fit_curves(self, inputs: FloatArray, order: IntArray, labels: IntArray) -> list[Curve]:
        binary = inputs.shape[1] == 1
        present = []
        for column in range(inputs.shape[1]):
            positive = np.count_nonzero(labels == (1 if binary else column))
            # With two classes "zero" is what a curve through constant outcomes gives by itself.
            constant = binary and positive == labels.size
            if (positive and not constant) or (binary and self.absent == "zero"):
                present.append(column)

        def rows(column: int) -> tuple[FloatArray, BoolArray]:
            ordered = order[:, column]
            return inputs[ordered, column], labels[ordered] == (1 if binary else column)

        curves: list[Curve] = [{} for _ in range(inputs.shape[1])]
        for column, curve in zip(present, self._fit_each(map(rows, present)), strict=True):
            curves[column] = curve
        return curves

    def _fit_each(self, rows: Iterable[tuple[FloatArray, BoolArray]]) -> Iterable[Curve]:
        """A curve for the scores and outcomes of each class."""
        return (self._fit_curve(scores, outcomes) for scores, outcomes in rows)

    def _check_learned(self) -> None:
        super()._check_learned()
        k = len((self.fitted_on_ or {})["class_names"])
        allowed = (1,) if k == 2 else (1, k) if self.pooled() else (k,)
        if not isinstance(self.curves_, list) or len(self.curves_) not in allowed:
            raise self._impossible("curves_", f"expected {allowed[-1]} curves")
        probe = (
            np.array([0.0, 0.25, 0.5, 1.0]) if self.space == "probability" else np.arange(-3.0, 4)
        )
        for curve in self.curves_:
            if wrong := sound_curve(curve, k):
                raise self._impossible("curves_", wrong)
            try:
                found = self._apply_curve(curve, probe) if curve else probe
            except (LookupError, TypeError, ValueError) as error:
                raise self._impossible("curves_", f"{type(error).__name__}: {error}") from error
            if found.shape != probe.shape or not np.isfinite(found).all():
                raise self._impossible("curves_", "expected a finite value for every score")

    def pooled(self) -> bool:
        """Whether one curve serves all classes."""
        return False

    def any_order(self) -> bool:
        """Whether the rows of a fit may be put in order."""
        return True

    def unnormalised(self, predictions: Predictions) -> FloatArray:
        """The curves' outputs (N, K) in [0, 1] before the rows are made to sum to 1."""
        outputs = self._outputs(predictions)
        if self.space == "log_odds":
            outputs = 1.0 / (1.0 + np.exp(-outputs))
        return np.hstack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def _transform(self, predictions: Predictions) -> Scores:
        if self.space == "probability":
            return normalised(self.unnormalised(predictions))
        outputs = self._outputs(predictions)
        if outputs.shape[1] == 1:
            return Scores(np.hstack([np.zeros_like(outputs), outputs]), "logits")
        return Scores(log_shares(outputs), "log_probs")

    def _inputs(self, predictions: Predictions) -> FloatArray:
        if self.space == "probability":
            values = self._probabilities(predictions)
        elif self.softmax_twice:
            values = log_odds(predictions.probabilities())
        else:
            plain = predictions.kind == "logits"  # finite, and read in blocks
            values = predictions.kept(
                ("log-odds", self.zero),
                lambda: log_odds(
                    predictions.logits if plain else finite_scores(predictions, self.zero)
                ),
            )
        return values[:, 1:] if predictions.n_classes == 2 else values

    def _probabilities(self, predictions: Predictions) -> FloatArray:
        probs = predictions.kept("probabilities", lambda: predictions.probabilities(order="F"))
        return softmax(probs, order="F") if self.softmax_twice else probs

    def _outputs(self, predictions: Predictions) -> FloatArray:
        inputs = self._inputs(predictions)
        outputs = np.empty_like(inputs)
        for column, curve in enumerate(self.curves_):
            scores = np.ascontiguousarray(inputs[:, column])
            if curve:
                outputs[:, column] = self._apply_curve(curve, scores)
            elif self.absent == "input":
                outputs[:, column] = scores
            else:
                outputs[:, column] = 0.0 if self.space == "probability" else np.log(self.zero)
        return outputs


class Cells(NamedTuple):
    """Distinct scores in their order, the rows and the positive outcomes of each, (G,)."""

    scores: FloatArray
    rows: FloatArray
    hits: FloatArray


def cells(scores: FloatArray, outcomes: BoolArray) -> Cells:
    """Rows (N,) whose scores are equal, taken together.

    Example:
        >>> cells(np.array([0.4, 0.1, 0.1]), np.array([True, True, False])).hits.tolist()
        [1.0, 1.0]
    """
    scores, outcomes = in_order(scores, outcomes)
    firsts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    ends = np.append(firsts, scores.size)
    hits = np.concatenate([[0], np.cumsum(outcomes)])[ends]
    return Cells(scores[firsts], np.diff(ends).astype(np.float64), np.diff(hits).astype(np.float64))


def places(edges: FloatArray, scores: FloatArray, side: Literal["left", "right"]) -> IntArray:
    """As ``np.searchsorted(edges, scores, side)``; a search for neighbours one after the other is short.

    Example:
        >>> places(np.array([0.2, 0.4]), np.array([0.9, 0.2]), "left").tolist()
        [2, 0]
    """
    order = np.argsort(scores)
    found = np.empty(scores.size, dtype=np.int64)
    found[order] = np.searchsorted(edges, scores[order], side)
    return found


def in_order(scores: FloatArray, outcomes: Outcomes) -> tuple[FloatArray, Outcomes]:
    """Rows (N,) in the order of their scores, in which those of a fit come already."""
    if (scores[1:] >= scores[:-1]).all():
        return scores, outcomes
    order = np.argsort(scores)
    return scores[order], outcomes[order]


def _orders(inputs: FloatArray) -> IntArray:
    """The order of the rows by each column, (N, columns)."""
    order: IntArray = np.empty(inputs.shape, dtype=np.int32, order="F")
    for column in range(inputs.shape[1]):
        order[:, column] = np.argsort(inputs[:, column])
    return order


def normalised(values: FloatArray) -> Scores:
    """Rows divided by their sum, as log-probabilities; a row of zeros becomes uniform.

    Example:
        >>> np.exp(normalised(np.array([[0.2, 0.6], [0.0, 0.0]])).values).round(3).tolist()
        [[0.25, 0.75], [0.5, 0.5]]
    """
    result = np.empty(values.shape)
    with np.errstate(divide="ignore"):
        for rows, axis, block in blocks(values):
            total = block.sum(axis=axis, keepdims=True)
            if not total.all():
                block += total == 0  # nothing for any class is the same for all
                total = block.sum(axis=axis, keepdims=True)
            block /= total
            np.log(block, out=block)
            result[rows] = block if axis == 1 else block.T
    return Scores(result, "log_probs")
