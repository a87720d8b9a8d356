"""Are risks as large as they say? In the large, by the slope, by Spiegelhalter's test, and along a curve."""

from typing import NamedTuple

import numpy as np

from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.kit.class_bins import add_class_sums
from vlmcal.metrics.kit.proportions import (
    critical_value,
    design_effect,
    effective_groups,
    leverage,
    survival,
)
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

_SPAN, _POINTS, _EXACT = 0.75, 400, 1500


def observed_to_expected(risks: Risks, level: float = 0.95) -> Estimate:
    """Cases observed over cases expected, O:E = sum y / sum p, with p-value of the true ratio being 1.

    The interval is that of log O:E with variance (1 - O/N) / O, times the design effect of units. The test is
    (O - E) / sqrt(sum p (1 - p)), the score test of calibration in the large.

    Source: Debray et al., "A guide to systematic review and meta-analysis of prediction model performance",
    BMJ 2017, appendix; Cox, Biometrika 1958.

    Example:
        >>> found = observed_to_expected(Risks.of([0.5] * 100, [1] * 30 + [0] * 70))
        >>> round(found.value, 2), found.p_value < 1e-3
        (0.6, True)
    """
    return balance(risks, level).ratio


class Balance(NamedTuple):
    """Cases of a condition beside what its risks add up to.

    Attributes:
        observed: Their number, O.
        expected: Sum of the risks, E.
        ratio: O:E as of :func:`observed_to_expected`.
    """

    observed: int
    expected: float
    ratio: Estimate


def balance(risks: Risks, level: float = 0.95) -> Balance:
    """O, E and their ratio of one condition (see :func:`observed_to_expected`)."""
    observed, expected = int(risks.present.sum()), float(risks.risk.sum())
    null = float((risks.risk * (1 - risks.risk)).sum())
    effect, count = 1.0, None
    if risks.groups is not None:
        difference = risks.present - risks.risk
        effect = design_effect(difference, risks.groups)
        count = effective_groups(risks.groups, difference)
    ratio = _ratio(observed, expected, null, len(risks), level, effect, count)
    return Balance(observed, expected, ratio)


def balances(predictions: Predictions, level: float = 0.95) -> list[Balance]:
    """The same of every class against all others, (K,).

    Raises:
        DataError: The rows have no labels.

    Example:
        >>> rows = Predictions(logits=[[0.0, 1.0]] * 200, labels=[0, 1] * 100)
        >>> [round(found.ratio.value, 2) for found in balances(rows)]
        [1.86, 0.68]
    """
    n, k = len(predictions), predictions.n_classes
    if predictions.groups is not None:
        return [balance(each, level) for each in Risks.of_classes(predictions, range(k))]
    predictions.require_labels("measuring")
    expected, squares = np.zeros(k), np.zeros(k)
    for _, axis, block in ClassProbabilities.of(predictions).blocks():
        add_class_sums(block, axis, expected, squares)
    null = np.maximum(expected - squares, 0.0)
    each = zip(
        np.bincount(predictions.labels, minlength=k).tolist(),
        expected.tolist(),
        null.tolist(),
        strict=True,
    )
    return [Balance(o, e, _ratio(o, e, v, n, level)) for o, e, v in each]


def _ratio(
    observed: int,
    expected: float,
    null: float,
    n: int,
    level: float,
    effect: float = 1.0,
    count: float | None = None,
) -> Estimate:
    """O:E from sums over rows: cases, risks and risk times (1 - risk); with the design effect of units."""
    if expected == 0:
        return Estimate(float("nan"), n=n)
    spread = float(np.sqrt(effect * null))
    p = 2 * survival(abs(observed - expected) / spread, count) if spread > 0 else float("nan")
    ratio = observed / expected
    if observed in (0, n):
        return Estimate(ratio, n=n, p_value=p)
    reach = critical_value(level, count) * np.sqrt(effect * (1 - observed / n) / observed)
    low, high = float(ratio * np.exp(-reach)), float(ratio * np.exp(reach))
    return Estimate(ratio, low, high, n=n, method="log ratio", p_value=p)


class Recalibration(NamedTuple):
    """Logistic recalibration: what it takes to mend the log-odds.

    Attributes:
        intercept: Calibration in the large: a in logit P(y) = a + logit p; 0 is right.
        slope: b in logit P(y) = a' + b logit p; 1 is right, less is too extreme.
    """

    intercept: Estimate
    slope: Estimate


def recalibration(risks: Risks, level: float = 0.95) -> Recalibration:
    """Calibration intercept (slope fixed at 1) and slope, with Wald intervals (sandwich for units).

    Source: Cox, Biometrika 1958; Van Calster et al., "Calibration: the Achilles heel of predictive
    analytics", BMC Medicine 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=4000)
        >>> found = recalibration(Risks.of(special.expit(2 * z), rng.random(4000) < special.expit(z)))
        >>> round(found.slope.value, 1)
        0.5
    """
    n = len(risks)
    nothing = Estimate(float("nan"), n=n)
    if not risks.both:
        return Recalibration(nothing, nothing)
    ones = np.ones((n, 1))
    both = np.column_stack([np.ones(n), risks.log_odds])
    return Recalibration(
        _fitted(risks, ones, risks.log_odds, 0, level),
        _fitted(risks, both, np.zeros(n), 1, level) if np.ptp(risks.log_odds) > 0 else nothing,
    )


