"""Near-isotonic averaging (ENIR): step curves from the outcomes to isotonic regression, weighted by BIC."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import xlogy

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, cells
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray

_NEGLIGIBLE = 18.0  # nats below the best: a share of 1.5e-8
_SAME = 1e-12  # relative: collisions of the path that happen at once


class Steps(NamedTuple):
    """A step curve: rows (B,), positive outcomes (B,), level (B,) of each block, and its first cell (B,)."""

    rows: FloatArray
    hits: FloatArray
    level: FloatArray
    first: IntArray

    def joined(self, starts: IntArray) -> "Steps":
        """Blocks joined from each of ``starts`` to the next; their levels are weighted means."""
        rows = np.add.reduceat(self.rows, starts)
        level = np.add.reduceat(self.rows * self.level, starts) / rows
        return Steps(rows, np.add.reduceat(self.hits, starts), level, self.first[starts])

    def some(self, blocks: IntArray | BoolArray) -> "Steps":
        """A copy of some of the blocks."""
        return Steps(self.rows[blocks], self.hits[blocks], self.level[blocks], self.first[blocks])

    def together(self) -> "Steps":
        """Neighbours of one level joined: they move as one from the start."""
        return self.joined(_starts(np.diff(self.level) == 0))


@CALIBRATORS.register("enir")
class NearIsotonic(ScalarCalibrator):
    r"""Weighted mean of all near-isotonic step curves, for each class.

    Near-isotonic regression allows falls and charges them: it minimises over levels b in the order of the
    scores

    .. math:: \tfrac12 \sum_i (y_i - b_i)^2 + \lambda \sum_i (b_i - b_{i+1})_+

    From lambda = 0 (the outcomes themselves) to isotonic regression the solution changes where blocks meet.
    Each of these curves but the first, which repeats the outcomes, has the weight ``exp(-BIC / 2)`` with
    BIC = -2 log-likelihood + blocks ln N (AIC: + 2 blocks). Steps lie half-way between neighbouring
    scores; equal scores stay together. Where scores order the rows well this is close to ``isotonic``, and
    it bends where they do not.

    Attributes:
        score: "bic" or "aic".

    Source: Naeini and Cooper, Binary classifier calibration using an ensemble of near isotonic regression
    models, ICDM 2016; path: Tibshirani, Hoefling and Tibshirani, Technometrics 53, 2011; oracle: the
    optimality conditions of every curve (netcal's path joins wrong blocks where three meet).

    Example:
        >>> p = np.array([0.1, 0.3, 0.6, 0.8])
        >>> val = np.stack([1 - p, p], axis=1)      # only isotonic regression is left on the path
        >>> curve = NearIsotonic().fit(val, [0, 1, 0, 1], scores="probs").curves_[0]
        >>> curve["edges"].round(2).tolist(), curve["values"].tolist()
        ([0.0, 0.2, 0.7, 1.0], [0.0, 0.5, 1.0])
    """

    levels: ClassVar[str] = "values"

    score: Literal["bic", "aic"] = "bic"

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        (curve,) = self._fit_each([(scores, outcomes)])
        return curve

    def _fit_each(self, rows: Iterable[tuple[FloatArray, BoolArray]]) -> Iterator[Curve]:
        # The paths are many short steps, which are taken for all classes at once.
        distinct: list[FloatArray] = []
        starts: list[Steps] = []
        prices: list[float] = []
        for scores, outcomes in rows:
            cell = cells(scores, outcomes)
            one = Steps(cell.rows, cell.hits, cell.hits / cell.rows, np.arange(cell.rows.size))
            distinct.append(cell.scores)
            starts.append(one.together())
            prices.append(2.0 if self.score == "aic" else float(np.log(scores.size)))
        levels = _averaged(starts, np.array(prices)) if starts else []
        for places, start, level in zip(distinct, starts, levels, strict=True):
            changes = start.first[1 + np.flatnonzero(np.diff(level))]
            inner = (places[changes - 1] + places[changes]) / 2
            kept = np.concatenate([[True], np.diff(level) != 0])
            yield {"edges": np.concatenate([[0.0], inner, [1.0]]), "values": level[kept]}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        values: FloatArray = curve["values"][np.searchsorted(curve["edges"][1:-1], scores)]
        return values


def near_isotonic_path(start: Steps) -> Iterator[Steps]:
    """Near-isotonic solutions in the order of rising lambda, from the outcomes to isotonic regression.

    Between two of them every level moves in a straight line: a block that is higher than the next falls,
    one that is lower than the previous rises, each by 1 / rows; neighbours that meet stay together.

    Args:
        start: One block per distinct score, with the share of positive outcomes as its level.

    Example:
        >>> y = np.array([1.0, 0.0, 0.0])
        >>> cells = Steps(np.ones(3), y, y, np.arange(3))
        >>> [steps.level.round(4).tolist() for steps in near_isotonic_path(cells)]
        [[1.0, 0.0], [0.3333]]
    """
    return (place.steps for place in _paths([start.together()]))


class _Place(NamedTuple):
    """Where the paths of several curves are: all blocks in a row, whose they are, where each begins."""

    steps: Steps
    curves: IntArray
    begin: IntArray


def _paths(starts: Sequence[Steps]) -> Iterator[_Place]:
    """Paths of several curves side by side, each at its own lambda; one that is isotonic drops out."""
    steps = Steps(*map(np.concatenate, zip(*starts, strict=True)))
    sizes = np.array([start.rows.size for start in starts])
    curves, begin = np.arange(sizes.size), np.cumsum(sizes) - sizes
    while True:
        yield _Place(steps, curves, begin)
        falls = np.zeros(steps.rows.size + 1)
        falls[1:-1] = steps.level[:-1] > steps.level[1:]
        falls[begin] = 0.0
        left = np.add.reduceat(falls[:-1], begin) > 0
        if not left.all():
            sizes = np.diff(begin, append=steps.rows.size)
            kept = np.repeat(left, sizes)
            steps = steps.some(kept)
            falls = np.append(falls[:-1][kept], 0.0)
            curves, sizes = curves[left], sizes[left]
            begin = np.cumsum(sizes) - sizes
            if not curves.size:
                return
        slope = (falls[:-1] - falls[1:]) / steps.rows
        closing = slope[:-1] - slope[1:]
        when = np.full(steps.rows.size, np.inf)
        np.divide(np.diff(steps.level), closing, out=when[:-1], where=closing != 0)
        when[begin[1:] - 1] = np.inf  # curves do not meet
        soonest = np.repeat(
            np.minimum.reduceat(when, begin), np.diff(begin, append=steps.rows.size)
        )
        slope *= soonest
        slope += steps.level
        moved = steps._replace(level=np.clip(slope, 0.0, 1.0, out=slope))
        soonest *= 1 + _SAME
        firsts = _starts(when[:-1] <= soonest[:-1])
        steps, begin = moved.joined(firsts), np.searchsorted(firsts, begin)


def _starts(with_previous: BoolArray) -> IntArray:
    return np.flatnonzero(np.concatenate([[True], ~with_previous])).astype(np.int64)


def _averaged(starts: Sequence[Steps], prices: FloatArray) -> list[FloatArray]:
    """Mean level of each block over the paths, weighted by exp(-(price blocks - 2 log-likelihood) / 2)."""
    best = np.full(len(starts), -np.inf)
    kept: list[list[tuple[float, Steps]]] = [[] for _ in starts]
    for place, (steps, curves, begin) in enumerate(_paths(starts)):
        likelihood = xlogy(steps.hits, steps.level)
        likelihood += xlogy(steps.rows - steps.hits, 1 - steps.level)
        sizes = np.diff(begin, append=steps.rows.size)
        weights = np.add.reduceat(likelihood, begin) - prices[curves] * sizes / 2
        if place == 1:
            best[curves] = -np.inf  # the first only repeats the outcomes
            kept = [[] if curve in curves else found for curve, found in enumerate(kept)]
        better = weights > best[curves]
        best[curves[better]] = weights[better]
        for at in np.flatnonzero(weights > best[curves] - _NEGLIGIBLE).tolist():
            curve = int(curves[at])
            own = np.arange(begin[at], begin[at] + sizes[at])
            near = [one for one in kept[curve] if one[0] > best[curve] - _NEGLIGIBLE]
            kept[curve] = [*near, (float(weights[at]), steps.some(own))]
    return [_mean(*found) for found in zip(starts, kept, best.tolist(), strict=True)]


def _mean(start: Steps, kept: Sequence[tuple[float, Steps]], best: float) -> FloatArray:
    total, shares = np.zeros(start.rows.size), 0.0
    for weight, steps in kept:
        share = np.exp(weight - best)
        places = np.searchsorted(start.first, steps.first)
        total += share * np.repeat(steps.level, np.diff(places, append=start.rows.size))
        shares += share
    return total / shares
