"""Several methods on several data sets: means, ranks, and whether they can be told apart.

Source: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, Numbers

_FEW = 3  # names in a sentence
_FEWEST_SETS = 5  # no Wilcoxon test of fewer pairs can be significant at 5 %: 2 / 2^5 = 0.0625


def harmonic_of_averages(base: Numbers, new: Numbers) -> float:
    """Harmonic mean of the two averages over data sets, 2 b n / (b + n); what most papers print.

    Args:
        base: (D,) accuracies on base classes, one for each data set.
        new: (D,) on new classes.

    Raises:
        DataError: Another number of values, or none.

    Example:
        >>> round(harmonic_of_averages([0.9, 0.5], [0.5, 0.9]), 4)
        0.7
    """
    b, n = _pair(base, new)
    return _harmonic(float(b.mean()), float(n.mean()))


def average_of_harmonics(base: Numbers, new: Numbers) -> float:
    """Average over data sets of their own harmonic means; never above :func:`harmonic_of_averages`.

    Args:
        base: (D,) accuracies on base classes, one for each data set.
        new: (D,) on new classes.

    Raises:
        DataError: Another number of values, or none.

    Example:
        >>> round(average_of_harmonics([0.9, 0.5], [0.5, 0.9]), 4)
        0.6429
    """
    b, n = _pair(base, new)
    return float(np.mean([_harmonic(float(x), float(y)) for x, y in zip(b, n, strict=True)]))


def _pair(base: Numbers, new: Numbers) -> tuple[FloatArray, FloatArray]:
    b, n = np.asarray(base, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if b.shape != n.shape or b.ndim != 1 or not len(b):
        raise DataError(
            f"expected one base and one new value for each data set, got {b.shape} and {n.shape}"
        )
    return b, n


def _harmonic(b: float, n: float) -> float:
    return 2 * b * n / (b + n) if b + n else 0.0


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of K methods over D data sets.

    Attributes:
        names: (K,) methods, best mean rank first.
        ranks: Their mean ranks; 1 is best, ties share.
        sets: D.
        p_value: Of "all methods rank alike": Friedman's test in the form of Iman and Davenport.
        critical_difference: Nemenyi's: mean ranks closer than this cannot be told apart at ``level``.
        p_wilcoxon: For each pair of names, the p-value of Wilcoxon's signed-rank test, corrected by Holm;
            {} with five or fewer data sets, of which no such test can be significant at 5 %.
        level: 1 - significance level.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    sets: int
    p_value: float
    critical_difference: float
    p_wilcoxon: dict[tuple[str, str], float]
    level: float = 0.95

    def same(self, first: str, second: str) -> bool:
        """Whether the two cannot be told apart by Nemenyi's critical difference."""
        at = {name: rank for name, rank in zip(self.names, self.ranks, strict=True)}
        return abs(at[first] - at[second]) < self.critical_difference

    def groups(self) -> list[tuple[str, ...]]:
        """Maximal runs of neighbouring methods that cannot be told apart, as a diagram joins them by bars."""
        found: list[tuple[str, ...]] = []
        for i, first in enumerate(self.names):
            last = max(j for j, name in enumerate(self.names) if j >= i and self.same(first, name))
            group = self.names[i : last + 1]
            if len(group) > 1 and not any(set(group) <= set(other) for other in found):
                found.append(group)
        return found

    def sentences(self) -> list[str]:
        """What can be said, in words."""
        best = self.names[0]
        about = f"over {self.sets} data sets"
        lines = []
        if self.p_value > 1 - self.level:
            lines.append(
                f"The {len(self.names)} methods are not distinguishable {about} "
                f"(Friedman, p = {self.p_value:.2g})."
            )
        alike = [name for name in self.names[1:] if self.same(best, name)]
        rest = [name for name in self.names[1:] if name not in alike]
        if alike:
            lines.append(
                f"{best} has the best mean rank, {self.ranks[0]:.2f}, but is not distinguishable from "
                f"{_listed(alike, 'next in rank')} {about} (critical difference "
                f"{self.critical_difference:.2f})."
            )
        else:
            lines.append(
                f"{best} has the best mean rank, {self.ranks[0]:.2f}, above all others {about}."
            )
        if rest and alike:
            lines.append(f"It ranks above {_listed(rest, 'others')}.")
        if not self.p_wilcoxon:
            lines.append(
                f"{self.sets} data sets are too few for Wilcoxon's test, which needs at least "
                f"{_FEWEST_SETS + 1} to find anything at 5 %."
            )
        return lines


