"""Going down the confidences: exact tests of the share of wrong answers, in an order that no label chose."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import betainc, rel_entr

from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences

# Fewer groups (scanners, sites) are no draw of groups from which to learn how groups differ.
FEWEST_GROUPS = 10
_STRIDE = 4  # of a ladder of numbers of errors to the next coarser one
_FIRST = 64.0  # rows; a path is gone down in parts of twice as many each time
Test = Callable[[FloatArray | IntArray, FloatArray | IntArray, float], FloatArray]


def binomial_p_values(
    errors: FloatArray | IntArray, count: FloatArray | IntArray, risk: float
) -> FloatArray:
    """Exact p-values of "the error rate is above ``risk``": P(Binomial(count, risk) <= errors).

    Counts need not be whole (effective counts): the tail is the regularised incomplete beta function
    I_{1 - risk}(count - errors, errors + 1).

    Example:
        >>> binomial_p_values(np.array([0, 1]), np.array([22, 22]), 0.1).round(4).tolist()
        [0.0985, 0.3392]
    """
    wrong, n = np.broadcast_arrays(np.asarray(errors, float), np.asarray(count, float))
    result = np.ones(n.shape)
    open_ = n > wrong
    result[open_] = betainc(n[open_] - wrong[open_], wrong[open_] + 1, 1 - risk)
    return result


def hoeffding_bentkus_p_values(
    errors: FloatArray | IntArray, count: FloatArray | IntArray, risk: float
) -> FloatArray:
    """P-values of "the mean loss is above ``risk``" that hold for any loss in [0, 1].

    The smaller of Hoeffding's and Bentkus's (arXiv 2110.01052, proposition 2); never below the binomial.

    Example:
        >>> hoeffding_bentkus_p_values(np.array([0]), np.array([44]), 0.1).round(4).tolist()
        [0.0097]
    """
    wrong, n = np.asarray(errors, float), np.asarray(count, float)
    rate = np.minimum(wrong / np.maximum(n, 1), risk)
    exponent = rel_entr(rate, risk) + rel_entr(1 - rate, 1 - risk)
    bentkus = np.e * binomial_p_values(wrong, n, risk)
    return np.asarray(np.minimum(np.minimum(np.exp(-n * exponent), bentkus), 1.0))


class Path(NamedTuple):
    """What is seen going down the confidences, one entry per distinct value (M,), the largest first.

    Attributes:
        values: The confidences.
        kept: Rows at or above each.
        total, errors: The same and the wrong ones among them, effective numbers where rows are grouped.
        correlation: Intraclass correlation that made them so; None without groups of several rows.
    """

    values: FloatArray
    kept: IntArray
    total: FloatArray
    errors: FloatArray
    correlation: float | None


def descend(rows: Confidences) -> Path:
    """Rows and errors at or above each confidence, divided by the design effect where rows are grouped.

    Fewer than 10 groups are taken as given, and rows as independent within them.

    Example:
        >>> path = descend(Confidences(confidence=[0.9, 0.5, 0.5], correct=[True, True, False]))
        >>> path.values.tolist(), path.kept.tolist(), path.errors.tolist()
        ([0.9, 0.5], [1, 3], [0.0, 1.0])
    """
    order = np.argsort(-rows.confidence, kind="stable")
    confidence, wrong = rows.confidence[order], ~rows.correct[order]
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))
    kept, errors = last + 1, np.cumsum(wrong)[last]
    if rows.groups is None or not FEWEST_GROUPS <= np.unique(rows.groups).size < len(rows):
        return Path(confidence[last], kept, kept.astype(float), errors.astype(float), None)
    member = np.unique(rows.groups[order], return_inverse=True)[1]
    # The r-th row of a group adds 2 r - 1 to the sum of squared sizes.
    sort = np.argsort(member, kind="stable")
    starts = np.flatnonzero(np.append(True, member[sort][1:] != member[sort][:-1]))
    rank = np.empty(member.size)
    rank[sort] = np.arange(member.size) - np.repeat(starts, np.diff(np.append(starts, member.size)))
    mates = np.cumsum(2 * rank + 1)[last] / kept
    correlation = intraclass(wrong.astype(float), member)
    effect = 1 + (mates - 1) * correlation
    return Path(confidence[last], kept, kept / effect, errors / effect, correlation)


def intraclass(values: FloatArray, member: IntArray) -> float:
    """Intraclass correlation of rows (N,) in groups, plus one standard error; 1 where all rows are equal.

    One-way analysis of variance: rho = (B - W) / (B + (m0 - 1) W), with B and W the mean squares between and
    within groups and m0 = (N - sum n_g^2 / N) / (G - 1). Standard error for a mean size m0: sqrt(2) (1 - rho)
    (1 + (m0 - 1) rho) / sqrt(m0 (m0 - 1) (G - 1)) (Donner, International Statistical Review 1986).

    Example:
        >>> round(intraclass(np.array([1.0, 1.0, 0.0, 0.0] * 10), np.arange(40) // 2), 2)
        1.0
        >>> round(intraclass(np.array([1.0, 0.0] * 20), np.arange(40) // 2), 2)
        0.0
    """
    sizes = np.bincount(member)
    n, groups = values.size, sizes.size
    if groups < 2 or groups == n:
        return 1.0 if groups < n else 0.0
    sums = np.bincount(member, values)
    between = float((sums**2 / sizes).sum() - sums.sum() ** 2 / n) / (groups - 1)
    within = float((values**2).sum() - (sums**2 / sizes).sum()) / (n - groups)
    mean_size = (n - float((sizes.astype(float) ** 2).sum()) / n) / (groups - 1)
    whole = between + (mean_size - 1) * within
    if whole <= 0:
        return 1.0  # no row differs from another, and so nothing is known
    found = (between - within) / whole
    error = np.sqrt(2 / (mean_size * (mean_size - 1) * (groups - 1)))
    error *= (1 - found) * (1 + (mean_size - 1) * found)
    return float(np.clip(found + error, 0.0, 1.0))


def affordable(test: Test, risk: float, delta: float, most: float) -> FloatArray:
    """Rows from which on 0, 1, 2, ... errors pass the test, until there are more than ``most``; at least one.

    Example:
        >>> affordable(binomial_p_values, 0.1, 0.1, 100)[:4].tolist()
        [22.0, 38.0, 52.0, 65.0]
    """
    rungs = _rungs(test, risk, delta, int(np.ceil(np.log2(max(most, 2)))))
    return rungs[: max(1, int(np.searchsorted(rungs, most, side="right")))]


@lru_cache(maxsize=64)
def _rungs(test: Test, risk: float, delta: float, doublings: int) -> FloatArray:
    """The first ones, enough for 2^doublings rows."""
    errors = np.arange(np.ceil(2.0**doublings * risk) + 1)
    return _fewest(test, risk, delta, errors)


def _fewest(test: Test, risk: float, delta: float, errors: FloatArray) -> FloatArray:
    """Rows from which on so many errors pass, by bisection: more rows make it easier, more errors harder."""
    if len(errors) <= 2 * _STRIDE:
        low, high = errors.copy(), np.ceil(4 / risk * (errors + 1) * (1 + np.log(1 / delta)))
    else:  # between those of its neighbours of a coarser ladder
        coarse = np.append(errors[:-1:_STRIDE], errors[-1])
        known = _fewest(test, risk, delta, coarse)
        below = np.searchsorted(coarse, errors, side="right") - 1
        low, high = known[below] - 1, known[np.searchsorted(coarse, errors, side="left")]
    while (open_ := np.flatnonzero(high - low > 1)).size:
        middle = np.floor((low[open_] + high[open_]) / 2)
        enough = test(errors[open_], middle, risk) <= delta
        high[open_[enough]], low[open_[~enough]] = middle[enough], middle[~enough]
    return np.asarray(high)


def places_tested(
    path: Path, test: Test, risk: float, delta: float, start: float, most: float | None = None
) -> IntArray:
    """Places of the path that are tested, in order: chosen by counts of rows alone.

    Args:
        path: Of the rows.
        test: Its p-values.
        risk: Share of errors that is tested.
        delta: Level of each test.
        start: Share of the rows within which the first one lies, where it can pass there.
        most: Only those within so many rows; all where it is None.
    """
    whole = path.total[-1]
    rungs = affordable(test, risk, delta, whole if most is None else min(most, whole))
    first = max(0, int(np.searchsorted(rungs, start * whole, side="right")) - 1)
    places = np.searchsorted(path.total, rungs[first:], side="left")
    last = path.total.size - 1
    ends = [last] if most is None or most >= whole else []
    return np.unique(np.append(places[places <= last], ends)).astype(np.int64)


def passed(path: Path, test: Test, risk: float, delta: float, start: float) -> int:
    """Place of the last test that is passed before the first that is not; -1 if the first is not."""
    most = max(_FIRST, start * path.total[-1])
    while True:  # what lies behind the first test that is not passed is not looked at
        places = places_tested(path, test, risk, delta, start, most)
        rejected = test(path.errors[places], path.total[places], risk) <= delta
        run = int(np.argmin(np.append(rejected, False)))
        if run < len(places) or most >= path.total[-1]:
            return int(places[run - 1]) if run else -1
        most *= 2
