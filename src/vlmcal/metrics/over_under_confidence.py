"""The two halves of the ECE: gaps where the model claims too much, and gaps where it claims too little."""

from functools import partial

import numpy as np

from vlmcal.metrics.kit.binned import BinnedRows, binned_metric
from vlmcal.metrics.kit.cell_residuals import judged
from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Asked, Estimate

_REFERENCE = (
    "Thulasidasan et al., NeurIPS 2019, arXiv 1905.11001 (idea; here the parts add up to ECE)"
)
_INTERVAL = "moment selection for the lower end, normal upper end"


def _positive_mean(t: FloatArray) -> FloatArray:
    """E max(N(t, 1), 0)."""
    density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(density + t * special.ndtr(t))


def _infer(rows: BinnedRows, value: float, *, sign: int, asked: Asked) -> Estimate:
    level, groups, generator = asked
    cells = rows.residuals(groups)
    totals = np.maximum(sign * rows.null(cells, generator), 0).sum(axis=1)
    mean, error = sign * cells.mean, cells.error
    z = critical_value(level, cells.groups)
    ratio = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    # Only cells that may lie on this side contribute to the spread.
    spread = z * float(np.sqrt((error[ratio > -2] ** 2).sum() * cells.inflation))
    low = 0.0
    if value > np.quantile(totals, (1 + level) / 2):
        near = np.sign(ratio) * np.maximum(np.abs(ratio) - 2, 0)
        bias = float(error @ (_positive_mean(near) - np.maximum(near, 0)))
        low = max(0.0, value - bias - spread)
    return judged(value, totals, low, value + spread, n=rows.n, method="moment selection")


def _part(rows: BinnedRows, sign: int) -> float:
    return float(np.maximum(sign * rows.sums.gaps, 0).sum() / rows.n)


@binned_metric(
    higher_is_better=False,
    definition="Part of the ECE from bins whose mean confidence exceeds their accuracy; {bins} {width} "
    "bins, {edge_rule}.",
    reference=_REFERENCE,
    interval=_INTERVAL,
    infer=partial(_infer, sign=1),
    counts=True,
)
def overconfidence(rows: BinnedRows) -> float:
    """Sum over bins of (n_b / N) max(mean confidence_b - accuracy_b, 0).

    Together with :func:`underconfidence` it adds up to the ECE on the same bins.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins, strategy, edges, resolution: As in :func:`vlmcal.metrics.ece`.

    Example:
        >>> round(overconfidence([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1], bins=10), 6)
        0.2
    """
    return _part(rows, 1)


@binned_metric(
    higher_is_better=False,
    definition="Part of the ECE from bins whose accuracy exceeds their mean confidence; {bins} {width} "
    "bins, {edge_rule}.",
    reference=_REFERENCE,
    interval=_INTERVAL,
    infer=partial(_infer, sign=-1),
    counts=True,
)
def underconfidence(rows: BinnedRows) -> float:
    """Sum over bins of (n_b / N) max(accuracy_b - mean confidence_b, 0); see :func:`overconfidence`.

    Example:
        >>> round(underconfidence([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1], bins=10), 6)
        0.2
    """
    return _part(rows, -1)
