"""Near-isotonic averaging (ENIR): step curves from the outcomes to isotonic regression, weighted by BIC."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import xlogy

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator
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


@CALIBRATORS.register("enir")
@dataclass
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
        distinct, cell = np.unique(scores, return_inverse=True)
        count = np.bincount(cell).astype(np.float64)
        hits = np.bincount(cell, weights=outcomes).astype(np.float64)
        start = Steps(count, hits, hits / count, np.arange(count.size))
        price = 2.0 if self.score == "aic" else float(np.log(scores.size))
        level = _averaged(start, price)
        changes = 1 + np.flatnonzero(np.diff(level))
        inner = (distinct[changes - 1] + distinct[changes]) / 2
        return {
            "edges": np.concatenate([[0.0], inner, [1.0]]),
            "values": level[np.concatenate([[0], changes])],
        }

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
    # equal neighbours move as one from the start
    steps = start.joined(_starts(np.diff(start.level) == 0))
    yield steps
    while True:
        falls = np.concatenate([[0.0], steps.level[:-1] > steps.level[1:], [0.0]])
        if not falls.any():
            return
        slope = (falls[:-1] - falls[1:]) / steps.rows
        closing = slope[:-1] - slope[1:]
        gap = np.diff(steps.level)
        when = np.divide(gap, closing, out=np.full(gap.size, np.inf), where=closing != 0)
        soonest = float(when.min())
        moved = steps._replace(level=np.clip(steps.level + slope * soonest, 0.0, 1.0))
        steps = moved.joined(_starts(when <= soonest * (1 + _SAME)))
        yield steps


def _starts(with_previous: BoolArray) -> IntArray:
    return np.flatnonzero(np.concatenate([[True], ~with_previous])).astype(np.int64)


def _averaged(start: Steps, price: float) -> FloatArray:
    """Mean level of each cell over the path, weighted by exp(-(price blocks - 2 log-likelihood) / 2)."""
    best, kept = -np.inf, list[tuple[float, Steps]]()
    for place, steps in enumerate(near_isotonic_path(start)):
        likelihood = xlogy(steps.hits, steps.level)
        likelihood += xlogy(steps.rows - steps.hits, 1 - steps.level)
        weight = float(likelihood.sum()) - price * steps.level.size / 2
        if place == 1:
            best, kept = -np.inf, []  # the first only repeats the outcomes
        if weight > best:
            best = weight
            kept = [one for one in kept if one[0] > best - _NEGLIGIBLE]
        if weight > best - _NEGLIGIBLE:
            kept.append((weight, steps))
    total, shares = np.zeros(start.rows.size), 0.0
    for weight, steps in kept:
        share = np.exp(weight - best)
        lengths = np.diff(steps.first, append=start.rows.size)
        total += share * np.repeat(steps.level, lengths)
        shares += share
    return total / shares
