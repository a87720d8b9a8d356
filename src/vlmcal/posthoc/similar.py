"""Of the past answers that are most like one, which share was right."""

import numpy as np

from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

NEIGHBOURS = 50


def similar_right(
    rows: Confidences, *, neighbours: int = NEIGHBOURS, level: float = 0.95
) -> tuple[Estimate, ...]:
    """Of the answers of other groups with the nearest confidence, which share was right.

    Answers as near as the last of the neighbours count, too, so ties do not depend on the order of rows.

    Args:
        rows: With groups; kinds, where there are any, are compared only with their own.
        neighbours: How many, at least.
        level: Of the Wilson intervals.

    Example:
        >>> rows = Confidences(confidence=[0.9, 0.9, 0.9, 0.1], correct=[True, True, False, False])
        >>> [round(e.value, 2) for e in similar_right(rows, neighbours=2)]
        [0.5, 0.5, 1.0, 0.67]
    """
    member = np.unique(rows.units, return_inverse=True)[1]
    kinds = np.zeros(len(rows)) if rows.kinds is None else rows.kinds
    found: list[Estimate] = [Estimate(float("nan"))] * len(rows)
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        order = places[np.argsort(rows.confidence[places], kind="stable")]
        inside = _Sorted(rows.confidence[order], rows.correct[order], member[order])
        for rank, place in enumerate(order.tolist()):
            found[place] = inside.like(rank, neighbours, level)
    return tuple(found)


class _Sorted:
    """Answers by rising confidence; each share is computed once for all rows that it is the same for."""

    def __init__(self, confidence: FloatArray, right: BoolArray, member: IntArray) -> None:
        self.confidence, self.right, self.member = confidence, right, member
        groups, self.group = np.unique(member, return_inverse=True)
        self.sizes = np.bincount(self.group, minlength=groups.size)
        self.ranks = np.argsort(self.group, kind="stable")
        self.first = np.cumsum(self.sizes) - self.sizes
        self.known: dict[tuple[int, int, int, int], Estimate] = {}

    def like(self, rank: int, count: int, level: float) -> Estimate:
        """Share of right ones among the nearest answers of other groups."""
        start, stop = self._window(rank, count)
        group = self.group[rank]
        ranks = self.ranks[self.first[group] : self.first[group] + self.sizes[group]]
        own = ranks[np.searchsorted(ranks, start) : np.searchsorted(ranks, stop)]
        # The others are what is left of the window, so this much of the own group tells all.
        key = (start, stop, own.size, int(self.right[own].sum()))
        if key not in self.known:
            near = np.arange(start, stop)
            near = near[self.group[near] != group]
            self.known[key] = (
                infer_proportion(self.right[near], level=level, groups=self.member[near])
                if near.size
                else Estimate(float("nan"))
            )
        return self.known[key]

    def _window(self, rank: int, count: int) -> tuple[int, int]:
        own = self.confidence[rank]
        # Even if the whole own group lies inside, so wide a window holds enough others.
        reach = count + int(self.sizes[self.group[rank]])
        window = slice(max(0, rank - reach), rank + reach + 1)
        others = self.group[window] != self.group[rank]
        distance = np.sort(np.abs(self.confidence[window] - own)[others])
        farthest = (distance[count - 1] if distance.size >= count else np.inf) + 1e-12
        start = np.searchsorted(self.confidence, own - farthest, side="left")
        stop = np.searchsorted(self.confidence, own + farthest, side="right")
        return int(start), int(stop)


def similar_past(
    new: Confidences, past: Confidences, *, level: float = 0.95
) -> tuple[Estimate, ...]:
    """The same for new rows among past ones, of any kind where no past row has the kind of the new one.

    Args:
        new: Verdicts are not read.
        past: With verdicts and groups.
        level: Of the Wilson intervals.

    Example:
        >>> past = Confidences(confidence=[0.9, 0.9], correct=[True, False])
        >>> similar_past(Confidences(confidence=[0.8], correct=[True]), past)[0].value
        0.5
    """
    known: dict[tuple[float, str], Estimate] = {}
    found = []
    for place, confidence in enumerate(new.confidence.tolist()):
        key = (confidence, "" if new.kinds is None else str(new.kinds[place]))
        if key not in known:
            known[key] = _similar_past(new, past, place, level)
        found.append(known[key])
    return tuple(found)


def _similar_past(new: Confidences, past: Confidences, place: int, level: float) -> Estimate:
    """Share of right ones among the past answers of the same kind that are nearest to one new row."""
    distance = np.abs(past.confidence - new.confidence[place])
    if new.kinds is not None and past.kinds is not None:
        same = past.kinds == new.kinds[place]
        distance = np.where(same | ~same.any(), distance, np.inf)
    reach = np.sort(distance)[:NEIGHBOURS]
    near = distance <= reach[np.isfinite(reach)].max() + 1e-12
    return infer_proportion(past.correct[near], level=level, groups=past.units[near])


def agreed(probability: FloatArray, similar: tuple[Estimate, ...]) -> tuple[FloatArray, BoolArray]:
    """Probabilities drawn to the nearer end of the interval of the similar answers where they lie outside.

    A card shows both, and they are about the same: an answer of 84 % whose like were right in 64 %, with
    interval 50 to 76 %, is told as 76 %. The similar answers are evidence that the map, a smooth curve, did
    not follow.

    Args:
        probability: (N,) of the map.
        similar: Of :func:`similar_right` or :func:`similar_past`.

    Returns:
        Probabilities (N,), and which of them were drawn.

    Example:
        >>> drawn, which = agreed(np.array([0.84, 0.7]), (Estimate(0.64, 0.5, 0.76),) * 2)
        >>> drawn.tolist(), which.tolist()
        ([0.76, 0.7], [True, False])
    """
    low = np.array([0.0 if e.low is None or np.isnan(e.low) else e.low for e in similar])
    high = np.array([1.0 if e.high is None or np.isnan(e.high) else e.high for e in similar])
    drawn = np.clip(probability, low, high) if len(similar) else probability
    return drawn, drawn != probability
