"""Bayesian binning into quantiles: an average of many histograms, weighted by their evidence."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.binning import (
    OldStrategy,
    Strategy,
    fitted_edges,
    index_between,
    snapped,
    strategy_named,
)

Score = Literal["bdeu", "bic", "aic"]
# Hundreds of bins lie closer together than the tolerance of evenly spaced edges allows for.
_FINE: Strategy = "quantile"
_NEGLIGIBLE = 1e-8  # relative weight below which a histogram is dropped
_LOWEST_LOG = -100.0  # log-likelihood of a certain mistake, so that BIC and AIC stay finite


class _Model(NamedTuple):
    edges: FloatArray
    values: FloatArray
    log_weight: float


@CALIBRATORS.register("bbq")
@dataclass
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
    elbow: float | None = None
    single: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule: Strategy = strategy_named(self.strategy)

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        hits = np.concatenate([[0.0], np.cumsum(outcomes[order], dtype=np.float64)])
        models = [self._model(ordered, hits, bins) for bins in _bin_counts(scores.size)]
        if self.single and self.score != "bdeu":
            models = [self._rounded(model, scores, outcomes) for model in models]
        log_weights = np.array([model.log_weight for model in models])
        weights = np.exp(log_weights - log_weights.max())
        kept = _kept(weights, self.elbow)
        return {
            "edges": [models[i].edges for i in kept],
            "values": [models[i].values for i in kept],
            "weights": weights[kept] / weights[kept].sum(),
        }

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        total = np.zeros_like(scores)
        for edges, values, weight in zip(
            curve["edges"], curve["values"], curve["weights"], strict=True
        ):
            total += weight * values[index_between(scores, edges, _FINE)]
        return np.clip(total, 0.0, 1.0)

    def _model(self, ordered: FloatArray, hits: FloatArray, bins: int) -> _Model:
        edges = fitted_edges(ordered, bins, self.rule, ordered=True)
        # Because scores are sorted, counting is a matter of where the edges fall.
        index = np.searchsorted(snapped(ordered, _FINE), edges[1:-1], side="right")
        cuts = np.concatenate([[0], index, [ordered.size]])
        count, positive = np.diff(cuts).astype(np.float64), np.diff(hits[cuts])
        centres = (edges[1:] + edges[:-1]) / 2
        if self.score == "bdeu":
            strength = 2.0 / count.size
            ones, zeros = strength * centres, strength * (1 - centres)
            evidence = betaln(positive + ones, count - positive + zeros) - betaln(ones, zeros)
            values = (positive + ones) / (count + strength)
            return _Model(edges, values, float(evidence.sum()))
        values = np.where(count > 0, positive / np.maximum(count, 1), centres)
        with np.errstate(divide="ignore"):
            log_one = np.maximum(np.log(values), _LOWEST_LOG)
            log_zero = np.maximum(np.log1p(-values), _LOWEST_LOG)
        likelihood = float((positive * log_one + (count - positive) * log_zero).sum())
        return _Model(edges, values, likelihood - self._price(bins, ordered.size))

    def _price(self, bins: int, n: int) -> float:
        return float(bins) if self.score == "aic" else float(0.5 * bins * np.log(n))

    def _rounded(self, model: _Model, scores: FloatArray, outcomes: BoolArray) -> _Model:
        values = (
            model.values[index_between(scores, model.edges, _FINE)]
            .astype(np.float32)
            .astype(np.float64)
        )
        with np.errstate(divide="ignore"):
            logs = np.where(outcomes, np.log(values), np.log1p(-values))
        loss = _sum_in_lanes(-np.maximum(logs, _LOWEST_LOG).astype(np.float32))
        price = self._price(model.values.size, scores.size)
        return model._replace(log_weight=-loss - price)


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
