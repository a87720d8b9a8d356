"""Losses of label sets: monotone ones for conformal risk control, any for learn then test."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from vlmcal.errors import SpecError, nearest
from vlmcal.own_code import own, takes
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray

SetLoss: TypeAlias = Callable[[BoolArray, IntArray], FloatArray]


def miscoverage(sets: BoolArray, labels: IntArray) -> FloatArray:
    """1 where the set (N, K) misses the label (N,), else 0; its control is split conformal prediction.

    Example:
        >>> miscoverage(np.array([[True, False]]), np.array([1])).tolist()
        [1.0]
    """
    return 1.0 - sets[np.arange(len(labels)), labels]


def ordinal_distance(sets: BoolArray, labels: IntArray) -> FloatArray:
    """Distance from the label to the nearest class in the set, over K - 1; 1 for an empty set.

    For classes in their natural order, such as grades of a disease: a set that is off by one grade is
    better than one that is off by three.

    Example:
        >>> ordinal_distance(np.array([[True, False, False]]), np.array([1])).tolist()
        [0.5]
    """
    k = sets.shape[1]
    distance = np.abs(np.arange(k)[None, :] - labels[:, None]) / max(1, k - 1)
    return np.asarray(np.where(sets, distance, 1.0).min(axis=1))


def set_share(sets: BoolArray, labels: IntArray) -> FloatArray:
    """Share of the K classes that are in the set; it rises as sets grow.

    Example:
        >>> set_share(np.array([[True, True, False, False]]), np.array([1])).tolist()
        [0.5]
    """
    return np.asarray(sets.mean(axis=1))


def deferral(sets: BoolArray, labels: IntArray) -> FloatArray:
    """1 where the set does not hold exactly one label, so that a person has to decide.

    Example:
        >>> deferral(np.array([[True, False], [True, True]]), np.array([1, 1])).tolist()
        [0.0, 1.0]
    """
    return np.asarray(sets.sum(axis=1) != 1, dtype=np.float64)


def wrong_answer(sets: BoolArray, labels: IntArray) -> FloatArray:
    """1 where the set holds exactly one label, and a wrong one.

    Example:
        >>> wrong_answer(np.array([[True, False], [False, True]]), np.array([1, 1])).tolist()
        [1.0, 0.0]
    """
    return miscoverage(sets, labels) * (1.0 - deferral(sets, labels))


LOSSES: dict[str, SetLoss] = {
    "miscoverage": miscoverage,
    "ordinal_distance": ordinal_distance,
    "set_share": set_share,
    "deferral": deferral,
    "wrong_answer": wrong_answer,
}


def find_loss(loss: str | SetLoss) -> SetLoss:
    """The loss called ``loss``, at ``package.module:name``, or ``loss`` itself.

    Raises:
        SpecError: No such loss, or code that may not be imported or is no such function.

    Example:
        >>> find_loss("vlmcal.conformal.losses:miscoverage") is miscoverage
        True
    """
    if callable(loss):
        return loss
    if loss in LOSSES:
        return LOSSES[loss]
    if ":" not in loss:
        raise SpecError(
            f'unknown loss "{loss}"; {nearest(loss, LOSSES)}, or give package.module:name'
        )
    found: SetLoss = own(loss, "loss", takes(2), "a function of label sets and labels")
    return found


def loss_name(loss: str | SetLoss) -> str:
    """How a loss is called in saved files.

    Example:
        >>> loss_name(miscoverage), loss_name("miscoverage")
        ('vlmcal.conformal.losses:miscoverage', 'miscoverage')
    """
    if isinstance(loss, str):
        return loss
    return f"{getattr(loss, '__module__', '?')}:{getattr(loss, '__qualname__', repr(loss))}"
