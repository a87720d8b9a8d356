"""Bayesian binning into quantiles: an average of many histograms, weighted by their evidence."""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, in_order, places
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.binning import (
    OldStrategy,
    Strategy,
    fitted_edges,
    index_between,
    snapped,
    strategy_named,
)
from vlmcal.types.limits import NotNegative

Score = Literal["bdeu", "bic", "aic"]
# Hundreds of bins lie closer together than the tolerance of evenly spaced edges allows for.
_FINE: Strategy = "quantile"
_BLOCK = 1 << 13  # numbers that stay in a core's cache
_NEGLIGIBLE = 1e-8  # relative weight below which a histogram is dropped
_LOWEST_LOG = -100.0  # log-likelihood of a certain mistake, so that BIC and AIC stay finite


class _Histograms(NamedTuple):
    """Histograms of all numbers of bins in a row: edges, values, and of each its place, bins and weight."""

    edges: FloatArray
    values: FloatArray
    begin: IntArray
    sizes: IntArray
    log_weights: FloatArray

    def of(self, i: int) -> tuple[FloatArray, FloatArray]:
        """The edges (B + 1,) and the values (B,) of one of them."""
        at, size = self.begin[i], self.sizes[i]
        return self.edges[at + i : at + i + size + 1].copy(), self.values[at : at + size].copy()


@CALIBRATORS.register("bbq")
class BBQ(ScalarCalibrator):
    """Weighted mean of histogram binnings with B = n^(1/3)/10 ... 10 n^(1/3) bins, for each class.

    "bdeu" is the paper's: each bin has a beta prior centred on its middle (total strength 2 over all bins),
    the weight is the marginal likelihood and a bin's value its posterior mean. "bic" and "aic" weight
    plain histograms by ``exp(-criterion / 2)``.

    Attributes:
        score: "bdeu", "bic" or "aic".
        strategy: "quantile" as in the paper, or "uniform" (netcal's default).
        elbow: Keep only the best histograms, up to the first gap between consecutive weights that is
            below this share of the variance of all weights (netcal: 0.001); None keeps all.
        single: Add up the log-likelihood in single precision and in netcal's order. Only to reproduce its
            numbers: the rounding moves the weights in the fifth digit.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning,
    AAAI 2015.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> len(BBQ(score="bic").fit(val).curves_[0]["weights"])
        2
    """

    score: Score = "bdeu"
    strategy: Strategy | OldStrategy = "quantile"
    elbow: NotNegative | None = None
    single: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule: Strategy = strategy_named(self.strategy)

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        # equal scores fall into one bin, so their order is of no account
        ordered, positive = in_order(scores, outcomes)
        hits = np.concatenate([[0.0], np.cumsum(positive, dtype=np.float64)])
        found = self._histograms(ordered, hits)
        log_weights = found.log_weights
        if self.single and self.score != "bdeu":
            rounded = [
                self._rounded(*found.of(i), scores, outcomes) for i in range(len(log_weights))
            ]
            log_weights = np.array(rounded)
        weights = np.exp(log_weights - log_weights.max())
        kept = _kept(weights, self.elbow)
        edges, values = zip(*(found.of(i) for i in kept.tolist()), strict=True)
        return {
            "edges": list(edges),
            "values": list(values),
            "weights": weights[kept] / weights[kept].sum(),
        }

    def any_order(self) -> bool:
        """Whether the rows of a fit may be put in order: not where sums follow netcal's order."""
        return not self.single

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        # The sum is one step function: it changes at every edge by the weighted change of that histogram.
        edges = np.concatenate([inner[1:-1] for inner in curve["edges"]])
        weighted = zip(curve["values"], curve["weights"], strict=True)
        changes = np.concatenate([weight * np.diff(values) for values, weight in weighted])
        first = sum(
            weight * values[0]
            for values, weight in zip(curve["values"], curve["weights"], strict=True)
        )
        order = np.argsort(edges, kind="stable")
        levels = np.concatenate([[0.0], np.cumsum(changes[order])]) + first
        place = places(edges[order], snapped(scores, _FINE), "left")
        total: FloatArray = levels[place]
        return np.clip(total, 0.0, 1.0)

    def _histograms(self, ordered: FloatArray, hits: FloatArray) -> _Histograms:
        """All histograms of sorted scores; what does not depend on the number of bins is made once."""
        counts = _bin_counts(ordered.size)
        edges, cuts, sizes = _all_edges(ordered, counts, self.rule)
        ends = np.cumsum(sizes + 1)
        bins = np.delete(np.arange(edges.size - 1), ends[:-1] - 1)
        count = np.diff(cuts)[bins].astype(np.float64)
        positive = np.diff(hits[cuts])[bins]
        centres = ((edges[1:] + edges[:-1]) / 2)[bins]
        at = np.cumsum(sizes) - sizes
        if self.score == "bdeu":
            alike = 2.0 / sizes
            strength = np.repeat(alike, sizes)
            ones, zeros = strength * centres, strength * (1 - centres)
            # log B(positive + ones, negative + zeros) - log B(ones, zeros), B the beta function
            evidence = _log_rising(ones, positive) + _log_rising(zeros, count - positive)
            evidence -= _of_few(alike, sizes, count)
            values = (positive + ones) / (count + strength)
            log_weights = np.add.reduceat(evidence, at)
        else:
            values = np.where(count > 0, positive / np.maximum(count, 1), centres)
            with np.errstate(divide="ignore"):
                log_one = np.maximum(np.log(values), _LOWEST_LOG)
                log_zero = np.maximum(np.log1p(-values), _LOWEST_LOG)
            likelihood = np.add.reduceat(positive * log_one + (count - positive) * log_zero, at)
            prices = [self._price(bins, ordered.size) for bins in counts]
            log_weights = likelihood - np.array(prices)
        return _Histograms(edges, values, at, sizes, log_weights)

    def _price(self, bins: int, n: int) -> float:
        return float(bins) if self.score == "aic" else float(0.5 * bins * np.log(n))

    def _rounded(
        self, edges: FloatArray, values: FloatArray, scores: FloatArray, outcomes: BoolArray
    ) -> float:
        """The weight of a histogram from a sum in single precision."""
        of_rows = values[index_between(scores, edges, _FINE)].astype(np.float32).astype(np.float64)
        with np.errstate(divide="ignore"):
            logs = np.where(outcomes, np.log(of_rows), np.log1p(-of_rows))
        loss = _sum_in_lanes(-np.maximum(logs, _LOWEST_LOG).astype(np.float32))
        return -loss - self._price(values.size, scores.size)


