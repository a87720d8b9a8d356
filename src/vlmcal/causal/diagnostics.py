"""What shows whether propensity scores can carry a weighted estimate: overlap, balance, calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, Numbers, as_array

Pair = tuple[float, float]
BALANCED = 0.1


@dataclass(frozen=True)
class Diagnostics:
    """Overlap, balance and calibration of propensity scores; pairs are (treated, untreated).

    Attributes:
        effective: Effective sample sizes (sum w)^2 / sum w^2 of the arms.
        largest: Largest weights.
        mean_weight: mean of d / m and of (1 - d) / (1 - m): both are 1 where the weights are right.
        distinct: Number of distinct scores; isotonic regression merges many.
        clipped: Share of the scores at the smallest or largest value.
        ece: Calibration error of the scores on ten bins of equal size, ties in the order of the rows.
        brier: mean (d - m)^2.
        log_loss: mean -log of the probability of what happened, in nats.
        before: (P,) standardised mean differences of the covariates, or None.
        after: (P,) the same, weighted.
    """

    effective: Pair
    largest: Pair
    mean_weight: Pair
    distinct: int
    clipped: float
    ece: float
    brier: float
    log_loss: float
    before: FloatArray | None = None
    after: FloatArray | None = None

    @property
    def unbalanced(self) -> int:
        """Covariates whose weighted standardised difference is beyond the usual line of 0.1."""
        return 0 if self.after is None else int((np.abs(self.after) > BALANCED).sum())


def diagnose(
    propensity: Numbers, treated: Numbers, covariates: Numbers | None = None
) -> Diagnostics:
    """Measure overlap, balance and calibration.

    The standardised mean difference of a covariate is (mean of treated - mean of others) divided by
    sqrt((s1^2 + s0^2) / 2) of the unweighted arms; ``after`` weights the means by 1/m and 1/(1 - m).

    Args:
        propensity: (N,) in (0, 1).
        treated: (N,) 0 or 1.
        covariates: (N, P), or None.

    Raises:
        DataError: Shapes differ.

    Source: Austin, Multivariate Behavioral Research 2011; Kish, Survey Sampling, 1965 (sample size).

    Example:
        >>> out = diagnose([0.5, 0.5, 0.25, 0.75], [1, 0, 0, 1], [[1.0], [0.0], [0.0], [2.0]])
        >>> round(out.mean_weight[0], 4), out.distinct, round(out.effective[0], 3)
        (0.8333, 3, 1.923)
    """
    m, d = as_array(propensity).astype(np.float64), as_array(treated).astype(np.float64)
    if m.ndim != 1 or d.shape != m.shape:
        raise DataError(
            f"propensity and treated: expected one shape (N,), got {m.shape} and {d.shape}"
        )
    weights = (d / m, (1 - d) / (1 - m))
    before = after = None
    if covariates is not None:
        x = as_array(covariates).astype(np.float64)
        if x.ndim != 2 or len(x) != len(m):
            raise DataError(f"covariates: expected shape ({len(m)}, P), got {x.shape}")
        spread = np.sqrt((x[d == 1].var(axis=0, ddof=1) + x[d == 0].var(axis=0, ddof=1)) / 2)
        spread = np.where(spread > 0, spread, 1.0)
        before = (x[d == 1].mean(axis=0) - x[d == 0].mean(axis=0)) / spread
        one, zero = (w @ x / w.sum() for w in weights)
        after = (one - zero) / spread
    with np.errstate(divide="ignore"):
        log_loss = -float(np.log(np.where(d == 1, m, 1 - m)).mean())
    return Diagnostics(
        effective=_pair([w.sum() ** 2 / (w * w).sum() for w in weights]),
        largest=_pair([w.max() for w in weights]),
        mean_weight=_pair([w.mean() for w in weights]),
        distinct=len(np.unique(m)),
        clipped=float(((m == m.min()) | (m == m.max())).mean()),
        ece=_rank_ece(m, d),
        brier=float(((d - m) ** 2).mean()),
        log_loss=log_loss,
        before=before,
        after=after,
    )


def _pair(values: list[Any]) -> Pair:
    return float(values[0]), float(values[1])


def _rank_ece(m: FloatArray, d: FloatArray, bins: int = 10) -> float:
    """ECE of rows sorted by score and cut into nearly equal parts, the first of which get one row more."""
    order = np.argsort(m, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(abs(float((m[p] - d[p]).sum())) for p in parts) / len(m))
