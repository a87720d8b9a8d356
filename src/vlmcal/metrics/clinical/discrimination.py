"""Does the score tell cases from others? ROC area with DeLong's interval, average precision."""

from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.kit.proportions import critical_value, effective_groups
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate


def diagnostic_auroc(risks: Risks, level: float = 0.95) -> Estimate:
    """Probability that a case has a higher score than another row, ties counted half; DeLong's interval.

    With units (patients), the variance of Obuchowski for clustered rows.

    Args:
        risks: N rows.
        level: Confidence level.

    Returns:
        The area; NaN where there are only cases, or none.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; Obuchowski, Biometrics 1997; Sun and Xu, IEEE
    Signal Processing Letters 2014.

    Example:
        >>> str(diagnostic_auroc(Risks.of([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])))
        '0.7500 [0.0570, 1.0000]'
    """
    if not risks.both:
        return Estimate(float("nan"), n=len(risks))
    parts = _components(risks)
    error = float(np.sqrt(_covariance(parts, parts, risks)))
    count = None if risks.groups is None else effective_groups(risks.groups)
    reach = critical_value(level, count) * error
    low, high = max(parts.area - reach, 0.0), min(parts.area + reach, 1.0)
    method = "DeLong" if risks.groups is None else "DeLong, clustered"
    return Estimate(parts.area, low, high, n=len(risks), method=method)


class _Components(NamedTuple):
    area: float
    cases: FloatArray
    others: FloatArray


def _components(risks: Risks) -> _Components:
    """DeLong's structural components by midranks: of each case, and of each other row."""
    from scipy.stats import rankdata  # takes seconds to import; not with every metric

    score, present = risks.log_odds, risks.present
    cases, others = score[present], score[~present]
    m, n = len(cases), len(others)
    together = rankdata(np.concatenate([cases, others]))
    case_part = (together[:m] - rankdata(cases)) / n
    other_part = 1.0 - (together[m:] - rankdata(others)) / m
    return _Components(float(case_part.mean()), case_part, other_part)


def _covariance(first: _Components, second: _Components, risks: Risks) -> float:
    """Covariance of two areas on the same rows."""
    a = (first.cases - first.area, first.others - first.area)
    b = (second.cases - second.area, second.others - second.area)
    m, n = len(a[0]), len(a[1])
    if risks.groups is None:
        return float(a[0] @ b[0] / max(m - 1, 1) / m + a[1] @ b[1] / max(n - 1, 1) / n)
    _, unit = np.unique(risks.groups, return_inverse=True)
    count = int(unit.max()) + 1
    sums = [
        (
            np.bincount(unit[risks.present], part[0], minlength=count) / m,
            np.bincount(unit[~risks.present], part[1], minlength=count) / n,
        )
        for part in (a, b)
    ]
    with_cases = len(np.unique(unit[risks.present]))
    with_others = len(np.unique(unit[~risks.present]))
    (a_case, a_other), (b_case, b_other) = sums
    return float(
        a_case @ b_case * with_cases / max(with_cases - 1, 1)
        + a_other @ b_other * with_others / max(with_others - 1, 1)
        + (a_case @ b_other + a_other @ b_case) * count / max(count - 1, 1)
    )


def compare_auroc(first: Risks, second: Risks, level: float = 0.95) -> Estimate:
    """Difference of two areas on the same rows, with DeLong's interval and two-sided p-value.

    Args:
        first: One model's risks.
        second: The other's, for the same rows in the same order.
        level: Confidence level.

    Raises:
        DataError: The outcomes differ, or there are only cases, or none.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988.

    Example:
        >>> truth = [0, 0, 1, 1, 1]
        >>> a, b = Risks.of([0.1, 0.4, 0.35, 0.8, 0.9], truth), Risks.of([0.3, 0.6, 0.5, 0.4, 0.9], truth)
        >>> round(compare_auroc(a, b).value, 4)
        0.1667
    """
    if not np.array_equal(first.present, second.present):
        raise DataError("the two models were measured against different outcomes")
    if not first.both:
        raise DataError("an area under the ROC curve needs rows with and without the condition")
    a, b = _components(first), _components(second)
    difference = a.area - b.area
    variance = _covariance(a, a, first) + _covariance(b, b, first) - 2 * _covariance(a, b, first)
    error = float(np.sqrt(max(variance, 0.0)))
    reach = critical_value(level) * error
    p = 2 * float(special.ndtr(-abs(difference) / error)) if error > 0 else float(difference == 0)
    return Estimate(
        difference, difference - reach, difference + reach, n=len(first), method="DeLong", p_value=p
    )


def average_precision(risks: Risks, level: float = 0.95) -> Estimate:
    """Mean precision over the cases in order of score: sum of (R_k - R_{k-1}) P_k; ties move together.

    The interval is symmetric in the logit, with standard error 1 / sqrt(n A (1 - A)) for n cases (units that
    hold one).

    Source: Boyd, Eng and Page, "Area under the precision-recall curve: point estimates and confidence
    intervals", ECML PKDD 2013.

    Example:
        >>> round(average_precision(Risks.of([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).value, 4)
        0.8333
    """
    if not risks.present.any():
        return Estimate(float("nan"), n=len(risks))
    order = np.argsort(-risks.log_odds, kind="stable")
    score, present = risks.log_odds[order], risks.present[order]
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(present)[ends]
    recall = hits / hits[-1]
    area = min(float(np.diff(recall, prepend=0.0) @ (hits / (ends + 1))), 1.0)
    if not 0 < area < 1:
        return Estimate(area, n=len(risks))
    units = np.arange(len(risks)) if risks.groups is None else risks.groups
    cases = len(np.unique(units[risks.present]))
    middle = np.log(area / (1 - area))
    reach = critical_value(level) / np.sqrt(cases * area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (middle - reach, middle + reach))
    return Estimate(area, low, high, n=len(risks), method="logit")
