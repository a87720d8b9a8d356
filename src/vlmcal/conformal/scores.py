"""Nonconformity scores: how strange each class is for a row, given its class probabilities."""

from typing import Literal, NamedTuple

import numpy as np

from vlmcal.types.arrays import BoolArray, FloatArray, IntArray


class Ranked(NamedTuple):
    """Classes of each row from the most to the least probable.

    Attributes:
        order: (N, K) class at each place.
        own: (N, K) its probability.
        before: (N, K) probability of all classes placed before it.
        rank: (N, K) place, counted from 1.
        top: (N, 1) largest probability.
    """

    order: IntArray
    own: FloatArray
    before: FloatArray
    rank: IntArray
    top: FloatArray


_DEPTH = 20.0
_TINY = float(np.exp(-_DEPTH))
Ties = Literal["share", "first", "reversed"]


def rank_classes(probabilities: FloatArray, ties: Ties = "share") -> Ranked:
    """Sort the classes of each row by falling probability.

    Args:
        probabilities: (N, K), rows sum to 1.
        ties: Of equal probabilities the "first" class number comes first; "share" lets them share rank and
            ``before``, so that the numbering of the classes does not matter; "reversed" is numpy's rising
            order turned round, as MAPIE takes it, in which equal ones may stand either way.

    Example:
        >>> r = rank_classes(np.array([[0.25, 0.5, 0.25]]))
        >>> r.order.tolist(), r.before.tolist(), r.rank.tolist()
        ([[1, 0, 2]], [[0.0, 0.5, 0.5]], [[1, 2, 2]])
    """
    if ties == "reversed":
        order = np.argsort(probabilities, axis=1)[:, ::-1]
    else:
        order = np.argsort(-probabilities, axis=1, kind="stable")
    return _placed(order, np.take_along_axis(probabilities, order, axis=1), ties)


def rank_values(probabilities: FloatArray) -> Ranked:
    """The same with ties shared, from a sort of the values alone: several times faster, without the order.

    Example:
        >>> r = rank_values(np.array([[0.25, 0.5, 0.25]]))
        >>> r.own.tolist(), r.before.tolist(), r.rank.tolist()
        ([[0.5, 0.25, 0.25]], [[0.0, 0.5, 0.5]], [[1, 2, 2]])
    """
    own = np.sort(probabilities, axis=1)[:, ::-1]
    return _placed(np.empty((0, 0), dtype=np.int64), own, "share")


