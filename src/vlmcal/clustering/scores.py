"""How well clusters agree with classes; labels are read for this alone."""

from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.types.arrays import IntArray, Numbers, as_array


class Agreement(NamedTuple):
    """Agreement of clusters with classes.

    Attributes:
        accuracy: Share of rows in the cluster matched to their class, under the best one-to-one matching.
        ari: Adjusted Rand index.
        nmi: Normalised mutual information.
        matched: (K,) class matched to each cluster, -1 where there are more clusters than classes.
        ece: Expected calibration error of the confidence that a row is in the cluster of its class, 15 bins;
            NaN without confidences.
    """

    accuracy: float
    ari: float
    nmi: float
    matched: IntArray
    ece: float = float("nan")


def agreement(clusters: Numbers, labels: Numbers) -> Agreement:
    """Compare clusters (N,) with classes (N,): numbers from 0, or names, which count in sorted order.

    Raises:
        DataError: Shapes differ, there are no rows, or a number is no whole one of at least 0.

    Source: Kuhn, Naval Research Logistics 1955 (matching); Hubert and Arabie, Journal of Classification 1985.

    Example:
        >>> out = agreement([1, 1, 0, 0], [0, 0, 1, 1])
        >>> out.accuracy, out.ari, out.matched.tolist()
        (1.0, 1.0, [1, 0])
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    found, truth = _numbers(clusters, "clusters"), _numbers(labels, "labels")
    if found.ndim != 1 or found.shape != truth.shape or not found.size:
        raise DataError(
            f"clusters and labels: expected one shape (N,), got {found.shape}, {truth.shape}"
        )
    counts = np.zeros((int(found.max()) + 1, int(truth.max()) + 1), dtype=np.int64)
    np.add.at(counts, (found, truth), 1)
    rows, columns = linear_sum_assignment(-counts)
    matched = np.full(len(counts), -1, dtype=np.int64)
    matched[rows] = columns
    return Agreement(
        float(counts[rows, columns].sum() / len(found)),
        float(adjusted_rand_score(truth, found)),
        float(normalized_mutual_info_score(truth, found)),
        matched,
    )


def scored(clusters: Numbers, confidence: Numbers, labels: Numbers) -> Agreement:
    """Compare clusters (N,) and the confidence in them (N,) with classes (N,).

    Raises:
        DataError: Shapes differ, or there are no rows.

    Example:
        >>> found = scored([1, 1, 0, 0], [0.9, 0.9, 0.9, 0.9], [0, 0, 1, 1])
        >>> found.accuracy, round(found.ece, 3)
        (1.0, 0.1)
    """
    found = agreement(clusters, labels)
    right = found.matched[_numbers(clusters, "clusters")] == _numbers(labels, "labels")
    return found._replace(ece=float(ece(confidence, right)))


def _numbers(values: Numbers, where: str) -> IntArray:
    given = as_array(values)
    if given.dtype.kind in "OSU":
        given = np.unique(given.astype(np.str_), return_inverse=True)[1]
    whole = given.dtype.kind in "iub" or bool(np.all(given == np.floor(given)))
    if not whole or (given.size and given.min() < 0):
        raise DataError(f"{where}: expected whole numbers of at least 0, or names")
    numbers: IntArray = given.astype(np.int64)
    return numbers