def _fitted(
    risks: Risks, columns: FloatArray, offset: FloatArray, which: int, level: float
) -> Estimate:
    """One coefficient of a logistic regression by Newton's method."""
    truth = risks.present.astype(np.float64)
    beta = np.zeros(columns.shape[1])
    for _ in range(100):
        p = special.expit(columns @ beta + offset)
        weights = np.maximum(p * (1 - p), 1e-12)
        hessian = columns.T @ (columns * weights[:, None])
        step = np.linalg.solve(hessian, columns.T @ (truth - p))
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-10:
            break
    else:
        return Estimate(float("nan"), n=len(risks))
    inverse = np.linalg.inv(hessian)
    count = None
    if risks.groups is not None:
        _, unit = np.unique(risks.groups, return_inverse=True)
        count = effective_groups(risks.groups, truth - p)
        sizes = np.bincount(unit).astype(np.float64)
        scores = columns * (truth - p)[:, None]
        sums = np.stack([np.bincount(unit, scores[:, j]) for j in range(columns.shape[1])], axis=1)
        scaled = sums * leverage(sizes)[:, None]
        inverse = inverse @ (scaled.T @ scaled) @ inverse
    error = float(np.sqrt(inverse[which, which]))
    value, reach = float(beta[which]), critical_value(level, count) * error
    centre = 1.0 if which else 0.0
    p_value = 2 * survival(abs(value - centre) / error, count)
    method = "Wald" if count is None else "Wald, clustered"
    return Estimate(
        value, value - reach, value + reach, n=len(risks), method=method, p_value=p_value
    )


def spiegelhalter(risks: Risks) -> Estimate:
    """Spiegelhalter's z of the Brier score: sum (y - p)(1 - 2p) / sqrt(sum (1 - 2p)^2 p (1 - p)).

    Standard normal for calibrated risks; groups enter by the design effect.

    Source: Spiegelhalter, "Probabilistic prediction in patient management and clinical trials", Statistics in
    Medicine 1986.

    Example:
        >>> found = spiegelhalter(Risks.of([0.9] * 50, [1] * 30 + [0] * 20))
        >>> round(found.value, 3), found.p_value < 1e-6
        (7.071, True)
    """
    p, n = risks.risk, len(risks)
    terms = (risks.present - p) * (1 - 2 * p)
    variance = float(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
    if risks.groups is not None:
        variance *= design_effect(terms, risks.groups)
    if variance == 0:
        return Estimate(float("nan"), n=n)
    z = float(terms.sum()) / float(np.sqrt(variance))
    return Estimate(z, n=n, method="Spiegelhalter", p_value=2 * float(special.ndtr(-abs(z))))


def brier_skill(risks: Risks) -> Estimate:
    """1 - Brier score / that of the observed prevalence for everybody; 1 is perfect, 0 no use.

    Example:
        >>> round(brier_skill(Risks.of([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0])).value, 3)
        0.9
    """
    share = float(risks.present.mean())
    reference = share * (1 - share)
    if reference == 0:
        return Estimate(float("nan"), n=len(risks))
    own = float(((risks.risk - risks.present) ** 2).mean())
    return Estimate(1 - own / reference, n=len(risks))


class CurveErrors(NamedTuple):
    """Distance of risks from a smooth calibration curve.

    Attributes:
        ici: Mean |p - observed(p)|, the integrated calibration index.
        e50: Median of it.
        e90: Ninth decile of it.
    """

    ici: float
    e50: float
    e90: float


def calibration_curve(risks: Risks) -> FloatArray:
    """Observed share of cases near each row's risk, (N,): local linear regression of y on p.

    Tricube weights over the nearest 75 % of rows, without robustness steps (lowess, iter = 0). With more than
    1,500 rows it is fitted at 400 quantiles of the risk and interpolated.

    Source: Cleveland, JASA 1979; Austin and Steyerberg, Statistics in Medicine 2014.
    """
    order = np.argsort(risks.risk, kind="stable")
    x, y = risks.risk[order], risks.present[order].astype(np.float64)
    n = len(x)
    at = np.unique(x if n <= _EXACT else np.quantile(x, np.linspace(0, 1, _POINTS)))
    near = max(int(_SPAN * n + 1e-10), 2)
    fitted = np.empty(len(at))
    for i, point in enumerate(at):
        distance = np.abs(x - point)
        reach = np.partition(distance, min(near, n) - 1)[min(near, n) - 1]
        share = np.minimum(distance / reach, 1.0) if reach > 0 else 1.0 * (distance > 0)
        weights = (1 - share**3) ** 3
        total = weights.sum()
        middle = weights @ x / total
        spread = weights @ (x - middle) ** 2
        level = weights @ y / total
        slope = weights @ ((x - middle) * y) / spread if spread > 1e-20 * total else 0.0
        fitted[i] = level + slope * (point - middle)
    return np.clip(np.interp(risks.risk, at, fitted), 0.0, 1.0)


def curve_errors(risks: Risks) -> CurveErrors:
    """Integrated calibration index, E50 and E90.

    Source: Austin and Steyerberg, "The Integrated Calibration Index (ICI) and related metrics", Statistics in
    Medicine 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.random(1000)
        >>> round(curve_errors(Risks.of(p, rng.random(1000) < p**2)).ici, 2)
        0.14
    """
    away = np.abs(risks.risk - calibration_curve(risks))
    return CurveErrors(float(away.mean()), float(np.median(away)), float(np.quantile(away, 0.9)))