def _all_edges(
    ordered: FloatArray, counts: range, rule: Strategy
) -> tuple[FloatArray, IntArray, IntArray]:
    """:func:`fitted_edges` of sorted scores for each number of bins, in a row.

    With them, how many rows lie at or below each edge, and how many bins each histogram has.
    """
    n, moved = ordered.size, snapped(ordered, _FINE)
    if rule == "uniform":
        found = [fitted_edges(ordered, bins, rule, ordered=True) for bins in counts]
        edges = np.concatenate(found)
        sizes = np.array([one.size - 1 for one in found])
        # Because scores are sorted, counting is a matter of where the edges fall.
        below = np.searchsorted(moved, edges, side="right")
    else:
        model, low, share = _places(n, counts)
        high = np.minimum(low + 1, n - 1)
        inner = ordered[low] + share * (ordered[high] - ordered[low])
        kept = (inner > 0) & (inner < 1)
        kept[1:] &= (inner[1:] > inner[:-1]) | (model[1:] != model[:-1])
        sizes = np.bincount(model[kept], minlength=len(counts)) + 1
        edges, below = np.empty((sizes + 1).sum()), np.empty((sizes + 1).sum(), dtype=np.int64)
        inside = np.ones(edges.size, dtype=np.bool_)
        inside[np.cumsum(sizes + 1) - 1] = inside[np.cumsum(sizes + 1) - sizes - 1] = False
        inner, cut = inner[kept], low[kept] + 1
        # The rows up to the one before an edge lie below it, and more of them only where scores are equal.
        more = np.flatnonzero(moved[np.minimum(cut, n - 1)] <= inner)
        cut[more] = np.searchsorted(moved, inner[more], side="right")
        edges[inside], below[inside] = inner, cut
    ends = np.cumsum(sizes + 1)
    edges[ends - sizes - 1], edges[ends - 1] = 0.0, 1.0
    below[ends - sizes - 1], below[ends - 1] = 0, n
    return edges, below, sizes