def rank_methods(
    values: Numbers, names: Sequence[str], *, higher_is_better: bool, level: float = 0.95
) -> Ranking:
    r"""Rank methods within every data set and test whether their mean ranks differ.

    With R_j the mean rank of method j,

    .. math:: \chi^2 = \frac{12 D}{K (K + 1)} \Bigl( \sum_j R_j^2 - \frac{K (K + 1)^2}{4} \Bigr), \quad
        F = \frac{(D - 1) \chi^2}{D (K - 1) - \chi^2}, \quad CD = q \sqrt{\frac{K (K + 1)}{6 D}}

    with q the studentised range of K means divided by sqrt 2.

    Args:
        values: (D, K) one value per data set and method, finite.
        names: (K,) of the methods.
        higher_is_better: Direction of the metric.
        level: 1 - significance level.

    Raises:
        DataError: Fewer than two methods or data sets, or a value is missing.

    Example:
        >>> found = rank_methods([[0.9, 0.8, 0.7]] * 6, ["a", "b", "c"], higher_is_better=True)
        >>> found.ranks, round(found.critical_difference, 3), found.same("a", "c")
        ((1.0, 2.0, 3.0), 1.353, False)
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or table.shape[1] != len(names):
        raise DataError(
            f"expected at least two data sets and two methods, one column for each of {len(names)} "
            f"names, got values of shape {table.shape}"
        )
    if not np.isfinite(table).all():
        raise DataError("every method needs a value on every data set")
    d, k = table.shape
    signed = -table if higher_is_better else table
    # Imported late: the first metric of a program does not wait for scipy.stats.
    from scipy.stats import f as f_distribution
    from scipy.stats import rankdata, studentized_range

    ranks = np.mean([rankdata(row) for row in signed], axis=0)
    chi2 = 12 * d / (k * (k + 1)) * (float(np.sum(ranks**2)) - k * (k + 1) ** 2 / 4)
    left = d * (k - 1) - chi2
    p = (
        0.0
        if left <= 0
        else float(f_distribution.sf((d - 1) * chi2 / left, k - 1, (k - 1) * (d - 1)))
    )
    q = float(studentized_range.ppf(level, k, np.inf)) / np.sqrt(2)
    order = np.argsort(ranks, kind="stable")
    chosen = tuple(names[i] for i in order)
    return Ranking(
        names=chosen,
        ranks=tuple(float(ranks[i]) for i in order),
        sets=d,
        p_value=p,
        critical_difference=float(q * np.sqrt(k * (k + 1) / (6 * d))),
        p_wilcoxon=_pairwise(table[:, order], chosen) if d > _FEWEST_SETS else {},
        level=level,
    )


def _pairwise(table: FloatArray, names: Sequence[str]) -> dict[tuple[str, str], float]:
    pairs = list(combinations(range(len(names)), 2))
    values = [signed_rank(table[:, i], table[:, j]) for i, j in pairs]
    return {(names[i], names[j]): p for (i, j), p in zip(pairs, holm(values), strict=True)}


def signed_rank(first: Numbers, second: Numbers) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test over data sets; 1 where all pairs are equal.

    Exact for at most 50 pairs without ties.

    Example:
        >>> signed_rank([5, 6, 7, 8, 9, 10], [4, 4, 4, 4, 4, 4])
        0.03125
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if np.array_equal(a, b):
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(a, b).pvalue)


def holm(p_values: Numbers) -> list[float]:
    """P-values of several tests, each corrected for all of them by Holm's step-down rule.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    result = np.empty(len(p))
    result[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in result]


def _listed(names: Sequence[str], many: str) -> str:
    """Names in a sentence; of more than a few how many there are, since ranks stand beside it in a table."""
    if len(names) > _FEW:
        return f"the {len(names)} {many}"
    if len(names) == 1:
        return names[0]
    between = "; " if any("," in name for name in names) else ", "
    return f"{between.join(names[:-1])} and {names[-1]}"
