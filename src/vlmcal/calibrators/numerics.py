"""Reading class scores in row chunks, and the few formulas that several calibrators share."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.predictions import Predictions
from vlmcal.types.softmax import blocks, shifted_blocks

CHUNK = 1 << 17  # numbers per block: 1 MB of float64, about the size of a core's cache
_FEW_CLASSES = 64


class Block(NamedTuple):
    """Scores of some rows in float64, and the axis along which the classes lie.

    For few classes the block is turned, (K, rows), because sums over a short last axis are slow.
    """

    rows: slice
    values: FloatArray
    axis: int

    def at(self, labels: IntArray) -> FloatArray:
        """The score of one class per row, (rows,)."""
        index = np.arange(labels.size)
        return self.values[index, labels] if self.axis == 1 else self.values[labels, index]


def score_chunks(predictions: Predictions, zero: float, chunk: int = CHUNK) -> Iterator[Block]:
    """Blocks of rows of the scores in float64, finite everywhere.

    Args:
        predictions: Logits or log-probabilities (N, K).
        zero: What an exact probability of 0 stands for; the smaller of this and the smallest positive
            probability of the row is used, so the order of the classes is kept.
        chunk: Numbers per block.
    """
    k = predictions.n_classes
    step = max(1, chunk // k)
    for start in range(0, len(predictions), step):
        rows = slice(start, min(start + step, len(predictions)))
        values = predictions.logits[rows]
        axis = 1 if k > _FEW_CLASSES else 0
        # astype with order "C" makes the turned copy in one go
        block = (values if axis == 1 else values.T).astype(np.float64, order="C")
        if predictions.kind == "log_probs":
            fill_zeros(block, zero, axis)
        yield Block(rows, block, axis)


def fill_zeros(log_probs: FloatArray, zero: float, axis: int = 1) -> None:
    """Replace minus infinity in place by ``log(zero)``, or by the smallest finite value of the row."""
    missing = np.isneginf(log_probs)
    if missing.any():
        smallest = np.where(missing, np.inf, log_probs).min(axis=axis, keepdims=True)
        np.copyto(log_probs, np.minimum(smallest, np.log(zero)), where=missing)


def finite_scores(predictions: Predictions, zero: float) -> FloatArray:
    """All scores (N, K) in float64 with exact zeros filled; a copy."""
    scores = predictions.logits.astype(np.float64)
    if predictions.kind == "log_probs":
        fill_zeros(scores, zero)
    return scores


def finite_log_probs(predictions: Predictions, zero: float) -> FloatArray:
    """Log-probabilities (N, K) in float64 with exact zeros filled; a copy."""
    return log_normalised(finite_scores(predictions, zero))


def log_odds(scores: FloatArray) -> FloatArray:
    """log(p / (1 - p)) of every class, (N, K), without losing p near 1.

    Args:
        scores: (N, K) finite logits or log-probabilities.

    Example:
        >>> log_odds(np.array([[50.0, 0.0]])).tolist()
        [[50.0, -50.0]]
    """
    result = np.empty(scores.shape, order="F")  # curves are fitted and applied class by class
    for rows, axis, odds, _ in shifted_blocks(scores, np.float64, always=True):
        result[rows] = _block_odds(odds, axis) if axis == 1 else _block_odds(odds, axis).T
    return result


def _block_odds(odds: FloatArray, axis: int) -> FloatArray:
    """Log-odds of scores less the largest of their row, in place."""
    shares = np.exp(odds)
    place, top = np.arange(odds.shape[1 - axis]), (odds == 0).argmax(axis=axis)
    leaders = (place, top) if axis == 1 else (top, place)
    shares[leaders] = 0.0
    rest = shares.sum(axis=axis)
    # For every class but the first its rivals include the top class, so they sum to at least 1.
    np.subtract(np.expand_dims(1.0 + rest, axis), shares, out=shares)
    np.log(np.maximum(shares, 1.0, out=shares), out=shares)
    leader = -np.log(np.where(rest > 0, rest, 1.0))
    lost = np.flatnonzero(rest < 1e-290)
    if lost.size:
        rivals = odds.take(lost, axis=1 - axis)
        rivals[
            (np.arange(lost.size), top[lost]) if axis == 1 else (top[lost], np.arange(lost.size))
        ] = -np.inf
        leader[lost] = -logsumexp(rivals, axis=axis)
    odds -= shares
    odds[leaders] = leader
    return odds


def log_shares(log_odds: FloatArray) -> FloatArray:
    """Log-probabilities (N, K) of one log-odds for each class, divided so that the rows sum to 1.

    Example:
        >>> np.exp(log_shares(np.array([[0.0, 0.0, 0.0]]))).round(4).tolist()
        [[0.3333, 0.3333, 0.3333]]
    """
    result = np.empty(log_odds.shape)
    for rows, axis, block in blocks(log_odds):
        # log sigmoid(x) = min(x, 0) - log(1 + exp(-|x|)), whose last term counts where it is no rounding of 0
        tail = np.abs(block)
        np.exp(np.negative(tail, out=tail), out=tail)
        tail += 1.0
        np.log(tail, out=tail)
        np.minimum(block, 0.0, out=block)
        block -= tail
        block -= block.max(axis=axis, keepdims=True)
        block -= np.log(np.exp(block).sum(axis=axis, keepdims=True))
        result[rows] = block if axis == 1 else block.T
    return result


def log_normalised(scores: FloatArray) -> FloatArray:
    """Log-softmax of the rows, in place; (N, K)."""
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def label_nll(log_probs: FloatArray, labels: IntArray) -> float:
    """Mean negative log-likelihood (nats) of the labels; infinite if one has probability 0."""
    return float(-log_probs[np.arange(len(labels)), labels].mean())