@lru_cache(maxsize=2)
def _places(n: int, counts: range) -> tuple[IntArray, IntArray, FloatArray]:
    """Of every inner edge: which histogram, the row before it, and how far it is from there to the next."""
    model = np.repeat(np.arange(len(counts)), np.array(counts) - 1)
    place = np.concatenate([np.linspace(0.0, 1.0, bins + 1)[1:-1] for bins in counts]) * (n - 1)
    low = place.astype(np.int64)
    return model, low, place - low


def _of_few(start: FloatArray, sizes: IntArray, steps: FloatArray) -> FloatArray:
    """:func:`_log_rising` where ``sizes`` neighbours have one start, and nearly the same number of steps."""
    at = np.cumsum(sizes) - sizes
    least = np.minimum.reduceat(steps, at)
    spans = (np.maximum.reduceat(steps, at) - least).astype(np.int64) + 1
    begin = np.cumsum(spans) - spans
    if spans.sum() >= steps.size:
        return _log_rising(np.repeat(start, sizes), steps)
    different = np.repeat(least - begin, spans) + np.arange(spans.sum())
    found = _log_rising(np.repeat(start, spans), different)
    place: IntArray = (steps + np.repeat(begin - least, sizes)).astype(np.int64)
    return found[place]


def _log_rising(start: FloatArray, steps: FloatArray) -> FloatArray:
    """Log Gamma(start + steps) - log Gamma(start) for start > 0 and whole steps >= 0, (M,).

    By Stirling's series eight further on; many times quicker than a general log Gamma.

    Example:
        >>> _log_rising(np.array([0.5, 3.0]), np.array([2.0, 0.0])).round(6).tolist()   # log(0.5 * 1.5)
        [-0.287682, 0.0]
    """
    result = np.zeros(start.size)
    moved = np.flatnonzero(steps)
    for at in range(0, moved.size, _BLOCK):
        place = moved[at : at + _BLOCK]
        low = start[place]
        high = low + steps[place]
        ahead = np.log(_eight(high) / _eight(low))
        result[place] = _stirling(high + 8.0) - _stirling(low + 8.0) - ahead
    return result


def _eight(x: FloatArray) -> FloatArray:
    """The product x (x + 1) ... (x + 7)."""
    pair = x * (x + 7.0)
    product = pair + 6.0
    product *= pair
    for more in (10.0, 12.0):
        product *= pair + more
    return product


def _stirling(x: FloatArray) -> FloatArray:
    """Log Gamma(x) for x >= 8, but for a constant."""
    inverse = 1.0 / x
    square = inverse * inverse
    series = np.full_like(x, 1 / 1188)
    for term in (-1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        series *= square
        series += term
    series *= inverse
    series -= x
    logs = np.log(x)
    logs *= x - 0.5
    logs += series
    return logs


def _sum_in_lanes(values: NDArray[np.float32]) -> float:
    """Single-precision sum as vectorised code makes it: 4 x 8 running sums, then these, then the rest."""
    block = values.size // 32
    lanes = values[: 32 * block].reshape(block, 4, 8).sum(axis=0, dtype=np.float32)
    whole = values.size // 8
    for start in range(4 * block, whole):
        lanes[0] += values[8 * start : 8 * start + 8]
    total = np.float32(0.0)
    for value in [*values[8 * whole :], *(lanes[0] + lanes[1] + lanes[2] + lanes[3])]:
        total = np.float32(total + value)
    return float(total)


def _bin_counts(n: int) -> range:
    root = n ** (1 / 3)
    smallest = max(1, int(root / 10))
    return range(smallest, max(smallest, int(min(np.ceil(n / 5), np.ceil(10 * root)))) + 1)


def _kept(weights: FloatArray, elbow: float | None) -> IntArray:
    order = np.argsort(weights)[::-1]
    ordered = weights[order]
    if elbow is None:
        return np.asarray(order[ordered > _NEGLIGIBLE], dtype=np.int64)
    variance = float(np.var(weights))
    k = 0
    while k < weights.size - 1 and ordered[k] == ordered[k + 1]:
        k += 1
    while k < weights.size - 1 and (ordered[k] - ordered[k + 1]) / variance > elbow:
        k += 1
    return np.asarray(order[: k + 1], dtype=np.int64)
