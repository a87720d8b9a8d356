"""Measures of many findings at once as functions of row weights, so that one resample serves all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlmcal.metrics.clinical.risks import LARGEST_LOG_ODDS
from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.binning import Binning

_STEPS, _LARGEST_STEP, _DONE = 100, 5.0, 1e-10


class PairStatistics:
    """Pairs of a probability and a truth, each of a row and of a part (a finding), sorted once.

    Everything is a sum over the pairs of a part, over runs of equal probability, or over bins, with the
    weight of the pair's row; the sums of parts and bins are one sparse product. Recalibration is a logistic
    regression whose solution at all rows is found once and moved by one Newton step for other weights.

    Args:
        probability: (M,) in [0, 1].
        present: (M,) bool.
        row: (M,) row of each pair, below ``rows``.
        part: (M,) part of each pair, 0 .. parts - 1; each part has at least one pair.
        rows: Number of rows N.
        weights: (N,) weights of the rows, or None for 1.
        binning: Bins of the ECE.
        resolution: Rounding unit of the probabilities.

    Example:
        >>> p, y = np.array([0.9, 0.4, 0.6, 0.2]), np.array([True, False, False, True])
        >>> at = np.arange(4)
        >>> found = PairStatistics(p, y, at, np.zeros(4, dtype=np.int64), rows=4)(np.ones(4))
        >>> found["auroc"].tolist(), found["brier"].round(4).tolist()
        ([0.5], [0.2925])
    """

    def __init__(
        self,
        probability: FloatArray,
        present: BoolArray,
        row: IntArray,
        part: IntArray,
        *,
        rows: int,
        weights: FloatArray | None = None,
        binning: Binning | None = None,
        resolution: float = 0.0,
    ) -> None:
        order = np.lexsort((probability, part))
        p, y, part = probability[order], present[order].astype(np.float64), part[order]
        self.row, self.y, self.part = row[order], y, part
        self.base = np.ones(len(p)) if weights is None else weights[self.row]
        self.starts = np.flatnonzero(np.diff(part, prepend=-1))
        runs = np.flatnonzero((np.diff(p, prepend=-1.0) != 0) | (np.diff(part, prepend=-1) != 0))
        self.runs = None if len(runs) == len(p) else runs
        self.part_of_run = part[runs]
        self.first_run = np.flatnonzero(np.diff(self.part_of_run, prepend=-1))
        with np.errstate(divide="ignore"):
            self.z = np.clip(np.log(p) - np.log1p(-p), -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
            loss = -np.log(np.where(y > 0, p, 1 - p))
        sure = np.isinf(loss)  # wrong with certainty
        self.shift = self._solve(slope=False)
        self.fit = self._solve(slope=True)
        terms = [
            np.ones_like(p), y, p, (p - y) ** 2, np.where(sure, 0.0, loss), sure * 1.0,
            *self._newton_terms(self.shift, slope=False)[:2], *self._newton_terms(self.fit, slope=True),
        ]  # fmt: skip
        self.sums = _summing(terms, part, self.row, self.base, len(self.starts), rows)
        bins = binning or Binning()
        index = [bins.index(p[part == at], resolution) for at in range(len(self.starts))]
        cell = part * bins.bins + np.concatenate(index)
        self.gaps = _summing([p - y], cell, self.row, self.base, len(self.starts) * bins.bins, rows)

    def __call__(self, weights: FloatArray) -> Mapping[str, FloatArray]:
        """Each measure (P,) of the parts, for weights (N,) of the rows."""
        parts = len(self.starts)
        total, cases, expected, squares, loss, sure, *newton = (self.sums @ weights).reshape(
            -1, parts
        )
        gaps = (self.gaps @ weights).reshape(parts, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share, brier = cases / total, squares / total
            chance = share * (1 - share)
            area, precision = self._ranked(weights[self.row] * self.base, total, cases)
            return {
                "cases": cases,
                "prevalence": share,
                "auroc": area,
                "average_precision": precision,
                "brier": brier,
                "brier_skill": np.where(chance > 0, 1 - brier / chance, np.nan),
                "nll": np.where(sure > 0, np.inf, loss / total),
                "ece": np.abs(gaps).sum(axis=1) / total,
                "mean_gap": expected / total - share,
                "oe": cases / expected,
                "intercept": self.shift[:, 0] + newton[1] / newton[0],
                "slope": self.fit[:, 1] + _newton_step(*newton[2:])[:, 1],
            }

    def _ranked(
        self, w: FloatArray, total: FloatArray, cases: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Area under the ROC curve (ties half) and average precision (ties together)."""
        weight, hits = w, w * self.y
        if self.runs is not None:
            weight, hits = np.add.reduceat(weight, self.runs), np.add.reduceat(hits, self.runs)
        below, hits_below = np.cumsum(weight) - weight, np.cumsum(hits) - hits
        below -= below[self.first_run][self.part_of_run]
        hits_below -= hits_below[self.first_run][self.part_of_run]
        won = hits * (below - hits_below + (weight - hits) / 2)
        area = np.add.reduceat(won, self.first_run) / (cases * (total - cases))
        from_top = (cases[self.part_of_run] - hits_below) / (total[self.part_of_run] - below)
        gained = np.where(hits > 0, hits * from_top, 0.0)
        return area, np.minimum(np.add.reduceat(gained, self.first_run) / cases, 1.0)

    def _newton_terms(self, beta: FloatArray, *, slope: bool) -> list[FloatArray]:
        """What a Newton step of logit P(y) on the log-odds sums over the pairs: curvatures, gradients."""
        offset = 0.0 if slope else self.z
        mu = special.expit(beta[self.part, 0] + beta[self.part, 1] * self.z + offset)
        v, rest = np.maximum(mu * (1 - mu), 1e-12), self.y - mu
        return [v, rest, v * self.z, v * self.z**2, rest * self.z]

    def _solve(self, *, slope: bool) -> FloatArray:
        """Intercept and slope (P, 2) by Newton's method; NaN where it does not settle (separable)."""
        beta = np.tile([0.0, float(slope)], (len(self.starts), 1))
        for _ in range(_STEPS):
            terms = self._newton_terms(beta, slope=slope)
            v, rest, *more = (np.add.reduceat(self.base * term, self.starts) for term in terms)
            with np.errstate(divide="ignore", invalid="ignore"):
                plain = np.stack([rest / v, np.zeros_like(v)], axis=1)
                step = _newton_step(v, rest, *more) if slope else plain
            if (np.abs(np.nan_to_num(step)) < _DONE).all():
                break
            beta = beta + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        beta[~(np.abs(step) < _DONE).all(axis=1)] = np.nan
        return beta


def _newton_step(
    a: FloatArray, g: FloatArray, b: FloatArray, d: FloatArray, h: FloatArray
) -> FloatArray:
    """(P, 2) steps: [[a, b], [b, d]]^-1 [g, h]."""
    step: FloatArray = np.stack([d * g - b * h, a * h - b * g], axis=1)
    step /= (a * d - b**2)[:, None]
    return step


def _summing(
    terms: list[FloatArray], part: IntArray, row: IntArray, base: FloatArray, parts: int, rows: int
) -> Any:
    """Sparse matrix (terms x parts, rows) whose product with row weights sums each term over each part."""
    from scipy.sparse import coo_array

    values = np.concatenate([np.nan_to_num(term) * base for term in terms])
    into = np.concatenate([part + at * parts for at in range(len(terms))])
    shape = (len(terms) * parts, rows)
    return coo_array((values, (into, np.tile(row, len(terms)))), shape=shape).tocsr()
