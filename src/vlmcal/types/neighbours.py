"""Distance to the nearest neighbours in image-feature space, in bounded memory."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, as_array

_BLOCK = 1 << 24


def knn_distance(
    features: Any,
    *,
    k: int = 10,
    reference: Any = None,
    normalise: bool = True,
) -> FloatArray:
    """Mean Euclidean distance of each row to its k nearest neighbours.

    Args:
        features: (N, D) image features.
        k: Number of neighbours (fewer are used when there are not as many).
        reference: (M, D) rows among which neighbours are sought; by default the rows themselves, each
            without itself.
        normalise: Scale all rows to unit length first.

    Returns:
        (N,) distances; small where many similar images are known.

    Raises:
        DataError: Not two-dimensional, NaN, other widths, or nothing to be near to.

    Source: Xiong et al., "Proximity-informed calibration for deep neural networks", NeurIPS 2023,
    arXiv 2306.04590 (proximity is exp(-distance)).

    Example:
        >>> knn_distance([[0.0], [1.0], [3.0]], k=1, normalise=False).tolist()
        [1.0, 1.0, 2.0]
    """
    rows = _matrix(features, "features", normalise)
    own = reference is None
    others = rows if own else _matrix(reference, "reference", normalise)
    if others.shape[1] != rows.shape[1]:
        raise DataError(f"features have width {rows.shape[1]}, reference {others.shape[1]}")
    available = len(others) - own
    if available < 1 or k < 1:
        raise DataError(
            f"knn_distance: expected k >= 1 and at least one other row, got k = {k} and {available}"
        )
    k = min(k, available)
    squares = np.einsum("nd,nd->n", others, others)
    result = np.empty(len(rows))
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        distance = squares - 2 * (part @ others.T) + np.einsum("nd,nd->n", part, part)[:, None]
        if own:
            distance[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        nearest = np.partition(distance, k - 1, axis=1)[:, :k]
        result[start : start + step] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
    return result


def _matrix(values: Any, where: str, normalise: bool) -> FloatArray:
    array = as_array(values).astype(np.float64)
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"{where}: expected shape (N, D), got {array.shape}")
    if not np.isfinite(array).all():
        raise DataError(f"{where}: NaN or infinite values")
    if not normalise:
        return array
    length = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(array / np.where(length > 0, length, 1.0))