def place_of_labels(ranked: Ranked, probabilities: FloatArray, labels: IntArray) -> Ranked:
    """The places (N, 1) of one class of each row among the others, ties shared.

    Example:
        >>> p = np.array([[0.25, 0.5, 0.25]])
        >>> place = place_of_labels(rank_values(p), p, np.array([2]))
        >>> place.before.tolist(), place.rank.tolist()
        ([[0.5]], [[2]])
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels][:, None]
    above = (probabilities > own).sum(axis=1)
    before = ranked.before[rows, above][:, None]
    return Ranked(ranked.order, own, before, (above + 1)[:, None], ranked.top)


def first_places(
    probabilities: FloatArray, ranked: Ranked, scores: FloatArray, threshold: float | FloatArray
) -> BoolArray:
    """Sets (N, K) of the classes whose place has a score of at most the threshold, by one cut per row.

    Args:
        probabilities: (N, K).
        ranked: Their :func:`rank_values`.
        scores: (N, K) by place, rising, equal for equal probabilities.
        threshold: The largest score in a set.

    Example:
        >>> p = np.array([[0.3, 0.5, 0.2]])
        >>> first_places(p, rank_values(p), np.array([[0.5, 0.8, 1.0]]), 0.8).tolist()
        [[True, True, False]]
    """
    held = np.count_nonzero(scores <= threshold, axis=1)
    last = ranked.own[np.arange(len(held)), held - 1]
    return probabilities >= np.where(held > 0, last, np.inf)[:, None]


def _placed(order: IntArray, own: FloatArray, ties: Ties) -> Ranked:
    before = np.zeros(own.shape)
    np.cumsum(own[:, :-1], axis=1, out=before[:, 1:])
    rank = np.broadcast_to(np.arange(1, own.shape[1] + 1), own.shape)
    if ties == "share" and (own[:, 1:] == own[:, :-1]).any():
        first = np.ones(own.shape, dtype=np.bool_)
        first[:, 1:] = own[:, 1:] != own[:, :-1]
        rank = np.maximum.accumulate(np.where(first, rank, 1), axis=1)
        before = np.take_along_axis(before, rank - 1, axis=1)
    return Ranked(order, own, before, rank, own[:, :1])


def by_class(ranked: Ranked, values: FloatArray) -> FloatArray:
    """Values given per place (N, K), put back in the order of the classes.

    Example:
        >>> by_class(rank_classes(np.array([[0.2, 0.8]])), np.array([[1.0, 2.0]])).tolist()
        [[2.0, 1.0]]
    """
    result = np.empty(values.shape, dtype=np.float64)
    np.put_along_axis(result, ranked.order, values, axis=1)
    return result


def lac_scores(probabilities: FloatArray) -> FloatArray:
    """Score 1 - p of every class (N, K), kept apart where p is tiny (:func:`one_minus`).

    Least ambiguous sets (Sadinle, Lei and Wasserman, JASA 2019, arXiv 1609.00451).

    Example:
        >>> lac_scores(np.array([[0.75, 0.25]])).tolist()
        [[0.25, 0.75]]
    """
    return one_minus(probabilities)


def one_minus(values: FloatArray) -> FloatArray:
    """1 - x for x in [0, 1], but strictly falling in x down to the smallest numbers, and 1 only for x = 0.

    A saturated softmax gives its unlikely classes 1e-20 and less; 1 minus that is 1 in floating point, so all
    of them would tie and one such label would put them all into every set. Below exp(-20) x is replaced by
    exp(-20) 20 / (-log x), which moves the score by at most 2e-9 and keeps the order.

    Example:
        >>> a, b, c = one_minus(np.array([0.25, 1e-30, 1e-40])).tolist()
        >>> a, b < c < 1, one_minus(np.zeros(1)).tolist()
        (0.75, True, [1.0])
    """
    result: FloatArray = 1.0 - values
    tiny = values < _TINY
    if tiny.any():
        with np.errstate(divide="ignore"):
            depth = -np.log(values[tiny])
        result[tiny] = 1.0 - _TINY * _DEPTH / depth
    return result


def margin_scores(probabilities: FloatArray) -> FloatArray:
    """Score (largest probability among the OTHER classes) - p of every class (N, K), in [-1, 1].

    Example:
        >>> margin_scores(np.array([[0.5, 0.25, 0.25]])).tolist()
        [[-0.25, 0.25, 0.25]]
    """
    n, k = probabilities.shape
    if k == 1:
        return -probabilities
    top = np.partition(probabilities, k - 2, axis=1)[:, k - 2 :]
    other = np.broadcast_to(top[:, 1:], (n, k)).copy()
    best = probabilities.argmax(axis=1)
    other[np.arange(n), best] = top[:, 0]
    return other - probabilities


def tail_scores(probabilities: FloatArray, share: FloatArray | float = 1.0) -> FloatArray:
    """Adaptive score as 1 minus the mass of what is left, summed from the least probable class on, (N, K).

    The same as :func:`aps_scores` of shared ties for rows that sum to 1, but classes far down a saturated
    softmax stay apart (:func:`one_minus`).

    Example:
        >>> tail_scores(np.array([[0.25, 0.75]]), 0.5).tolist()
        [[0.875, 0.375]]
    """
    order = np.argsort(probabilities, axis=1, kind="stable")
    own = np.take_along_axis(probabilities, order, axis=1)
    result = np.empty_like(own)
    np.put_along_axis(result, order, one_minus(_tail(own, share)), axis=1)
    return result


def tail_of_labels(
    probabilities: FloatArray, labels: IntArray, share: FloatArray | float = 1.0
) -> FloatArray:
    """The same of one class per row, (N,), from a sort of the values alone.

    Example:
        >>> tail_of_labels(np.array([[0.25, 0.75]]), np.array([0]), 0.5).tolist()
        [0.875]
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    below = np.zeros(probabilities.shape)
    np.cumsum(np.sort(probabilities, axis=1)[:, :-1], axis=1, out=below[:, 1:])
    smaller = np.count_nonzero(probabilities < own, axis=1)[:, None]
    ties = np.count_nonzero(probabilities == own, axis=1)[:, None] - 1
    left = np.take_along_axis(below, smaller, axis=1) + ties * own
    return one_minus(np.minimum(left + (1.0 - share) * own, 1.0))[:, 0]


