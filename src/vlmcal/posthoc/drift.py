"""Drift without outcomes: have confidences or deferrals changed since the model was checked?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray

_BINS = 10
_LEAST = 0.5  # rows that an empty bin counts as


class Shift(NamedTuple):
    """How far one sample of confidences lies from another.

    Attributes:
        ks: Largest distance of the two distribution functions.
        p_value: Two-sided, of Kolmogorov and Smirnov.
        psi: Population stability index; below 0.1 small, above 0.25 large by convention.
        n_before, n_now: Sizes of the samples.
    """

    ks: float
    p_value: float
    psi: float
    n_before: int
    n_now: int

    def sentence(self) -> str:
        """What a person on duty reads.

        Example:
            >>> Shift(0.3, 1e-6, 0.4, 500, 200).sentence()
            'confidences have shifted: KS 0.30 (p = 1e-06), PSI 0.40 (500 before, 200 now)'
        """
        far = self.p_value < 0.01 and self.psi > 0.1
        told = "confidences have shifted" if far else "no clear shift of the confidences"
        sizes = f"({self.n_before:,} before, {self.n_now:,} now)"
        return f"{told}: KS {self.ks:.2f} (p = {self.p_value:.2g}), PSI {self.psi:.2f} {sizes}"


def shift(before: ArrayLike, now: ArrayLike) -> Shift:
    r"""Kolmogorov-Smirnov distance and population stability index of two samples of confidences.

    :math:`\mathrm{PSI} = \sum_b (q_b - p_b) \ln(q_b / p_b)` over ten bins of equal mass of the earlier
    sample; an empty bin counts as half a row.

    Args:
        before: (N,) in [0, 1].
        now: (M,) in [0, 1].

    Raises:
        DataError: A sample is empty or not finite.

    Source: Siddiqi, Credit Risk Scorecards, 2006 (index and its convention).

    Example:
        >>> same = shift(np.linspace(0, 1, 200), np.linspace(0, 1, 100))
        >>> round(same.ks, 3), round(same.psi, 3)
        (0.005, 0.0)
        >>> shift(np.linspace(0, 1, 200), np.linspace(0.5, 1, 100)).psi > 0.25
        True
    """
    from scipy.stats import ks_2samp  # takes seconds to import

    first, second = (np.asarray(values, dtype=np.float64).ravel() for values in (before, now))
    if not first.size or not second.size or not np.isfinite(np.r_[first, second]).all():
        raise DataError("drift of confidences: expected two samples of finite numbers")
    edges = np.unique(np.quantile(first, np.linspace(0, 1, _BINS + 1)[1:-1]))
    found = ks_2samp(first, second)
    p, q = (_shares(sample, edges) for sample in (first, second))
    psi = float(((q - p) * np.log(q / p)).sum())
    return Shift(float(found.statistic), float(found.pvalue), psi, first.size, second.size)


def _shares(sample: FloatArray, edges: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=edges.size + 1)
    filled = np.maximum(counts, _LEAST)
    shares: FloatArray = filled / filled.sum()
    return shares


class Cusum(NamedTuple):
    """Cumulative sums of a rate, upwards and downwards.

    Attributes:
        up, down: (N,) after each row.
        alarm: Place of the first row at which one reached the limit, from 1; None if none did.
        way: "up" or "down" at the alarm, else "".
        limit: Log-likelihood ratio at which it alarms.
    """

    up: FloatArray
    down: FloatArray
    alarm: int | None
    way: str
    limit: float


def cusum(happened: ArrayLike, rate: float, *, ratio: float = 2.0, limit: float = 7.0) -> Cusum:
    r"""CUSUM of a rate, such as deferrals: against odds that are ``ratio`` times as high, or as low.

    :math:`S_t = \max(0, S_{t-1} + \ln\{q(x_t) / p(x_t)\})` with p the rate as it was and q the one with other
    odds.

    Args:
        happened: (N,) bool, in order.
        rate: As it was, in (0, 1).
        ratio: Of the odds that are looked for.
        limit: Of the sum; 7 gives at least e^7 = 1,097 rows between false alarms of one side on average.

    Raises:
        DataError: The rate is 0 or 1, or the ratio not above 1.

    Source: Page, Biometrika 1954; Steiner et al., "Monitoring surgical performance using risk-adjusted
    cumulative sum charts", Biostatistics 2000.

    Example:
        >>> found = cusum([False] * 50 + [True] * 20, 0.1)
        >>> found.alarm, found.way
        (62, 'up')
    """
    if not 0 < rate < 1 or not ratio > 1:
        raise DataError(
            f"CUSUM: expected a rate in (0, 1) and a ratio above 1, got {rate}, {ratio}"
        )
    events = np.asarray(happened, dtype=np.bool_).ravel()
    sums = []
    for factor in (ratio, 1 / ratio):
        other = rate * factor / (1 - rate + rate * factor)
        steps = np.where(events, np.log(other / rate), np.log((1 - other) / (1 - rate)))
        total: FloatArray = np.cumsum(steps).astype(np.float64)
        # S_t = C_t - min(0, min of C up to t), the closed form of the recursion
        sums.append(total - np.minimum(np.minimum.accumulate(total), 0.0) if total.size else total)
    up, down = sums
    reached = np.flatnonzero((up >= limit) | (down >= limit))
    if not reached.size:
        return Cusum(up, down, None, "", limit)
    first = int(reached[0])
    return Cusum(up, down, first + 1, "up" if up[first] >= limit else "down", limit)
