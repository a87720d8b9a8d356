"""One bootstrap for all smooth metrics: rows (or groups) are drawn once per resample, BCa intervals.

Source: Efron, "Better bootstrap confidence intervals", JASA 1987. The acceleration comes from a delete-block
jackknife. Beyond ``MANY`` row draws fewer resamples give a standard error and the interval is normal. From
``ANALYTIC`` rows (or groups) on the interval is normal, too, and its standard error comes without resamples
where the statistic knows the influence of each row: the standard deviation for means, DeLong's placements for
AUROC, and the influence function for the areas under risk-coverage curves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vlmcal.metrics.kit.proportions import critical_value, effective_groups, mean_variance
from vlmcal.metrics.kit.ranking import RankStatistic
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray, IntArray, StrArray
from vlmcal.types.estimate import Estimate

Weighted = Callable[[FloatArray], float]
MANY = 200_000_000
ANALYTIC = 10_000
_BLOCKS = 200
# Below this many groups a bootstrap of them is too narrow: jackknife and Student's t (MacKinnon, Nielsen and
# Webb, "Cluster-robust inference", Journal of Econometrics 2023), joined with Hall's correction for skewness.
_FEW_GROUPS = 100
# Fewer wrong (or right) rows or groups than this decide a score that hangs on errors by themselves.
FEWEST_ERRORS = 5
# Effective number of rows (or blocks) below which the value hangs on too few of them.
_FEWEST = 5


@dataclass(frozen=True, eq=False)
class Resampled:
    """Bootstrap and jackknife values of one statistic.

    Attributes:
        value: The statistic on the data.
        draws: (R,) its value on each resample.
        jackknife: (G,) its value without each block.
        normal: Use a normal interval (few resamples of very many rows).
        groups: Effective number of the groups that were resampled; None for single rows.
    """

    value: float
    draws: FloatArray
    jackknife: FloatArray
    normal: bool
    groups: float | None = None

    @property
    def few(self) -> bool:
        """Whether the groups are too few to resample them."""
        return self.groups is not None and self.groups < _FEW_GROUPS

    @property
    def method(self) -> str:
        """Name of the interval that :meth:`interval` gives."""
        if self.few:
            return "jackknife of groups, t and skewness"
        return "bootstrap, normal" if self.normal else "bootstrap, BCa"

    @property
    def error(self) -> float:
        """Standard error: of the draws, or of the delete-one-group jackknife where the groups are few."""
        if not self.few:
            return float(np.nanstd(self.draws, ddof=1))
        left = self.jackknife[np.isfinite(self.jackknife)]
        spread = left - left.mean()
        return float(np.sqrt(spread @ spread * max(len(left) - 1, 1) / max(len(left), 1)))

    def interval(self, level: float) -> tuple[float, float] | None:
        """Interval at ``level``; None when resamples are undefined or a handful of rows decide it."""
        draws = self.draws[np.isfinite(self.draws)]
        if len(draws) < 0.95 * len(self.draws) or not np.isfinite(self.value):
            return None
        if self.groups is not None and self.groups < 3:
            return None  # no skewness; the callers have a stricter rule with a reason
        z = critical_value(level, self.groups if self.few else None)
        if self.few and self.groups is not None:
            left = self.jackknife[np.isfinite(self.jackknife)]
            if (error := self.error) <= 0:
                return None
            return _skewed(self.value, error, left.mean() - left, self.groups, z)
        if self.normal:
            reach = z * self.error
            return (self.value - reach, self.value + reach) if reach > 0 else None
        if np.ptp(draws) == 0:
            return None
        below = np.mean(draws < self.value) + np.mean(draws == self.value) / 2
        shift = float(special.ndtri(np.clip(below, 1 / len(draws), 1 - 1 / len(draws))))
        influence = self.jackknife[np.isfinite(self.jackknife)]
        centred = influence.mean() - influence
        if float(centred @ centred) ** 2 < _FEWEST * float(np.sum(centred**4)):
            return None
        spread = float(centred @ centred) ** 1.5
        bend = float(np.sum(centred**3)) / (6 * spread) if spread > 0 else 0.0
        moved = shift + np.array([-z, z])
        low, high = np.quantile(draws, special.ndtr(shift + moved / (1 - bend * moved)))
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Analytic:
    """The same from the influence of each row, without resamples.

    Attributes:
        value: The statistic on the data.
        error: Its standard error.
    """

    value: float
    error: float
    method: str = "influence function, normal"

    def interval(self, level: float) -> tuple[float, float] | None:
        """Normal interval at ``level``; None when a handful of rows decide the value."""
        if not (self.error > 0 and np.isfinite(self.value)):
            return None
        reach = critical_value(level) * self.error
        return self.value - reach, self.value + reach


def analytic(statistic: Any, groups: StrArray | None) -> Analytic | None:
    """Value and standard error of a statistic of very many rows; None where it has to be resampled.

    Args:
        statistic: A function of row weights, with methods ``value`` and ``influence`` if it has them.
        groups: (N,) cluster of each row, or None.

    Source: Hampel, "The influence curve and its role in robust estimation", JASA 1974; for AUROC: DeLong,
    DeLong and Clarke-Pearson, Biometrics 1988.

    Example:
        >>> from vlmcal.metrics.base import mean_of
        >>> found = analytic(mean_of(np.repeat([0.0, 1.0], 5000)), None)
        >>> found.value, round(found.error, 6)
        (0.5, 0.005)
        >>> analytic(mean_of(np.ones(100)), None) is None
        True
    """
    if not hasattr(statistic, "influence"):
        return None
    influence = statistic.influence()
    if influence is None or len(influence) < ANALYTIC:
        return None
    if groups is not None and effective_groups(groups) < ANALYTIC:
        return None
    squares = influence - influence.mean()
    np.square(squares, out=squares)
    error = float(np.sqrt(squares.sum())) / len(squares)
    if groups is not None:
        error = float(np.sqrt(mean_variance(influence, groups)))
    if float(squares.sum()) ** 2 < _FEWEST * float(squares @ squares):
        error = 0.0  # as for a bootstrap: a handful of rows decide the value
    return Analytic(float(statistic.value()), error)


def _skewed(
    value: float, error: float, influence: FloatArray, groups: float, z: float
) -> tuple[float, float]:
    """Ends that a symmetric t interval or Hall's interval for skewed means reaches, whichever is farther.

    A handful of groups of which one may be bad gives a skewed mean: the symmetric interval then ends too soon
    on the long side. Hall's transform of the t ratio, g(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6 with a the
    skewness over sqrt(G), takes that out, but trusts a skewness known from few groups; so both are joined.

    Source: Hall, "On the removal of skewness by transformation", JRSS B 1992.

    Example:
        >>> low, high = _skewed(1.0, 0.1, np.array([-1.0, -1.0, -1.0, -1.0, 4.0]), 5, 2.776)
        >>> round(low, 3), round(high, 3)
        (0.722, 1.674)
    """
    scale = float(np.mean(influence**2)) ** 1.5
    skew = float(np.mean(influence**3) / scale * np.sqrt(groups * (groups - 1)) / (groups - 2))
    bend = skew / float(np.sqrt(groups))
    if abs(bend) < 1e-6:
        return value - z * error, value + z * error
    low, high = (
        value - error * 3 / bend * float(np.cbrt(1 + bend * (end - bend / 6)) - 1)
        for end in (z, -z)
    )
    return min(low, value - z * error), max(high, value + z * error)


def unit_index(n: int, groups: StrArray | None) -> tuple[IntArray | None, int]:
    """Which resampling unit each row belongs to (None when rows are the units), and their number."""
    if groups is None:
        return None, n
    _, index = np.unique(groups, return_inverse=True)
    return index.astype(np.int64), int(index.max()) + 1


def bootstrap(
    statistics: Mapping[str, Weighted],
    n: int,
    *,
    groups: StrArray | None,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, Resampled]:
    """Resample rows (or whole groups) and evaluate every statistic on the same resamples.

    Args:
        statistics: Functions of the row weights (N,).
        n: Number of rows.
        groups: (N,) cluster of each row, or None.
        resamples: Number of resamples.
        generator: Source of the draws.

    Example:
        >>> rows = np.arange(10.0)
        >>> mean = {"mean": lambda w: float(w @ rows / w.sum())}
        >>> drawn = bootstrap(
        ...     mean, 10, groups=None, resamples=400, generator=np.random.default_rng(0))["mean"]
        >>> low, high = drawn.interval(0.95)
        >>> drawn.value, 2 < low < 4 and 5 < high < 7
        (4.5, True)
    """
    drawn = bootstrap_together(
        _Together(statistics), n, groups=groups, resamples=resamples, generator=generator
    )
    return dict(zip(statistics, drawn, strict=True))


def bootstrap_together(
    evaluate: Callable[[FloatArray], Sequence[float] | FloatArray],
    n: int,
    *,
    groups: StrArray | None,
    resamples: int,
    generator: np.random.Generator,
    cells: int | None = None,
) -> list[Resampled]:
    """As :func:`bootstrap`, for statistics that one function computes together.

    Args:
        evaluate: Function of the row weights (N,) that gives all statistics, in a fixed order.
        n: As there.
        groups: As there.
        resamples: As there.
        generator: As there.
        cells: How many numbers one evaluation goes through, where these are more than the rows.
    """
    units, count = unit_index(n, groups)
    cells = cells or n
    normal = cells * resamples > MANY
    if normal:
        resamples = min(resamples, max(100, MANY // cells))

    def rows(of_unit: FloatArray) -> FloatArray:
        return of_unit if units is None else of_unit[units]

    values = np.asarray(evaluate(np.ones(n)))
    draws = np.empty((resamples, len(values)))
    for draw in range(resamples):
        drawn = np.bincount(generator.integers(count, size=count), minlength=count)
        draws[draw] = evaluate(rows(drawn.astype(np.float64)))
    few = groups is not None and effective_groups(groups) < _FEW_GROUPS
    blocks = 0 if normal and not few else min(count, _BLOCKS)
    jackknife = np.full((blocks, len(values)), np.nan)
    block = generator.permutation(count) % max(blocks, 1)
    for left_out in range(blocks):
        weights = rows((block != left_out).astype(np.float64))
        if weights.any():
            jackknife[left_out] = evaluate(weights)
    clusters = None if groups is None else effective_groups(groups)
    return [
        Resampled(float(value), draws[:, at], jackknife[:, at], normal, clusters)
        for at, value in enumerate(values)
    ]


class _Together:
    """Evaluates statistics on one weight vector, sorting it once for those that share a ranking."""

    def __init__(self, statistics: Mapping[str, Weighted]) -> None:
        self.functions: list[Weighted] = list(statistics.values())
        self.orders: list[IntArray] = []
        self.which: list[int | None] = []
        for function in self.functions:
            if not isinstance(function, RankStatistic):
                self.which.append(None)
                continue
            same = [np.array_equal(order, function.order) for order in self.orders]
            if not any(same):
                self.orders.append(function.order)
                same.append(True)
            self.which.append(same.index(True))

    def __call__(self, weights: FloatArray) -> list[float]:
        by_rank = [weights[order] for order in self.orders]
        return [
            function.by_rank(by_rank[which])
            if isinstance(function, RankStatistic) and which is not None
            else function(weights)
            for function, which in zip(self.functions, self.which, strict=True)
        ]


WHOLE: Final = (-np.inf, np.inf)
# What measures can be that are no registered metrics.
RANGES: Final = {
    **dict.fromkeys(("prevalence", "auroc", "average_precision", "brier", "ece"), (0.0, 1.0)),
    **dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), (0.0, 1.0)),
    **dict.fromkeys(("false_negative_rate", "empty"), (0.0, 1.0)),
    **dict.fromkeys(("nll", "oe"), (0.0, np.inf)),
    "brier_skill": (-np.inf, 1.0),
}


def with_interval(
    estimate: Estimate,
    drawn: Resampled | Analytic,
    level: float,
    within: tuple[float, float] = WHOLE,
) -> Estimate:
    """The same with the interval of what was drawn, where it has one; the value itself is always inside.

    Symmetric intervals and those of few groups may end beyond what the value can be; there they are cut off
    at ``within``, which costs no coverage.

    Example:
        >>> str(with_interval(Estimate(0.98), Analytic(0.98, 0.02), 0.95, (0.0, 1.0)))
        '0.9800 [0.9408, 1.0000]'
    """
    ends = drawn.interval(level)
    if ends is None:
        return estimate
    return Estimate(
        estimate.value,
        min(max(ends[0], within[0]), estimate.value),
        max(min(ends[1], within[1]), estimate.value),
        n=estimate.n,
        method=drawn.method,
    )
