"""Logistic regression with a handful of features, by Newton's method with step halving."""

from typing import NamedTuple

import numpy as np

from vlmcal.types.arrays import BoolArray, FloatArray

_SURE = 15.0  # log-odds beyond which a fitted probability is 0 or 1 for any practical purpose
_BLOCK = 1 << 13  # rows whose numbers stay in a core's cache
_FEW = 512  # rows that are searched as they are
_TOGETHER = 8  # neighbours among more rows whose mean stands for them at first
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

    On many rows the search starts from the minimum for means of rows that lie beside each other by the first
    feature; the minimum is the same.

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
    if n >= _TOGETHER * _FEW:
        near = _of_neighbours(columns, targets, offset, start, ridge)
        if not near.separable and np.isfinite(near.coefficients).all():
            w = near.coefficients.astype(np.float64, copy=False)
    loss, bent = 0.0, 2 * np.diag(pull)

    def at(w: FloatArray) -> _Point:
        loss, gradient, hessian = 0.0, np.zeros(p), np.zeros((p, p))
        for first in range(0, n, _BLOCK):
            rows = slice(first, first + _BLOCK)
            x, y = columns[:, rows], targets[rows]
            odds = w @ x
            odds += offset[rows] if isinstance(offset, np.ndarray) else offset
            # of both tails one is safe: e = exp(-|t|) is at most 1
            tail = np.copysign(odds, -1.0)
            np.exp(tail, out=tail)
            # log(1 + e^t) - y t
            room = np.log1p(tail)
            loss += float(room.sum() - y @ odds)
            loss += float(np.maximum(odds, 0.0, out=room).sum())
            np.add(tail, 1.0, out=room)
            tail /= room
            np.subtract(1.0, tail, out=room)
            q = np.where(odds >= 0, room, tail)
            q -= y
            gradient += x @ q
            tail *= room
            hessian += (x * tail) @ x.T
        away = w - start
        return _Point(
            loss / n + float((pull * away**2).sum()),
            gradient / n + 2 * pull * away,
            hessian / n + bent,
        )

    here = at(w)
    loss = here.loss
    for _ in range(100):
        step = np.linalg.lstsq(here.hessian, -here.gradient, rcond=1e-14)[0]
        decrease = float(-here.gradient @ step)
        if decrease < _LAST_FALL:  # no need to look where it leads
            w, loss = w + step, here.loss - decrease / 2
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
        w, here, loss = new, there, there.loss
    hard = (targets <= 0) | (targets >= 1)
    odds = w @ columns + offset
    sure = np.where(targets > 0.5, odds, -odds) > _SURE
    return LogisticFit(w, loss, bool((sure & hard).all()))


def _of_neighbours(
    columns: FloatArray,
    targets: FloatArray,
    offset: FloatArray | float,
    start: FloatArray,
    ridge: FloatArray | None,
) -> LogisticFit:
    """The fit to means of neighbours by the first of the features (P, N): near the one to all rows."""
    if (columns[0, 1:] < columns[0, :-1]).any():
        order = np.argsort(columns[0])
        columns, targets = columns[:, order], targets[order]
        offset = offset[order] if isinstance(offset, np.ndarray) else offset
    firsts = np.arange(0, targets.size, _TOGETHER)
    sizes = np.diff(firsts, append=targets.size)
    means = [
        np.add.reduceat(values, firsts, axis=-1) / sizes
        for values in (columns, targets, np.broadcast_to(offset, targets.shape))
    ]
    return fit_logistic(means[0].T, means[1], start=start, ridge=ridge, offset=means[2])


def smoothed_targets(outcomes: BoolArray) -> FloatArray:
    """Platt's targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in place of 1 and 0, (N,).

    Example:
        >>> smoothed_targets(np.array([True, True, False])).round(3).tolist()
        [0.75, 0.75, 0.333]
    """
    ones = int(outcomes.sum())
    zeros = outcomes.size - ones
    return np.where(outcomes, (ones + 1) / (ones + 2), 1 / (zeros + 2))
