"""Of the past answers that are most like one, which share was right."""

from collections.abc import Iterator

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
    units = rows.ids if rows.groups is None else rows.groups
    member = np.unique(units, return_inverse=True)[1]
    kinds = np.zeros(len(rows)) if rows.kinds is None else rows.kinds
    found: list[Estimate] = [Estimate(float("nan"))] * len(rows)
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        order = places[np.argsort(rows.confidence[places], kind="stable")]
        for rank, near in enumerate(_nearest(rows.confidence[order], member[order], neighbours)):
            if near.size:
                chosen = order[near]
                found[order[rank]] = infer_proportion(
                    rows.correct[chosen], level=level, groups=member[chosen]
                )
    return tuple(found)


def _nearest(confidence: FloatArray, member: IntArray, count: int) -> Iterator[IntArray]:
    """For each place of the sorted confidences: the nearest places of other groups."""
    sizes = np.bincount(member)
    for rank, own in enumerate(confidence):
        # Even if the whole own group lies inside, so wide a window holds enough others.
        reach = count + int(sizes[member[rank]])
        window = slice(max(0, rank - reach), rank + reach + 1)
        others = member[window] != member[rank]
        distance = np.sort(np.abs(confidence[window] - own)[others])
        farthest = (distance[count - 1] if distance.size >= count else np.inf) + 1e-12
        start = np.searchsorted(confidence, own - farthest, side="left")
        stop = np.searchsorted(confidence, own + farthest, side="right")
        inside = np.arange(start, stop)
        yield inside[member[inside] != member[rank]]


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
    return tuple(_similar_past(new, past, i, level) for i in range(len(new)))


def _similar_past(new: Confidences, past: Confidences, place: int, level: float) -> Estimate:
    """Share of right ones among the past answers of the same kind that are nearest to one new row."""
    distance = np.abs(past.confidence - new.confidence[place])
    if new.kinds is not None and past.kinds is not None:
        same = past.kinds == new.kinds[place]
        distance = np.where(same | ~same.any(), distance, np.inf)
    reach = np.sort(distance)[:NEIGHBOURS]
    near = distance <= reach[np.isfinite(reach)].max() + 1e-12
    units = past.ids if past.groups is None else past.groups
    return infer_proportion(past.correct[near], level=level, groups=units[near])


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