def tail_sets(
    probabilities: FloatArray, threshold: float, share: FloatArray | float = 1.0
) -> BoolArray:
    """Sets (N, K) of the classes with :func:`tail_scores` of at most the threshold, by one cut per row.

    Example:
        >>> tail_sets(np.array([[0.25, 0.75], [0.5, 0.5]]), 0.8).tolist()
        [[False, True], [True, True]]
    """
    own = np.sort(probabilities, axis=1)
    left = _tail(own, share)
    held = np.count_nonzero(at_most(left, threshold), axis=1)
    last = own[np.arange(len(own)), own.shape[1] - np.maximum(held, 1)]
    return probabilities >= np.where(held > 0, last, np.inf)[:, None]


def at_most(values: FloatArray, threshold: FloatArray | float) -> BoolArray:
    """Whether :func:`one_minus` of the values is at most a threshold, or one for each column.

    Example:
        >>> at_most(np.array([[0.9, 0.1]]), 0.5).tolist()
        [[True, False]]
    """
    limit = np.asarray(threshold)
    # What one_minus keeps apart lies above 1 - 2 exp(-20): no other threshold sees it.
    plain = bool(((limit < 1.0 - 2 * _TINY) | np.isposinf(limit)).all())
    return (1.0 - values if plain else one_minus(values)) <= threshold


def _tail(own: FloatArray, share: FloatArray | float) -> FloatArray:
    """What is left below each of rising values, and of itself what does not count, (N, K)."""
    below = np.zeros(own.shape)
    np.cumsum(own[:, :-1], axis=1, out=below[:, 1:])
    k = own.shape[1]
    if (own[:, 1:] == own[:, :-1]).any():
        # of a run of ties, all but the own probability lie below, whichever of the run it is
        first = np.ones(own.shape, dtype=np.bool_)
        first[:, 1:] = own[:, 1:] != own[:, :-1]
        last = np.ones(own.shape, dtype=np.bool_)
        last[:, :-1] = first[:, 1:]
        place = np.broadcast_to(np.arange(k), own.shape)
        start = np.maximum.accumulate(np.where(first, place, 0), axis=1)
        end = np.minimum.accumulate(np.where(last, place, k - 1)[:, ::-1], axis=1)[:, ::-1]
        below = np.take_along_axis(below, start, axis=1) + (end - start) * own
    return np.minimum(below + (1.0 - share) * own, 1.0)


def aps_scores(ranked: Ranked, share: FloatArray | float = 1.0) -> FloatArray:
    """Adaptive score: mass of all likelier classes plus a share of the own probability, (N, K).

    Args:
        ranked: From :func:`rank_classes`.
        share: Part of the own probability that counts: 1 (deterministic), or a uniform number (N, 1) per
            row or (N, K) per place.

    Returns:
        (N, K) in [0, 1], in the order of the classes (Romano, Sesia and Candes, NeurIPS 2020, arXiv
        2006.02544).

    Example:
        >>> aps_scores(rank_classes(np.array([[0.25, 0.75]])), 0.5).tolist()
        [[0.875, 0.375]]
    """
    return by_class(ranked, mass(ranked, share))


def raps_places(
    ranked: Ranked, share: FloatArray | float, penalty: float, k_reg: int
) -> FloatArray:
    """Adaptive score plus ``penalty`` for every place below ``k_reg``, by place, (N, M).

    Angelopoulos, Bates, Malik and Jordan, ICLR 2021, arXiv 2009.14193.

    Example:
        >>> p = np.array([[0.5, 0.25, 0.25]])
        >>> raps_places(rank_classes(p, "first"), 1.0, penalty=0.125, k_reg=1).tolist()
        [[0.5, 0.875, 1.25]]
    """
    return mass(ranked, share) + penalty * np.maximum(ranked.rank - k_reg, 0)


def saps_places(ranked: Ranked, share: FloatArray | float, weight: float) -> FloatArray:
    """Sorted adaptive score, which keeps only the largest probability, by place, (N, M).

    ``share * p_max`` for the likeliest class and ``p_max + weight * (rank - 2 + share)`` below it (Huang,
    Xi, Zhang, Yao, Qiu and Wei, ICML 2024, arXiv 2310.06430).

    Example:
        >>> saps_places(rank_classes(np.array([[0.5, 0.375, 0.125]])), 1.0, weight=0.25).tolist()
        [[0.5, 0.75, 1.0]]
    """
    below = ranked.top + weight * (ranked.rank - 2 + share)
    return np.where(ranked.rank == 1, share * ranked.top, below)


def mass(ranked: Ranked, share: FloatArray | float) -> FloatArray:
    """Probability of all likelier classes and a share of the own one, by place, (N, M)."""
    # Rounding may carry a sum over 1, and a threshold of exactly 1 must hold every class.
    return np.minimum(ranked.before + share * ranked.own, 1.0)
