"""Intervals for a share of rows: Wilson and Clopper-Pearson, also for clustered rows."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.estimate import Estimate

# Fewer groups than this, by their effective number where rows of a group are alike, show neither the spread
# nor the skewness of a score.
FEWEST_GROUPS = 6


class Interval(NamedTuple):
    """Lower and upper ends, one per share."""

    low: FloatArray
    high: FloatArray


def critical_value(level: float, groups: float | None = None) -> float:
    """How many standard errors an interval reaches: normal, or Student's t with G - 1 degrees for G groups.

    Few groups estimate their own spread badly; the t quantile allows for it (Cameron, Gelbach and Miller,
    Review of Economics and Statistics 2008). Groups of unequal size count as :func:`effective_groups`.

    Example:
        >>> round(critical_value(0.95), 3), round(critical_value(0.95, groups=5), 3)
        (1.96, 2.776)
    """
    if groups is None:
        return NormalDist().inv_cdf((1 + level) / 2)  # not with all of scipy.special
    return float(special.stdtrit(max(groups - 1, 1), (1 + level) / 2))


def survival(ratio: float, groups: float | None = None) -> float:
    """Probability that a standardised value is at least ``ratio``: normal, or Student's t for groups.

    Example:
        >>> round(survival(1.96), 3), round(survival(1.96, groups=5), 3)
        (0.025, 0.061)
    """
    return float(
        special.ndtr(-ratio) if groups is None else special.stdtr(max(groups - 1, 1), -ratio)
    )


def wilson(
    successes: FloatArray, n: FloatArray, level: float = 0.95, groups: float | None = None
) -> Interval:
    """Wilson score interval of a share; with ``groups``, their number, by the t quantile.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Example:
        >>> low, high = wilson(np.array(8.0), np.array(10.0))
        >>> round(float(low), 4), round(float(high), 4)
        (0.4902, 0.9433)
    """
    z = critical_value(level, groups)
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0))


def clopper_pearson(successes: FloatArray, n: FloatArray, level: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a share: never covers less than its level.

    Source: Clopper and Pearson, Biometrika 1934.

    Example:
        >>> low, high = clopper_pearson(np.array([0.0]), np.array([10.0]))
        >>> float(low[0]), round(float(high[0]), 4)
        (0.0, 0.3085)
    """
    tail = (1 - level) / 2
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, special.betaincinv(np.maximum(k, 1e-300), n - k + 1, tail), 0.0)
        high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1e-300), 1 - tail), 1.0)
    return Interval(low, high)


def effective_groups(
    groups: StrArray | IntArray, values: FloatArray | None = None, alike: float = 0.0
) -> float:
    """How many groups of equal size say as much: (sum_g c_g)^2 / sum_g c_g^2, c_g = n_g (1 + (n_g - 1) rho).

    c_g is what a group adds to the variance of a mean whose rows have the correlation rho within groups. One
    large group among small ones decides it nearly alone, and Student's t with one degree less than the bare
    number of groups is then too narrow. These are the degrees of freedom of Bell and McCaffrey for a mean
    (Survey Methodology 2002; Imbens and Kolesar, Review of Economics and Statistics 2016).

    Args:
        groups: (N,) group of each row.
        values: (N,) rows whose mean is judged; rho is estimated from them.
        alike: rho where there are no values: 0 (Kish's number) to 1 (whole groups right or wrong together).

    Example:
        >>> effective_groups(np.array([1, 1, 2, 2, 3, 3])), effective_groups(np.array([1, 1, 1, 1, 2, 3]))
        (3.0, 2.0)
    """
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sizes = counts.astype(np.float64)
    if values is not None:
        centred = values - values.mean()
        square, pairs = float(centred @ centred), float(sizes @ (sizes - 1))
        sums = np.bincount(index, centred)
        together = float(sums @ sums) - square
        alike = together / square * len(values) / pairs if square * pairs > 0 else 0.0
    parts = sizes * (1 + (sizes - 1) * min(max(alike, 0.0), 1.0))
    return float(parts.sum() ** 2 / (parts @ parts))


