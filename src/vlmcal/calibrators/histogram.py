"""Histogram binning: the observed frequency of each bin replaces the probability."""

from typing import ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.binning import (
    OldStrategy,
    Strategy,
    check_bins,
    fitted_edges,
    index_between,
    strategy_named,
)


@CALIBRATORS.register("histogram")
class Histogram(ScalarCalibrator):
    """Share of positive outcomes in each bin (lo, hi] of the predicted probability, for each class.

    An empty bin keeps its centre. Edges are those of the metrics; quantile edges are quantiles of the fitting
    scores; tied scores stay together, so stated confidences with few distinct values get no more bins than
    that.

    Attributes:
        bins: Number of bins.
        strategy: "uniform" or "quantile" (also by their old names "equal_width" and "equal_mass").

    Source: Zadrozny and Elkan, ICML 2001; as in Guo et al., ICML 2017, arXiv 1706.04599.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> Histogram(bins=2).fit(val).curves_[0]["values"].tolist()
        [0.25, 0.75]
    """

    levels: ClassVar[str] = "values"

    bins: int = 15
    strategy: Strategy | OldStrategy = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bins(self.bins)
        self.rule: Strategy = strategy_named(self.strategy)

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        edges = fitted_edges(scores, self.bins, self.rule)
        index = index_between(scores, edges, self.rule)
        count = np.bincount(index, minlength=edges.size - 1)
        hits = np.bincount(index, weights=outcomes, minlength=edges.size - 1)
        centres = (edges[1:] + edges[:-1]) / 2
        return {"edges": edges, "values": np.where(count > 0, hits / np.maximum(count, 1), centres)}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        return np.asarray(curve["values"][index_between(scores, curve["edges"], self.rule)])
