"""Logistic regression with a handful of features, by Newton's method with step halving."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from vlmcal.types.arrays import BoolArray, FloatArray

_SURE = 15.0  # log-odds beyond which a fitted probability is 0 or 1 for any practical purpose


class LogisticFit(NamedTuple):
    """Coefficients (P,), the penalised mean log-loss, and whether the data were separable."""

    coefficients: FloatArray
    loss: float
    separable: bool


def fit_logistic(
    features: FloatArray,
    targets: FloatArray,
    *,
    start: FloatArray,
    ridge: FloatArray | None = None,
    offset: FloatArray | float = 0.0,
) -> LogisticFit:
    """Minimise ``mean(log(1 + e^t) - y t) + sum(ridge (w - start)^2)`` with ``t = features w + offset``.

    Args:
        features: (N, P).
        targets: (N,) in [0, 1].
        start: (P,) where the search starts and to which the ridge pulls.
        ridge: (P,) or None.
        offset: (N,) part of the log-odds that is not fitted.

    Example:
        >>> x = np.ones((4, 1))
        >>> fit = fit_logistic(x, np.array([1.0, 1.0, 1.0, 0.0]), start=np.zeros(1))
        >>> round(float(fit.coefficients[0]), 6)   # ln 3
        1.098612
    """
    n, p = features.shape
    pull = np.zeros(p) if ridge is None else ridge
    w = start.astype(np.float64).copy()
    loss = _loss(features, targets, w, start, pull, offset)
    for _ in range(100):
        q = expit(features @ w + offset)
        gradient = features.T @ (q - targets) / n + 2 * pull * (w - start)
        weighted = features * (q * (1 - q))[:, None]
        hessian = features.T @ weighted / n + 2 * np.diag(pull)
        step = np.linalg.lstsq(hessian, -gradient, rcond=1e-14)[0]
        decrease = float(-gradient @ step)
        if decrease < 1e-18:
            break
        size = 1.0
        while True:
            new = w + size * step
            new_loss = _loss(features, targets, new, start, pull, offset)
            if new_loss <= loss - 1e-4 * size * decrease or size < 1e-6:
                break
            size /= 2
        if new_loss > loss:
            break
        w, loss = new, new_loss
    odds = features @ w + offset
    hard = (targets <= 0) | (targets >= 1)
    sure = np.where(targets > 0.5, odds, -odds) > _SURE
    return LogisticFit(w, loss, bool((sure & hard).all()))


def smoothed_targets(outcomes: BoolArray) -> FloatArray:
    """Platt's targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0, (N,).

    Example:
        >>> smoothed_targets(np.array([True, True, False])).round(3).tolist()
        [0.75, 0.75, 0.333]
    """
    ones = int(outcomes.sum())
    zeros = outcomes.size - ones
    return np.where(outcomes, (ones + 1) / (ones + 2), 1 / (zeros + 2))


def _loss(
    features: FloatArray,
    targets: FloatArray,
    w: FloatArray,
    start: FloatArray,
    pull: FloatArray,
    offset: FloatArray | float,
) -> float:
    odds = features @ w + offset
    # log(1 + e^t) - y t, the first term as -log(sigmoid(-t))
    data = -float((log_expit(-odds) + targets * odds).mean())
    return data + float((pull * (w - start) ** 2).sum())
