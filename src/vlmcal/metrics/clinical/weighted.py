"""Clinical measures of weighted rows: each row counts as often as its weight says."""

from typing import Final

import numpy as np

from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.kit.bootstrap import (
    FEWEST_ERRORS,
    RANGES,
    WHOLE,
    bootstrap_together,
    with_interval,
)
from vlmcal.metrics.kit.pair_statistics import PairStatistics
from vlmcal.metrics.kit.row_weights import as_weights
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate

NAMES: Final = (
    *("prevalence", "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "oe"),
    *("intercept", "slope", "brier", "brier_skill"),
)


def weighted_measure(
    risks: Risks,
    threshold: float = 0.5,
    level: float = 0.95,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The measures of :func:`~vlmcal.metrics.clinical.summary.measure` as if row i occurred w_i times.

    Intervals draw rows, or units, with their weights (BCa bootstrap); intercept and slope by one Newton step
    a draw. ICI, E50, E90 and Spiegelhalter's z have no weighted form here and are NaN.

    Args:
        risks: With weights.
        threshold: From which risk a row is called positive.
        level: Confidence level.
        resamples: Number of resamples; 0 for no intervals.
        seed: Of the draws.

    Raises:
        DataError: Weights that are none.

    Example:
        >>> from dataclasses import replace
        >>> risks = Risks.of([0.8, 0.7, 0.4, 0.1], [1, 0, 1, 0])
        >>> found = weighted_measure(replace(risks, weights=np.array([2.0, 1, 1, 1])), resamples=0)
        >>> round(found["prevalence"].value, 3), round(found["auroc"].value, 4)
        (0.6, 0.8333)
    """
    weights = as_weights(
        np.ones(len(risks)) if risks.weights is None else risks.weights, len(risks)
    )
    n = len(risks)
    joint = _Joint(risks, weights, threshold)
    values = joint(np.ones(n))
    few = min(int(risks.present.sum()), int((~risks.present).sum())) < FEWEST_ERRORS
    several = risks.groups is None or len(np.unique(risks.groups)) > 1
    estimates = {name: Estimate(float(v), n=n) for name, v in zip(NAMES, values, strict=True)}
    if resamples > 0 and not few and several:
        drawn = bootstrap_together(
            joint,
            n,
            groups=risks.groups,
            resamples=resamples,
            generator=numpy_generator(seed, "bootstrap", "clinical"),
        )
        for name, resampled in zip(NAMES, drawn, strict=True):
            estimates[name] = with_interval(
                estimates[name], resampled, level, RANGES.get(name, WHOLE)
            )
    return estimates


class _Joint:
    """All measures as one function of how often each row was drawn."""

    def __init__(self, risks: Risks, weights: FloatArray, threshold: float) -> None:
        n = len(risks)
        self.weights = weights
        one = np.zeros(n, dtype=np.int64)
        self.pairs = PairStatistics(
            risks.risk, risks.present, np.arange(n), one, rows=n, weights=weights
        )
        called, present = risks.risk >= threshold, risks.present
        self.shares = [
            (called, present),
            (~called, ~present),
            (present, called),
            (~present, ~called),
        ]

    def __call__(self, times: FloatArray) -> list[float]:
        found = self.pairs(times)
        weight = times * self.weights
        shares = []
        for hits, among in self.shares:
            total = float(weight[among].sum())
            shares.append(float(weight[hits & among].sum()) / total if total > 0 else float("nan"))
        names = dict(zip(("sensitivity", "specificity", "ppv", "npv"), shares, strict=True))
        return [names[name] if name in names else float(found[name][0]) for name in NAMES]
