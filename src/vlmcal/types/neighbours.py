"""The nearest neighbours in image-feature space, and how far they are."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, IntArray, as_array


def nearest(
    reference: FloatArray, queries: FloatArray | None, k: int
) -> tuple[FloatArray, IntArray]:
    """Euclidean distances and indices (N, k) of the k nearest reference rows; without queries, of each other.

    Raises:
        DataError: The features have different lengths.

    Example:
        >>> distances, rows = nearest(np.array([[0.0], [1.0], [3.0]]), None, 1)
        >>> distances.ravel().tolist(), rows.ravel().tolist()
        ([1.0, 1.0, 2.0], [1, 0, 1])
    """
    from sklearn.neighbors import NearestNeighbors  # the first metric would wait for it

    if queries is not None and queries.shape[1] != reference.shape[1]:
        raise DataError(
            f"image_features: expected {reference.shape[1]} numbers per image as in the reference rows, got "
            f"{queries.shape[1]}; use the same model for both"
        )
    index = NearestNeighbors(n_neighbors=k).fit(reference)
    distances, rows = index.kneighbors(queries)
    return distances, rows


def knn_distance(
    features: Any, *, k: int = 10, reference: Any = None, normalise: bool = True
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
    available = len(others) - own
    if available < 1 or k < 1:
        raise DataError(
            f"knn_distance: expected k >= 1 and at least one other row, got k = {k} and {available}"
        )
    distances, _ = nearest(others, None if own else rows, min(k, available))
    return np.asarray(distances.mean(axis=1))


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
