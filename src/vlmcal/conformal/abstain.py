"""Abstaining: answer only above a confidence at which the risk is known to be low."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
from scipy.special import rel_entr
from scipy.stats import binom

from vlmcal.conformal.base import CONFORMAL, ConformalPredictor, Guarantee, KeyedRows
from vlmcal.conformal.quantile import require_alpha
from vlmcal.errors import SpecError
from vlmcal.fitted import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import row_keys, row_uniforms
from vlmcal.types.shown import Shown, plural

Bound = Literal["binomial", "hoeffding_bentkus"]
_DECIMALS = np.arange(100) / 100


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Shown):
    """Which rows are answered.

    Attributes:
        accepted: (N,) bool; the others are left to a human.
        threshold: Smallest confidence that is answered; infinite if none is.
        target_risk: Share of wrong answers among the answered rows that is not exceeded.
        delta: Chance, over the draw of the calibration rows, that it is exceeded after all.
    """

    accepted: BoolArray
    threshold: float
    target_risk: float
    delta: float

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        rows = plural(len(self.accepted), "row")
        return (
            f"Selection: {int(self.accepted.sum()):,} of {rows} answered, from {self.threshold:.4f}",
            [],
        )


@CONFORMAL.register("abstain")
@dataclass
class Abstain(ConformalPredictor):
    r"""Answers the rows whose confidence is at least :math:`\hat\lambda`, and abstains on the others.

    The hypotheses "among rows with confidence at least :math:`\lambda`, more than the share r is wrong"
    are tested for falling :math:`\lambda`, from ``starts`` starting points that keep 1/1, 1/2, 1/4, ... of
    the rows, each at level delta / starts; every sequence stops at its first hypothesis that is not
    rejected, and :math:`\hat\lambda` is the lowest :math:`\lambda` rejected. A share
    ``tuning_fraction`` of the rows, whose labels are not used, chooses the list of :math:`\lambda` and the
    starting points; the others are tested.

    Assumption: calibration rows and new rows are independent draws from one distribution (stronger than
    exchangeable; several rows of one patient are not independent). Guarantee: with probability at
    least 1 - delta over the calibration rows,
    :math:`P(\text{wrong} \mid \text{confidence} \ge \hat\lambda) \le r`. Nothing is assumed about the
    confidence; if it is useless, everything is left to a human.

    As a conformal method, r is ``alpha``; an answered row gets the set of its predicted class alone and
    every other row the set of all classes.

    Angelopoulos, Bates, Candes, Jordan and Lei, Learn then test, arXiv 2110.01052 (fixed sequence testing,
    Hoeffding-Bentkus); Geifman and El-Yaniv, Selective classification for deep neural networks, NeurIPS
    2017, arXiv 1705.08500.

    Attributes:
        delta: Allowed chance of failure.
        bound: "binomial" (exact, Clopper-Pearson) or "hoeffding_bentkus".
        starts: Number of starting points.
        tuning_fraction: Share of the rows that chooses the list.
        seed: Seed of that choice.
        threshold_: :math:`\hat\lambda`; infinite when nothing can be answered.

    Example:
        >>> rows = Confidences(confidence=np.linspace(0, 1, 200), correct=np.arange(200) >= 100)
        >>> fitted = Abstain().fit_confidences(rows, target_risk=0.2)
        >>> bool(0.3 < fitted.threshold_ < 0.5)
        True
    """

    name: ClassVar[str] = "abstain"
    guarantee: ClassVar[Guarantee] = "selective risk"
    state: ClassVar[Mapping[str, StateRule]] = {"threshold_": number(low=0, infinite=True)}
    any_classes: ClassVar[bool] = True

    delta: float = 0.1
    bound: Bound = "binomial"
    starts: int = 4
    tuning_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.threshold_ = float("nan")
        if not 0 < self.delta < 1 or not 0 < self.tuning_fraction < 1 or self.starts < 1:
            raise SpecError(
                "abstain: expected delta and tuning_fraction between 0 and 1 and starts >= 1, got "
                f"{self.delta}, {self.tuning_fraction} and {self.starts}"
            )
        if self.bound not in ("binomial", "hoeffding_bentkus"):
            raise SpecError(
                f'bound: expected "binomial" or "hoeffding_bentkus", got "{self.bound}"'
            )

    def fit_confidences(self, calibration: Confidences, target_risk: float) -> Self:
        """Choose the threshold from held-out confidences and whether they were right.

        Raises:
            SplitError: The rows are test data.
            SpecError: ``target_risk`` is outside (0, 1).
        """
        self._require_fittable(calibration.split)
        risk = require_alpha(target_risk)
        rows = as_binary(calibration)
        self._choose(calibration, row_keys(rows), risk)
        self.alpha_ = risk
        self._remember(rows, rows="confidences")
        return self

    def select(self, rows: Confidences) -> Selection:
        """Which rows are answered.

        Raises:
            SpecError: Called before fitting.
            SplitError: KeyedRows that were used for fitting.
        """
        for note in self._shared(as_binary(rows)):
            self._warn(note, stacklevel=3)
        accepted: BoolArray = rows.confidence >= self.threshold_
        return Selection(accepted, self.threshold_, self.alpha_, self.delta)

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        self._choose(rows.predictions.top_label(), rows.keys, alpha)

    def minds_groups(self) -> bool:
        """What is wrong with groups is told in its own words."""
        return True

    def _label_shift(self, predictions: Predictions) -> str:
        del predictions
        return ""

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        del notes
        predictions = rows.predictions
        sets = np.ones(predictions.logits.shape, dtype=np.bool_)
        answered = np.flatnonzero(_confidence(predictions) >= self.threshold_)
        sets[answered] = False
        sets[answered, predictions.predicted()[answered]] = True
        return sets

    def _choose(self, rows: Confidences, keys: StrArray, risk: float) -> None:
        if rows.groups is not None and np.unique(rows.groups).size < len(rows):
            self._tell(
                "several calibration rows belong to one group, so they are not independent and the "
                "guarantee does not hold; keep one row of each group"
            )
        tuning = row_uniforms(keys, self.seed, "conformal", self.name) < self.tuning_fraction
        listed = rows.confidence[tuning]
        thresholds = np.unique(np.concatenate([_DECIMALS, listed]))[::-1]
        count, errors = _above(thresholds, rows.confidence[~tuning], rows.correct[~tuning])
        test = binomial_p_values if self.bound == "binomial" else hoeffding_bentkus_p_values
        level = self.delta / self.starts
        rejected = test(errors, count, risk) <= level
        ends = [_run_end(rejected, i) for i in _starting_points(thresholds, listed, self.starts)]
        lowest = max(ends)
        self.threshold_ = float(thresholds[lowest]) if lowest >= 0 else float("inf")
        if lowest < 0:
            need = int(np.ceil(np.log(level) / np.log1p(-risk)))
            self._tell(
                f"no threshold on the confidence keeps the risk below {risk:g} with the {len(rows)} "
                f"calibration rows (at least {need} answered rows without an error are needed to show "
                "it), so every row is left to a human"
            )


def _confidence(predictions: Predictions) -> FloatArray:
    """To the last bit what the threshold was chosen from, whether or not labels are known."""
    unread = np.zeros(len(predictions), dtype=np.int64)
    return replace(predictions, labels=unread).top_label().confidence


def binomial_p_values(errors: IntArray, count: IntArray, risk: float) -> FloatArray:
    """Exact p-values of "the error rate is above ``risk``": P(Binomial(count, risk) <= errors).

    Example:
        >>> binomial_p_values(np.array([0, 1]), np.array([22, 22]), 0.1).round(4).tolist()
        [0.0985, 0.3392]
    """
    result: FloatArray = binom.cdf(errors, count, risk)
    return result


def hoeffding_bentkus_p_values(errors: IntArray, count: IntArray, risk: float) -> FloatArray:
    """P-values of "the mean loss is above ``risk``" that hold for any loss in [0, 1].

    The smaller of Hoeffding's and Bentkus's (arXiv 2110.01052, proposition 2); never below the binomial.

    Example:
        >>> hoeffding_bentkus_p_values(np.array([0]), np.array([44]), 0.1).round(4).tolist()
        [0.0097]
    """
    rate = np.minimum(errors / np.maximum(count, 1), risk)
    exponent = rel_entr(rate, risk) + rel_entr(1 - rate, 1 - risk)
    bentkus = np.e * binom.cdf(errors, count, risk)
    result: FloatArray = np.minimum(np.minimum(np.exp(-count * exponent), bentkus), 1.0)
    return result


def _above(
    thresholds: FloatArray, confidence: FloatArray, correct: BoolArray
) -> tuple[IntArray, IntArray]:
    """Rows and errors at or above each threshold."""
    order = np.argsort(confidence)
    errors_below = np.concatenate([[0], np.cumsum(~correct[order])])
    below = np.searchsorted(confidence[order], thresholds, side="left")
    return confidence.size - below, errors_below[-1] - errors_below[below]


def _starting_points(thresholds: FloatArray, listed: FloatArray, starts: int) -> list[int]:
    """Places in the falling thresholds that keep 1/1, 1/2, 1/4, ... of the listed rows."""
    kept = (listed[None, :] >= thresholds[:, None]).mean(axis=1) if listed.size else np.zeros(1)
    points = [thresholds.size - 1]
    for j in range(1, starts):
        enough = np.flatnonzero(kept >= 0.5**j)
        points.append(int(enough[0]) if enough.size else thresholds.size - 1)
    return points


def _run_end(rejected: BoolArray, start: int) -> int:
    """Last place of the run of rejections that begins at ``start``; -1 if there is none."""
    stops = np.flatnonzero(~rejected[start:])
    end = rejected.size if stops.size == 0 else start + int(stops[0])
    return end - 1 if end > start else -1
