"""Logistic regression with a handful of features, by Newton's method with step halving."""

from typing import NamedTuple

import numpy as np

from vlmcal.types.arrays import BoolArray, FloatArray

_SURE = 15.0  # log-odds beyond which a fitted probability is 0 or 1 for any practical purpose
_BLOCK = 1 << 13  # rows whose numbers stay in a core's cache
_FEW = 4096  # rows that tell well enough where many more will lead
_LAST_FALL = 1e-12  # expected fall of the loss by a step that is the last: digits double with each


class LogisticFit(NamedTuple):
    """Coefficients (P,), the penalised mean log-loss, and whether the data were separable."""

    coefficients: FloatArray
    loss: float
    separable: bool


class _Point(NamedTuple):
    """The penalised loss, its gradient (P,) and its second derivative (P, P)."""

    loss: float
    gradient: FloatArray
    hessian: FloatArray


def fit_logistic(
    features: FloatArray,
    targets: FloatArray,
    *,
    start: FloatArray,
    ridge: FloatArray | None = None,
    offset: FloatArray | float = 0.0,
) -> LogisticFit:
    """Minimise ``mean(log(1 + e^t) - y t) + sum(ridge (w - start)^2)`` with ``t = features w + offset``.

    On many rows the search starts from the minimum on some of them, evenly picked; the minimum is the same.

    Args:
        features: (N, P).
        targets: (N,) in [0, 1].
        start: (P,) where the search starts on few rows, and to which the ridge pulls.
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
    columns = np.ascontiguousarray(features.T, dtype=np.float64)
    w = start.astype(np.float64).copy()
    if n >= 4 * _FEW:
        some = slice(None, None, n // _FEW)
        part = offset[some] if isinstance(offset, np.ndarray) else offset
        near = fit_logistic(features[some], targets[some], start=start, ridge=ridge, offset=part)
        w = w if near.separable else near.coefficients.astype(np.float64, copy=False)

    def at(w: FloatArray) -> _Point:
        loss, gradient, hessian = 0.0, np.zeros(p), np.zeros((p, p))
        for first in range(0, n, _BLOCK):
            rows = slice(first, first + _BLOCK)
            x, y = columns[:, rows], targets[rows]
            odds = w @ x
            odds += offset[rows] if isinstance(offset, np.ndarray) else offset
            # of both tails one is safe: e = exp(-|t|) is at most 1
            tail = np.exp(-np.abs(odds))
            # log(1 + e^t) - y t
            losses = np.log1p(tail)
            losses += np.maximum(odds, 0.0)
            losses -= y * odds
            loss += float(losses.sum())
            below = tail / (1.0 + tail)
            q = np.where(odds >= 0, 1.0 - below, below)
            q -= y
            gradient += x @ q
            below *= 1.0 - below
            hessian += (x * below) @ x.T
        away = w - start
        return _Point(
            loss / n + float((pull * away**2).sum()),
            gradient / n + 2 * pull * away,
            hessian / n + 2 * np.diag(pull),
        )

    here = at(w)
    for _ in range(100):
        step = np.linalg.lstsq(here.hessian, -here.gradient, rcond=1e-14)[0]
        decrease = float(-here.gradient @ step)
        if decrease < 1e-18:
            break
        size = 1.0
        while True:
            new = w + size * step
            there = at(new)
            if there.loss <= here.loss - 1e-4 * size * decrease or size < 1e-6:
                break
            size /= 2
        if there.loss > here.loss:
            break
        w, here = new, there
        if decrease < _LAST_FALL and size == 1.0:
            break
    hard = (targets <= 0) | (targets >= 1)
    odds = w @ columns + offset
    sure = np.where(targets > 0.5, odds, -odds) > _SURE
    return LogisticFit(w, here.loss, bool((sure & hard).all()))


def smoothed_targets(outcomes: BoolArray) -> FloatArray:
    """Platt's targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0, (N,).

    Example:
        >>> smoothed_targets(np.array([True, True, False])).round(3).tolist()
        [0.75, 0.75, 0.333]
    """
    ones = int(outcomes.sum())
    zeros = outcomes.size - ones
    return np.where(outcomes, (ones + 1) / (ones + 2), 1 / (zeros + 2))
