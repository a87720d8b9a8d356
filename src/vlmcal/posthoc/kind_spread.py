"""How far the answers of one kind may be off the map of all kinds."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from vlmcal.metrics.kit.proportions import design_effect
from vlmcal.posthoc.kind_maps import kind_places
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.confidences import Confidences

# Kinds are taken to differ by this standard deviation of log-odds at least, however alike they look:
# with few rows of a kind nothing else says how far off it may be.
LEAST_SPREAD = 1.0
_STEPS = 12


class Shift(NamedTuple):
    """Of log-odds, one entry per row (N,): the posterior mean and standard deviation of its kind's shift."""

    mean: FloatArray
    deviation: FloatArray


def kind_shift(past: Confidences, new: Confidences | None = None) -> Shift:
    r"""Posterior of the shift of each row's kind against its calibrated probability, in log-odds.

    The shift :math:`\delta` of a kind maximises its log-likelihood under
    :math:`\operatorname{logit} p_i + \delta`, over the design effect d of its groups, plus the log-density of
    N(0, :math:`\tau^2`); its variance is the inverse curvature there, :math:`1 / (I / d + 1 / \tau^2)` with
    :math:`I = \sum_i p_i (1 - p_i)`. Between kinds, :math:`\tau^2` is
    :math:`\sum_k (U_k^2 / I_k - d_k) / \sum_k I_k`, with the scores :math:`U_k = \sum_i (y_i - p_i)` and
    informations without a shift, and at least 1 (in the manner of DerSimonian and Laird, Controlled
    Clinical Trials 1986).

    Args:
        past: Out-of-fold probabilities with verdicts, groups and kinds; without kinds there is no shift.
        new: Rows to tell of; None for the past ones, each without its own group. A kind that was never seen
            has mean 0 and deviation tau.

    Example:
        >>> rows = Confidences(confidence=[0.5] * 200, correct=[1] * 75 + [0] * 125, kinds=["a", "b"] * 100)
        >>> shift = kind_shift(rows)
        >>> bool(shift.mean[0] < 0), round(float(shift.deviation[0]), 2)
        (True, 0.2)
    """
    rows = past if new is None else new
    if past.kinds is None or rows.kinds is None:
        return Shift(np.zeros(len(rows)), np.zeros(len(rows)))
    score, information = past.correct - past.confidence, past.confidence * (1 - past.confidence)
    units = past.units
    places = kind_places(past)
    total = {k: (score[p].sum(), information[p].sum()) for k, p in places.items()}
    effect = {
        k: design_effect(score[p], units[p]) if p.size > 1 else 1.0 for k, p in places.items()
    }
    # Evidence on tau^2: each U_k^2 / I_k - d_k, over the information.
    excess = sum(u**2 / max(i, 1e-9) - effect[k] for k, (u, i) in total.items())
    spread = max(excess / max(sum(i for _, i in total.values()), 1e-9), LEAST_SPREAD**2)
    mean, deviation = np.zeros(len(rows)), np.full(len(rows), np.sqrt(spread))
    for kind, own in kind_places(rows).items():
        if kind not in total:
            continue
        at = places[kind]
        found, u, i = _mode(past.confidence[at], past.correct[at], effect[kind], spread)
        if new is None:
            # Without the own group: one Newton step away from the mode.
            member = np.unique(units[own], return_inverse=True)[1]
            curvature = np.maximum(i.sum() - np.bincount(member, i)[member], 0) / effect[kind]
            curvature = curvature + 1 / spread
            mean[own] = found - np.bincount(member, u)[member] / effect[kind] / curvature
        else:
            curvature = np.full(own.size, i.sum() / effect[kind] + 1 / spread)
            mean[own] = found
        deviation[own] = np.sqrt(1 / curvature)
    return Shift(mean, deviation)


def _mode(
    probability: FloatArray, correct: BoolArray, effect: float, spread: float
) -> tuple[float, FloatArray, FloatArray]:
    """Shift that is most probable, and each row's score and information there."""
    start, shift = logit(np.clip(probability, 1e-6, 1 - 1e-6)), 0.0
    for _ in range(_STEPS):
        p = expit(start + shift)
        slope = (correct - p).sum() / effect - shift / spread
        # A step of more than 1 may leave the region where the curvature means anything.
        shift += float(np.clip(slope / ((p * (1 - p)).sum() / effect + 1 / spread), -1, 1))
    p = expit(start + shift)
    return shift, correct - p, p * (1 - p)
