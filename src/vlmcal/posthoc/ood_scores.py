"""Scores by which images of unknown classes are told from those of known ones; larger means known."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.auroc import auroc, fpr_at_95_tpr
from vlmcal.types.arrays import FloatArray, IntArray


def mcm(logits: ArrayLike, *, scale: float = 100.0, temperature: float = 1.0) -> FloatArray:
    """Maximum concept matching: the largest softmax of cosine similarities, (N,), without the logit scale.

    Args:
        logits: (N, K) scale * cosine.
        scale: The model's logit scale, which is divided out.
        temperature: tau; published 1.

    Raises:
        SpecError: A scale or temperature that is not above 0.

    Source: Ming et al., "Delving into out-of-distribution detection with vision-language
    representations", NeurIPS 2022, arXiv 2211.13445. Oracle: ``softmax(cosine / tau).max(1)`` of its code.

    Example:
        >>> round(float(mcm([[100.0, 0.0]])[0]), 4)
        0.7311
    """
    if not 0 < scale < np.inf or not 0 < temperature < np.inf:
        raise SpecError(
            f"mcm: expected a logit scale and a temperature above 0, got {scale:g} and {temperature:g}"
        )
    return np.asarray(softmax(_rows(logits) / (scale * temperature), axis=1).max(axis=1))


def energy(logits: ArrayLike, *, temperature: float = 1.0) -> FloatArray:
    """Negative free energy T log sum exp(z / T), (N,).

    Source: Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020, arXiv 2010.03759. Oracle:
    ``torch.logsumexp``.

    Example:
        >>> round(float(energy([[0.0, 0.0]])[0]), 4)
        0.6931
    """
    return np.asarray(temperature * logsumexp(_rows(logits) / temperature, axis=1))


def max_logit(logits: ArrayLike) -> FloatArray:
    """The largest logit, (N,).

    Source: Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", ICML 2022,
    arXiv 1911.11132.

    Example:
        >>> max_logit([[2.0, 5.0]]).tolist()
        [5.0]
    """
    return np.asarray(_rows(logits).max(axis=1))


def neg_label(logits: ArrayLike, negatives: ArrayLike, *, groups: int = 1) -> FloatArray:
    """Share of the softmax over known classes and negative words that falls on the classes, (N,).

    Args:
        logits: (N, K) similarities with the known classes, scaled as for a prediction.
        negatives: (N, M) with words far from all of them (:func:`negative_words`).
        groups: The negatives are divided into so many groups and the shares averaged; published 100.

    Source: Jiang et al., "Negative label guided OOD detection with pretrained vision-language models",
    ICLR 2024, arXiv 2403.20078. Oracle: the sum-softmax score of its code.

    Example:
        >>> neg_label([[1.0, 1.0]], [[1.0, 1.0]]).round(6).tolist()
        [0.5]
    """
    known, other = _rows(logits), _rows(negatives)
    if not 1 <= groups <= other.shape[1]:
        raise DataError(f"groups: expected 1 to {other.shape[1]} groups of negatives, got {groups}")
    inside = logsumexp(known, axis=1)
    shares = [
        np.exp(inside - np.logaddexp(inside, logsumexp(part, axis=1)))
        for part in np.array_split(other, groups, axis=1)
    ]
    mean: FloatArray = np.mean(shares, axis=0)
    return mean


def negative_words(
    words: ArrayLike, classes: ArrayLike, count: int, *, share: float = 0.95
) -> IntArray:
    """Rows (count,) of the words whose ``share`` percentile of cosines with the classes is smallest.

    Args:
        words: (V, D) text features of a vocabulary.
        classes: (K, D) of the known classes.
        count: M.
        share: Percentile, as a share; published 0.95.

    Example:
        >>> negative_words([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1]], 1).tolist()
        [1]
    """
    near = np.quantile(cosines(_rows(words), _rows(classes)), share, axis=1)
    found: IntArray = np.argsort(near, kind="stable")[:count]
    return found


class Detection(NamedTuple):
    """How well a score tells known from unknown.

    Attributes:
        auroc: Chance that a known image scores higher than an unknown one, ties one half.
        fpr95: Share of unknown images at or above the threshold that keeps 95 % of the known ones.
    """

    auroc: float
    fpr95: float


def detection(known: ArrayLike, unknown: ArrayLike) -> Detection:
    """AUROC and FPR95 of scores of known (N,) and unknown (M,) images.

    Oracle: scikit-learn's ``roc_auc_score``.

    Example:
        >>> detection([0.9, 0.8], [0.1, 0.85])
        Detection(auroc=0.75, fpr95=0.5)
    """
    values = np.concatenate([np.asarray(known, np.float64), np.asarray(unknown, np.float64)])
    if not np.isfinite(values).all():
        raise DataError("scores of known and unknown images: expected finite numbers")
    # Scores that differ stay apart, however far others lie.
    places = rankdata(values, method="dense")
    ranks = (places - 1) / max(1, places.max() - 1)
    inside = np.arange(len(values)) < np.size(known)
    return Detection(float(auroc(ranks, inside)), float(fpr_at_95_tpr(ranks, inside)))


def _rows(values: ArrayLike) -> FloatArray:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise DataError(f"expected finite numbers of shape (N, K), got shape {rows.shape}")
    return rows


def cosines(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cosines (N, M) of rows with others."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    product: FloatArray = one @ other.T
    return product
