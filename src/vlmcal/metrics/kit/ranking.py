"""Rows ranked by confidence, once; statistics of the ranking as functions of row weights."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray


class Ranking:
    """Rows by rising confidence, with runs of equal confidence.

    Attributes:
        order: (N,) row at each rank.
        right: (N,) correctness by rank.
        ends: Last rank of each run of equal confidences; None when there are no ties.
    """

    def __init__(self, confidence: Any, correct: Any) -> None:
        values, verdicts = as_confidences(confidence, correct)
        self.order: IntArray = np.argsort(values)
        self.right: BoolArray = verdicts[self.order]
        ordered = values[self.order]
        last = np.flatnonzero(ordered[1:] != ordered[:-1])
        tied = len(last) + 1 < len(ordered)
        self.ends: IntArray | None = np.append(last, len(ordered) - 1) if tied else None

    def at_ends(self, cumulated: FloatArray) -> FloatArray:
        """A cumulative sum by rank, at the end of each run."""
        return cumulated if self.ends is None else cumulated[self.ends]

    def averaged(self, values: FloatArray) -> FloatArray:
        """Values by rank (N,), those of a run of equal confidences replaced by their mean."""
        if self.ends is None:
            return values
        length = np.diff(self.ends, prepend=-1)
        mean = np.add.reduceat(values, self.ends - length + 1) / length
        return np.repeat(mean, length)

    def middle(self, marked: BoolArray) -> FloatArray:
        """How many marked rows have a lower confidence, those of an equal one counting one half, (N,)."""
        up_to = np.cumsum(marked, dtype=np.float64)
        if self.ends is None:
            return up_to - 0.5 * marked
        length = np.diff(self.ends, prepend=-1)
        last = up_to[self.ends]
        return np.repeat((last + np.concatenate(([0.0], last[:-1]))) / 2, length)

    def from_top(self, weights: FloatArray, marked: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cumulative weight and marked weight from the most confident row down, (N,) each.

        Within a run of equal confidences the marked weight is spread evenly, which is its expectation over
        the order of the run.
        """
        taken = np.cumsum(weights[::-1])
        if self.ends is None:
            return taken, np.cumsum(marked[::-1])
        length = np.diff(self.ends, prepend=-1)[::-1]
        stop = np.cumsum(length) - 1
        mass, found = taken[stop], np.cumsum(marked[::-1])[stop]
        before = np.concatenate(([0.0], mass[:-1]))
        start = np.concatenate(([0.0], found[:-1]))
        inside = mass - before
        rate = np.divide(found - start, inside, out=np.zeros(len(length)), where=inside > 0)
        run = np.repeat(np.arange(len(length)), length)
        spread = start[run] + rate[run] * (taken - before[run])
        return taken, spread


_RANKED: dict[tuple[int, int], Ranking] = {}


def ranked(confidence: Any, correct: Any) -> Ranking:
    """The ranking of rows; of two arrays that cannot be written to it is made once while they live.

    Example:
        >>> values, right = np.array([0.9, 0.6]), np.array([True, False])
        >>> ranked(values, right) is ranked(values, right)
        False
        >>> for array in (values, right):
        ...     array.setflags(write=False)
        >>> ranked(values, right) is ranked(values, right)
        True
    """
    given = (confidence, correct)
    if not all(
        isinstance(a, np.ndarray) and a.flags.owndata and not a.flags.writeable for a in given
    ):
        return Ranking(confidence, correct)
    key = (id(confidence), id(correct))
    if key not in _RANKED:
        _RANKED[key] = Ranking(confidence, correct)
        for array in given:
            weakref.finalize(array, _RANKED.pop, key, None).atexit = False
    return _RANKED[key]


Influence = Callable[[Ranking], FloatArray]


class RankStatistic:
    """A statistic of a ranking; called with row weights, or with weights already in rank order.

    The bootstrap gathers the weights by ``order`` once for all statistics that share it.
    """

    def __init__(
        self,
        ranking: Ranking,
        by_rank: Callable[[Ranking, FloatArray], float],
        influence: Influence | None = None,
    ) -> None:
        self.order = ranking.order
        self._ranking = ranking
        self._by_rank = by_rank
        self._influence = influence

    def __call__(self, weights: FloatArray) -> float:
        """Value for weights in the order of the rows."""
        return self.by_rank(weights[self.order])

    def by_rank(self, weights: FloatArray) -> float:
        """Value for weights in the order of the ranks."""
        return self._by_rank(self._ranking, weights)

    def value(self) -> float:
        """The statistic of the rows as they are."""
        return self.by_rank(np.ones(len(self.order)))

    def influence(self) -> FloatArray | None:
        """Influence of each row, (N,): what the value changes by, to first order, per share of such rows.

        None where there is no such form.
        """
        if self._influence is None:
            return None
        result = np.empty(len(self.order))
        result[self.order] = self._influence(self._ranking)
        return result
