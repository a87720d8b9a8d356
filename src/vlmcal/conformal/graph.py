"""A sparse graph of similar images, and class probabilities smoothed over it."""

import numpy as np
from scipy.sparse import csr_array
from scipy.special import softmax

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.neighbours import nearest


def unit_rows(features: FloatArray) -> FloatArray:
    """Image features (N, D) scaled to unit length, in float64.

    Raises:
        DataError: A row is zero or not finite.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    values = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if wrong.size:
        raise DataError(
            f"image_features: {wrong.size} of {len(values)} rows are zero or not finite, first in row "
            f"{wrong[0]}"
        )
    return np.asarray(values / norms)


def mutual_neighbours(features: FloatArray, k: int) -> csr_array:
    r"""Weights (N, N) of the graph that joins rows which are among each other's k nearest.

    :math:`W_{ij} = \exp(-\|v_i - v_j\|^2 / \sigma^2)` for mutual neighbours, else 0;
    :math:`\sigma` is the median distance from a row to its k nearest neighbours.

    Args:
        features: (N, D) unit rows.
        k: Neighbours looked at, fewer where N is small.

    Example:
        >>> w = mutual_neighbours(unit_rows(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])), k=1)
        >>> w.toarray().round(3).tolist()
        [[0.0, 0.368, 0.0], [0.368, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    n = len(features)
    k = min(k, n - 1)
    if k < 1:
        return csr_array((n, n))
    distances, near = nearest(features, None, k)
    edges = csr_array((np.ones(n * k), near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    mutual = edges.multiply(edges.T).tocoo()
    sigma_squared = float(np.median(distances) ** 2)
    gap = features[mutual.row] - features[mutual.col]
    distance = (gap * gap).sum(axis=1)
    # Copies of one image are all at distance 0 and then fully alike.
    weights = np.exp(-distance / max(sigma_squared, np.finfo(np.float64).tiny))
    return csr_array((weights, (mutual.row, mutual.col)), shape=(n, n))


def smooth(
    probabilities: FloatArray, weights: csr_array, gamma: float, iterations: int
) -> FloatArray:
    r"""Class probabilities (N, K) drawn towards those of their neighbours.

    Repeats :math:`z_{ik} \leftarrow q_{ik} \exp(\gamma \sum_j W_{ij} z_{jk})`, rescaled over k, from
    z = q.

    Args:
        probabilities: q, (N, K).
        weights: W, (N, N).
        gamma: Strength; 0 changes nothing.
        iterations: Number of repetitions.

    Example:
        >>> w = csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
        >>> smooth(np.array([[0.5, 0.5], [1.0, 0.0]]), w, gamma=1.0, iterations=1).round(3).tolist()
        [[0.731, 0.269], [1.0, 0.0]]
    """
    with np.errstate(divide="ignore"):
        start = np.log(probabilities)
    current = probabilities
    for _ in range(iterations):
        current = softmax(start + gamma * (weights @ current), axis=1)
    return current