def too_few_groups(groups: StrArray | IntArray) -> str:
    """Why an interval of a skewed mean would not cover; empty where the groups are enough.

    Five groups show neither the spread nor the skewness of a score; nor do twelve of which two hold most rows
    and may be right or wrong together (see docs/results/validity.md).

    Example:
        >>> too_few_groups(np.repeat(np.arange(3), 10))
        'the 3 groups weigh as much as 3 of equal size (at least 6 are needed)'
        >>> too_few_groups(np.repeat(np.arange(6), 10))
        ''
    """
    count = effective_groups(groups, alike=1.0)
    if round(count) >= FEWEST_GROUPS:
        return ""
    told = f"the {len(np.unique(groups))} groups weigh as much as {count:.0f} of equal size"
    return f"{told} (at least {FEWEST_GROUPS} are needed)"


def leverage(sizes: FloatArray) -> FloatArray:
    """What each group's sum is multiplied by before it is squared: sqrt((G - 1) / G) n / (n - n_g).

    The sum of the squares, divided by n^2, is then the delete-one-group jackknife variance of the mean, which
    does not understate the part of large groups (CV3 of MacKinnon, Nielsen and Webb, Journal of Econometrics
    2023). With equal sizes it is the usual sqrt(G / (G - 1)).

    Args:
        sizes: (G,) rows of each group.

    Example:
        >>> leverage(np.array([2.0, 2.0])).round(4).tolist()
        [1.4142, 1.4142]
    """
    n, count = sizes.sum(), len(sizes)
    rest = np.maximum(n - sizes, 1.0)
    return np.asarray(np.sqrt(max(count - 1, 1) / count) * n / rest)


def mean_variance(values: FloatArray, groups: StrArray | IntArray | None) -> float:
    """Variance of the mean of ``values``: of rows, or the jackknife's of groups (see :func:`leverage`).

    Example:
        >>> round(mean_variance(np.array([1.0, 1.0, 0.0, 0.0]), None), 9)
        0.083333333
        >>> round(mean_variance(np.array([1.0, 1.0, 0.0, 0.0]), np.array(["a", "a", "b", "b"])), 9)
        0.25
    """
    centred, n = values - values.mean(), len(values)
    if groups is None:
        return float(centred @ centred) / (n * max(n - 1, 1))
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, centred) * leverage(np.bincount(index).astype(np.float64))
    return float(sums @ sums) / n**2


def design_effect(values: FloatArray, groups: StrArray | IntArray) -> float:
    """How much the variance of a mean grows because rows of a group resemble each other (at least 1).

    The ratio of the cluster-robust to the plain variance of the mean (Kish, Survey Sampling, 1965).

    Example:
        >>> round(design_effect(np.array([1.0, 1.0, 0.0, 0.0]), np.array(["a", "a", "b", "b"])), 6)
        4.0
    """
    plain = float(np.square(values - values.mean()).sum())
    if plain == 0:
        return len(values) / len(np.unique(groups))
    return max(1.0, mean_variance(values, groups) * len(values) ** 2 / plain)


def infer_proportion(
    hits: BoolArray, *, level: float, groups: StrArray | IntArray | None
) -> Estimate:
    """Share of True with its Wilson interval; groups reduce the number of rows to the effective one."""
    n = len(hits)
    effective = n if groups is None else n / design_effect(hits.astype(np.float64), groups)
    share = float(hits.mean())
    count = None if groups is None else effective_groups(groups, hits.astype(np.float64))
    low, high = wilson(np.array(share * effective), np.array(effective), level, count)
    method = "wilson" if groups is None else "wilson, design effect"
    return Estimate(share, float(low), float(high), n=n, method=method)


def widest_gap(
    confidence: FloatArray,
    correct: BoolArray,
    level: float,
    groups: StrArray | IntArray | None = None,
) -> float:
    """Largest |mean confidence - accuracy| with the accuracy anywhere in its Wilson interval.

    No calibration error of any binning can be smaller than |mean confidence - accuracy|, so the upper end of
    its interval is at least this: with few or no errors the bins have no spread of their own to show it.

    Example:
        >>> round(widest_gap(np.full(100, 1.0), np.ones(100, dtype=bool), 0.95), 4)
        0.037
    """
    accuracy = infer_proportion(correct, level=level, groups=groups)
    mean = float(confidence.mean())
    ends = [mean if end is None else end for end in (accuracy.low, accuracy.high)]
    return max(abs(mean - end) for end in ends)
