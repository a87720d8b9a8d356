"""Labels that are probably wrong: confident learning from out-of-sample probabilities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmcal.types.arrays import FloatArray, IntArray, StrArray


class LabelNoise(NamedTuple):
    """What probabilities say of the labels.

    Attributes:
        joint: (K, K) how many images with label i (row) confidently look like class j (column).
        rows: Images whose label is doubted, the most doubtful first.
        suggested: The class that each of them looks like.
        confidence: Probability of the given label, for each.
    """

    joint: IntArray
    rows: IntArray
    suggested: IntArray
    confidence: FloatArray


def confident_learning(probabilities: FloatArray, labels: IntArray) -> LabelNoise:
    """Candidates for wrong labels: the off-diagonal of the confident joint.

    t_j = mean of p_ij over the images i with label j. An image is counted in C[label, j] for the class j of
    the largest p_ij among those with p_ij >= t_j; without one, it is not counted. Candidates are counted off
    the diagonal; they are ordered by p of the given label, smallest first.

    Source: Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 2021,
    arXiv 1911.00068, section 3.1.

    Args:
        probabilities: (N, K) out of sample: by cross-validation, or of a model not trained on these.
        labels: (N,) given labels. Classes without an image have threshold infinity.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.95, 0.05]])
        >>> found = confident_learning(p, np.array([0, 0, 1, 1, 1]))
        >>> found.rows.tolist(), found.joint.tolist()
        ([4], [[1, 0], [1, 2]])
    """
    p = np.asarray(probabilities, np.float64)
    n, k = p.shape
    given = np.zeros((n, k), bool)
    given[np.arange(n), labels] = True
    counts = given.sum(axis=0)
    means = np.where(given, p, 0.0).sum(axis=0) / np.maximum(counts, 1)
    thresholds = np.where(counts > 0, means, np.inf)
    confident = p >= thresholds - 1e-6
    looks = np.where(confident, p, -1.0).argmax(axis=1)
    counted = confident.any(axis=1)
    joint = np.zeros((k, k), np.int64)
    np.add.at(joint, (labels[counted], looks[counted]), 1)
    doubted = np.flatnonzero(counted & (looks != labels))
    own = p[doubted, labels[doubted]]
    order = np.argsort(own, kind="stable")
    return LabelNoise(joint, doubted[order], looks[doubted][order], own[order])


def cross_validated(
    features: NDArray[np.floating], labels: IntArray, groups: StrArray | None, *, folds: int = 5
) -> FloatArray:
    """(N, K) probabilities of a logistic regression on features, each row by a fit without its fold.

    Groups stay together. Classes that a fold's training rows lack have probability 0 there. Features are
    scaled to length 1 and centred; C = 0.1 as scikit-learn counts it.

    Raises:
        ValueError: Fewer groups or rows than folds.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> p = cross_validated(rng.normal(size=(60, 4)) + 3 * y[:, None], y, None)
        >>> p.shape, bool((p.argmax(1) == y).mean() > 0.8)
        ((60, 2), True)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    x = np.asarray(features, np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = kind(n_splits=folds, shuffle=True, random_state=0).split(x, labels, groups)
    probabilities = np.zeros((len(x), int(labels.max()) + 1))
    for train, test in parts:
        model = LogisticRegression(C=0.1, max_iter=300).fit(x[train], labels[train])
        probabilities[np.ix_(test, model.classes_)] = model.predict_proba(x[test])
    return probabilities
