"""Scaling-binning: a fitted curve, replaced by its mean in bins of equal mass."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
from scipy.special import log_expit, logsumexp

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.platt import Platt
from vlmcal.calibrators.scalar import Curve
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.binning import check_bins

_UNDERFLOW = 1e-290


@CALIBRATORS.register("scaling_binning")
class ScalingBinning(Platt):
    """Platt scaling g of each class, then ``p' = mean of g over the fitting rows of the same bin``.

    Bins hold equal numbers of fitting rows by g, equal scores together. The values vary less than those of
    a histogram, which averages 0/1 outcomes, and as there are few of them the calibration error can be
    measured without bias, which that of ``platt`` cannot. The proof gives each of the three steps
    rows of its own; the authors' package, like this, uses all rows for all of them.

    Attributes:
        bins: Number of bins.
        smooth: Platt's smoothed targets; False is maximum likelihood, as in the authors' package.

    Source: Kumar, Liang and Ma, Verified uncertainty calibration, NeurIPS 2019, arXiv 1909.10155; oracle:
    ``PlattBinnerMarginalCalibrator`` of uncertainty-calibration, whose rows are not normalised.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> fitted = ScalingBinning(bins=1, smooth=False).fit(val)      # one bin: the share of class 1
        >>> fitted.predict_proba([[0.0, 3.0]]).round(6).tolist()
        [[0.5, 0.5]]
    """

    nested: ClassVar[bool] = False

    bins: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bins(self.bins)

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        curve = super()._fit_curve(scores, outcomes)
        ordered = np.sort(super()._apply_curve(curve, scores))
        parts = np.array_split(ordered, min(self.bins, ordered.size))
        cuts = np.unique([(low[-1] + high[0]) / 2 for low, high in pairwise(parts)])
        index = np.searchsorted(cuts, ordered)
        # cuts between equal scores leave a bin without rows
        first = np.flatnonzero(np.diff(index, prepend=-1))
        return curve | {
            "edges": np.concatenate([ordered[:1], cuts[index[first[:-1]]], ordered[-1:]]),
            "values": _mean_log_odds(ordered, first),
        }

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        scaled = super()._apply_curve(curve, scores)
        values: FloatArray = curve["values"][np.searchsorted(curve["edges"][1:-1], scaled)]
        return values


def _mean_log_odds(log_odds: FloatArray, first: IntArray) -> FloatArray:
    """Log-odds of the mean probability of each part, without losing it near 0 and 1.

    Args:
        log_odds: (N,).
        first: Where each part begins, (B,).
    """
    tail = np.exp(-np.abs(log_odds))
    larger = 1.0 / (1.0 + tail)
    tail *= larger
    above = log_odds >= 0
    ones = np.add.reduceat(np.where(above, larger, tail), first)
    zeros = np.add.reduceat(np.where(above, tail, larger), first)
    if min(ones.min(), zeros.min()) > _UNDERFLOW:
        found: FloatArray = np.log(ones) - np.log(zeros)
        return found
    parts = np.split(log_odds, first[1:])
    exact = [logsumexp(log_expit(part)) - logsumexp(log_expit(-part)) for part in parts]
    return np.array(exact)
