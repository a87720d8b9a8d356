"""Another mix of classes than the model was made for: stated or estimated; and performance without labels."""

from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray, as_array


def with_prior(probabilities: FloatArray, old: FloatArray, new: FloatArray) -> FloatArray:
    """Probabilities (N, K) under other shares of the classes: p_k new_k / old_k, normalised.

    It holds where the classes look the same and only their shares differ (label shift).

    Args:
        probabilities: (N, K) rows that sum to 1, calibrated under ``old``.
        old: (K,) shares that the model was made for.
        new: (K,) shares here.

    Raises:
        SpecError: Shares that are not positive or do not sum to 1.

    Source: Saerens, Latinne and Decaestecker, Neural Computation 2002; Elkan, IJCAI 2001.

    Example:
        >>> with_prior(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1])).tolist()
        [[0.9, 0.1]]
    """
    shares = []
    for name, given in (("old", old), ("new", new)):
        values = as_array(given).astype(np.float64)
        if values.shape != (probabilities.shape[1],) or (values <= 0).any():
            raise SpecError(
                f"{name}: expected {probabilities.shape[1]} positive shares, got {values}"
            )
        if abs(values.sum() - 1) > 1e-6:
            raise SpecError(f"{name}: shares sum to {values.sum():g}, expected 1")
        shares.append(values)
    turned = as_array(probabilities).astype(np.float64) * (shares[1] / shares[0])
    return np.asarray(turned / turned.sum(axis=1, keepdims=True))


def estimated_prior(
    probabilities: FloatArray, old: FloatArray, *, steps: int = 1000, tolerance: float = 1e-9
) -> FloatArray:
    """Shares (K,) of the classes in unlabelled rows, by expectation maximisation.

    It is the maximum of the likelihood if the probabilities are calibrated under ``old`` and only the shares
    differ; from a miscalibrated model it can be far off.

    Source: Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 2002.

    Example:
        >>> p = np.array([[0.9, 0.1]] * 9 + [[0.1, 0.9]])
        >>> estimated_prior(p, np.array([0.5, 0.5])).round(3).tolist()
        [1.0, 0.0]
    """
    share = as_array(old).astype(np.float64)
    start = np.maximum(share, 1e-12)
    rows = as_array(probabilities).astype(np.float64)
    for _ in range(steps):
        turned = rows * (share / start)
        turned /= turned.sum(axis=1, keepdims=True)
        new = turned.mean(axis=0)
        if np.abs(new - share).max() < tolerance:
            return np.asarray(new)
        share = new
    return np.asarray(share)


class Expected(NamedTuple):
    """What calibrated probabilities say about themselves.

    Attributes:
        accuracy: Expected accuracy.
        confusion: (K, K) expected counts, true class by predicted class.
    """

    accuracy: float
    confusion: FloatArray


def expected_performance(probabilities: FloatArray) -> Expected:
    """Expected accuracy and confusion matrix of rows without labels (confidence-based estimation, CBPE).

    The probability of each class is the expected number of rows of it. True only if the probabilities are
    calibrated for these rows: calibrate first, and check on a labelled sample.

    Raises:
        DataError: Not (N, K) probabilities.

    Source: Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021 (mean
    confidence); Humphrey et al., "Machine-learning classification of astronomical sources", MNRAS 2022.

    Example:
        >>> found = expected_performance(np.array([[0.9, 0.1], [0.2, 0.8]]))
        >>> round(found.accuracy, 3), found.confusion.round(2).tolist()
        (0.85, [[0.9, 0.2], [0.1, 0.8]])
    """
    rows = as_array(probabilities).astype(np.float64)
    if rows.ndim != 2 or rows.size == 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("expected probabilities (N, K) whose rows sum to 1")
    predicted = rows.argmax(axis=1)
    confusion = np.zeros((rows.shape[1], rows.shape[1]))
    np.add.at(confusion.T, predicted, rows)
    return Expected(float(rows.max(axis=1).mean()), confusion)
