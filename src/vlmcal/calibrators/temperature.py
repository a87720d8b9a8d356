"""Temperature scaling: one positive number that softens or sharpens all probabilities."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores, score_chunks
from vlmcal.errors import SpecError
from vlmcal.state_rules import StateRule, number, text
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions, ScoreKind
from vlmcal.types.softmax import Divided

Bounded = Literal["", "lowest", "highest", "flat"]
BOUNDED: tuple[str, ...] = get_args(Bounded)
# Newton doubles the correct digits: a last step of 1e-5 in log temperature leaves an error near 1e-10.
_LAST_STEP = 1e-5
_LONGEST_STEP = 4.0
_SAMPLE = 1 << 22
_LIKELIHOOD = 1.92  # half of the 95 % point of chi-square with one degree of freedom


class Slopes(NamedTuple):
    """Log-loss in the inverse temperature beta: mean, first and second derivative."""

    nll: float
    first: float
    second: float


class Optimum(NamedTuple):
    """Where the log-loss is smallest."""

    inverse: float
    nll: float
    bounded: Bounded
    steps: int


@CALIBRATORS.register("temperature")
class Temperature(Calibrator):
    """Divide all logits by one temperature T that minimises the log-loss.

    ``p = softmax(z / T)``. With beta = 1/T the log-loss ``mean(logsumexp(beta z) - beta z_y)`` is convex, so
    its derivative ``mean(sum_c z_c p_c - z_y)`` has one sign change, found by Newton's method kept inside
    a bracket in log beta. T is positive by construction, whatever the scale of the logits; (N, K) scores
    are read in row chunks and summed in float64. Log-probabilities give the same answer as logits.

    Where no finite optimum exists, the mildest map that the rows support is taken, ``bounded_`` says so and a
    warning is given: all fitting rows right (T would go to 0) leaves T = 1, as rows without an error cannot
    tell how often errors come; scores no better than chance (T would go to infinity) give the T nearest to 1
    whose summed log-loss is within 1.92 nats (95 % by the likelihood ratio) of that of uniform
    probabilities. Constant scores leave T = 1. An optimum outside given bounds is cut off at the bound.

    Attributes:
        loss: "nll", or "brier" as in Mix-n-Match.
        bounds: Smallest and largest temperature.
        zero: What an exact probability of 0 stands for.
        at_bound: "mildest", or "bound" to take the bound where no finite optimum exists, as most published
            code does.
        temperature_: The fitted T.
        nll_: Log-loss (nats) on the fitting rows at T (for "brier": the Brier score).
        bounded_: "" (interior optimum), "lowest", "highest" or "flat".
        steps_: Passes over the data.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1])
        >>> cal = Temperature().fit(val)      # 3 of 4 right, so p should be 3/4: T = 2 / ln 3
        >>> round(cal.temperature_, 6)
        1.820478
    """

    keeps_argmax: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "temperature_": number(above=0),
        "nll_": number(low=0),
        "bounded_": text(*BOUNDED),
        "steps_": number(low=0),
    }
    any_classes: ClassVar[bool] = True
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True

    loss: Literal["nll", "brier"] = "nll"
    bounds: tuple[float, float] = (math.exp(-16), math.exp(16))
    zero: Zero = 1e-6
    at_bound: Literal["mildest", "bound"] = "mildest"

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.bounds
        if not 0 < low < high < math.inf:
            raise SpecError(
                f"temperature bounds: expected 0 < smallest < largest, got {tuple(self.bounds)}"
            )
        self.bounds = (float(low), float(high))

    def _fit(self, predictions: Predictions) -> None:
        low, high = self.bounds
        if self.loss == "nll":
            best = fit_inverse_temperature(predictions, (1 / high, 1 / low), self.zero)
        else:
            best = _fit_brier(predictions, (1 / high, 1 / low), self.zero)
        ends = {"lowest": low, "highest": high}
        self.temperature_ = ends.get(best.bounded, float(np.clip(1.0 / best.inverse, low, high)))
        self.nll_ = best.nll
        self.bounded_: Bounded = best.bounded
        self.steps_ = best.steps
        if best.bounded:
            self._settle(predictions, best.bounded)

    def _settle(self, predictions: Predictions, bounded: Bounded) -> None:
        """Fall back where no finite optimum exists, and say what was done."""
        limit = _limits(predictions, self.zero)[1]
        case = bounded if bounded == "flat" or not limit else f"no {bounded} limit"
        if limit and bounded != "flat" and self.at_bound == "mildest":
            case = f"mildest for {bounded}"
            inverse = 1.0 if bounded == "lowest" else _supported(predictions, self.zero)
            self.temperature_ = float(np.clip(1.0 / inverse, *self.bounds))
            self.nll_ = _slopes(predictions, 1.0 / self.temperature_, self.zero).nll
        self._tell(_EXPLAIN[case].format(t=self.temperature_, n=len(predictions)))

    def _outcome(self, predictions: Predictions) -> tuple[FloatArray | Divided, ScoreKind]:
        logits = predictions.logits
        # such quotients are finite in float64, and in the order of the logits
        if predictions.kind == "logits" and logits.dtype == np.float32 and self.bounds[0] > 1e-99:
            return Divided(logits, self.temperature_), "logits"
        return self._transform(predictions)

    def _transform(self, predictions: Predictions) -> Scores:
        if predictions.kind == "logits":
            scaled = np.divide(predictions.logits, self.temperature_, dtype=np.float64)
        else:
            scaled = finite_scores(predictions, self.zero)
            scaled /= self.temperature_
        return Scores(scaled, "logits")


_LOWEST = (
    "no finite temperature is best on these {n} rows (the right class already has the largest score in "
    "all of them), so "
)
_HIGHEST = "on these {n} rows the scores say nothing about the labels, so "
_EXPLAIN: dict[str, str] = {
    "mildest for lowest": _LOWEST
    + "T = {t:.3g} is kept: rows without an error cannot tell how often errors "
    "come; add fitting rows",
    "mildest for highest": _HIGHEST
    + "the mildest temperature that they allow, T = {t:.3g}, is used; check "
    "that labels and columns belong together",
    "no lowest limit": _LOWEST
    + "the smallest allowed one, T = {t:.3g}, is used and confidences become 1; "
    "add fitting rows, raise the lower bound or use the mixture calibrator",
    "no highest limit": _HIGHEST
    + "the largest allowed temperature, T = {t:.3g}, is used and probabilities "
    "become uniform; check that labels and columns belong together",
    "lowest": "the best temperature for these {n} rows lies below the bounds, so the smallest allowed one, T "
    "= {t:.3g}, is used; widen the bounds",
    "highest": "the best temperature for these {n} rows lies above the bounds, so the largest allowed one, T "
    "= {t:.3g}, is used; widen the bounds",
    "flat": "all {n} fitting rows have equal scores for all classes, so the temperature cannot be "
    "determined; T = {t:.3g} is kept",
}


def _supported(predictions: Predictions, zero: float) -> float:
    """The largest beta up to 1 whose summed log-loss is within 1.92 nats of the best, that of beta = 0."""
    allowed = math.log(predictions.n_classes) + _LIKELIHOOD / len(predictions)
    low, high = -16.0, 0.0
    if _slopes(predictions, 1.0, zero).nll <= allowed:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        inside = _slopes(predictions, math.exp(middle), zero).nll <= allowed
        low, high = (middle, high) if inside else (low, middle)
    return math.exp(low)


def fit_inverse_temperature(
    predictions: Predictions, bounds: tuple[float, float], zero: float = 1e-6
) -> Optimum:
    """The beta = 1/T in ``bounds`` that minimises the log-loss of softmax(beta z).

    Args:
        predictions: Logits or log-probabilities (N, K), with labels.
        bounds: Smallest and largest beta.
        zero: What an exact probability of 0 stands for.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1])
        >>> round(fit_inverse_temperature(val, (1e-3, 1e3)).inverse, 9)   # ln(3) / 2
        0.549306144
    """
    return predictions.kept(
        ("temperature", *np.round(np.log(bounds), 9), zero),
        lambda: _fit_inverse(predictions, bounds, zero),
    )


def _fit_inverse(predictions: Predictions, bounds: tuple[float, float], zero: float) -> Optimum:
    start, limit = _limits(predictions, zero)
    low, high = math.log(bounds[0]), math.log(bounds[1])
    if limit == "flat":
        middle = float(np.clip(1.0, *bounds))
        return Optimum(middle, math.log(predictions.n_classes), "flat", 1)
    if limit:
        beta = bounds[1] if limit == "lowest" else bounds[0]
        return Optimum(beta, _slopes(predictions, beta, zero).nll, limit, 2)
    start = float(np.clip(start, low, high))
    small = _sample(predictions)
    if small is not None:
        start = _newton(lambda beta: _slopes(small, beta, zero), start, low, high).start
    found = _newton(lambda beta: _slopes(predictions, beta, zero), start, low, high)
    return Optimum(math.exp(found.start), found.nll, found.bounded, found.steps + 1)


class _Found(NamedTuple):
    start: float
    nll: float
    bounded: Bounded
    steps: int


def _newton(slopes: Callable[[float], Slopes], start: float, low: float, high: float) -> _Found:
    left, right = low - 1, high + 1
    u = start
    for steps in range(1, 200):
        beta = math.exp(u)
        at = slopes(beta)
        if u >= high and at.first <= 0:
            return _Found(u, at.nll, "lowest", steps)
        if u <= low and at.first >= 0:
            return _Found(u, at.nll, "highest", steps)
        left, right = (u, right) if at.first < 0 else (left, u)
        slope = beta * at.second
        step = -at.first / slope if slope > 0 else -math.copysign(math.inf, at.first)
        if abs(step) < _LAST_STEP:
            change = beta * math.expm1(step)
            nll = at.nll + at.first * change + 0.5 * at.second * change**2
            return _Found(u + step, nll, "", steps)
        new = float(np.clip(u + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), low, high))
        u = new if left < new < right else (max(left, low) + min(right, high)) / 2
    return _Found(u, at.nll, "", steps)


def _slopes(predictions: Predictions, beta: float, zero: float) -> Slopes:
    nll = first = second = 0.0
    for block in score_chunks(predictions, zero):
        values, axis = block.values, block.axis
        top = values.max(axis=axis, keepdims=True)
        values -= top
        label = block.at(predictions.labels[block.rows])
        weight = values * beta
        np.exp(weight, out=weight)
        total = weight.sum(axis=axis)
        weight *= values
        mean = weight.sum(axis=axis) / total
        weight *= values
        square = weight.sum(axis=axis) / total
        nll += float((np.log(total) - beta * label).sum())
        first += float((mean - label).sum())
        second += float((square - mean**2).sum())
    n = len(predictions)
    return Slopes(nll / n, first / n, max(second / n, 0.0))


def _limits(predictions: Predictions, zero: float) -> tuple[float, Bounded]:
    """Start value of log beta from the spread of the scores, and whether no finite optimum exists."""
    spread = gain = lack = 0.0
    for block in score_chunks(predictions, zero):
        label = block.at(predictions.labels[block.rows])
        top, mean = block.values.max(axis=block.axis), block.values.mean(axis=block.axis)
        spread += float((top - block.values.min(axis=block.axis)).sum())
        gain += float((label - mean).sum())
        lack += float((top - label).sum())
    if spread == 0.0:
        return 0.0, "flat"
    start = math.log(5.0 * len(predictions) / spread)
    if lack == 0.0:
        return start, "lowest"
    return start, "highest" if gain <= 0.0 else ""


def _sample(predictions: Predictions) -> Predictions | None:
    """A fixed random part of large data, only to find a good start."""
    n = len(predictions)
    size = max(1000, _SAMPLE // predictions.n_classes)
    if n <= 2 * size:
        return None
    rows = np.sort(np.random.default_rng(0).choice(n, size, replace=False))
    return Predictions(
        logits=predictions.logits[rows], labels=predictions.labels[rows], kind=predictions.kind
    )


def _fit_brier(predictions: Predictions, bounds: tuple[float, float], zero: float) -> Optimum:
    """The better of the optima downhill from T = 1 and from the log-loss optimum: it is not convex."""
    from scipy.optimize import minimize  # takes longer than most fits of the log-loss
    from scipy.special import softmax

    scores = finite_scores(predictions, zero)
    labels = predictions.labels
    rows = np.arange(len(labels))

    def brier(log_beta: FloatArray) -> tuple[float, FloatArray]:
        scaled = scores * math.exp(log_beta[0])
        p = softmax(scaled, axis=1)
        error = p.copy()
        error[rows, labels] -= 1.0
        centred = scaled - (p * scaled).sum(axis=1, keepdims=True)
        return float((error**2).mean()), np.array([2.0 * (error * p * centred).mean()])

    low, high = math.log(bounds[0]), math.log(bounds[1])
    nll = fit_inverse_temperature(predictions, bounds, zero)
    options = {"ftol": 1e-15, "gtol": 1e-12}
    found = [
        minimize(brier, [start], jac=True, method="L-BFGS-B", bounds=[(low, high)], options=options)
        for start in (float(np.clip(0.0, low, high)), math.log(nll.inverse))
    ]
    best = min(found, key=lambda result: round(float(result.fun), 12))
    u = float(best.x[0])
    bounded: Bounded = "lowest" if u >= high - 1e-9 else "highest" if u <= low + 1e-9 else ""
    return Optimum(math.exp(u), float(best.fun), bounded, int(best.nfev) + nll.steps)
