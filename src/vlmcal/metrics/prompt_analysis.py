"""What tuning did to the prompts: spread of text features, drift from the frozen ones, logit margins."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import metric
from vlmcal.types.arrays import FloatArray, as_array, as_labels

_MARGIN = "TCPT, CVPR 2026, arXiv 2602.19024"


def unit_rows(features: Any, classes: Any = None, where: str = "text_features") -> FloatArray:
    """Rows (K, D) scaled to unit length, optionally those of some classes only.

    Raises:
        DataError: Not two-dimensional, NaN, or a row of length 0.
    """
    rows = as_array(features).astype(np.float64)
    if rows.ndim != 2 or rows.size == 0 or not np.isfinite(rows).all():
        raise DataError(f"{where}: expected finite numbers of shape (K, D), got shape {rows.shape}")
    if classes is not None:
        rows = rows[as_array(classes)]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not length.size or not (length > 0).all():
        raise DataError(f"{where}: no rows left, or a row of length 0")
    return np.asarray(rows / length)


@metric(
    higher_is_better=None,
    bounds=(0.0, 2.0),
    definition="Mean over classes of the mean Euclidean distance from a class's unit-length text feature to "
    "its {neighbours} nearest other ones.",
    reference="DOR, ICML 2025, arXiv 2410.02681; DAC, ICML 2024, arXiv 2402.04655",
)
def feature_divergence(text_features: Any, *, neighbours: int = 5, classes: Any = None) -> float:
    """Feature divergence of the text labels.

    Args:
        text_features: (K, D), scaled to unit length here.
        neighbours: How many of the nearest other classes (fewer when there are not as many).
        classes: Indices or mask of the classes to look at (base or new), by default all.

    Returns:
        Mean distance in [0, 2]; NaN with a single class.

    Source: DOR (dynamic outlier regularization), ICML 2025, arXiv 2410.02681.

    Example:
        >>> round(feature_divergence([[1.0, 0.0], [0.0, 1.0]]), 6)
        1.414214
    """
    rows = unit_rows(text_features, classes)
    if len(rows) < 2:
        return float("nan")
    squares = np.maximum(2 - 2 * rows @ rows.T, 0)
    np.fill_diagonal(squares, np.inf)
    near = np.sort(squares, axis=1)[:, : min(neighbours, len(rows) - 1)]
    return float(np.sqrt(near).mean())


def pairwise_angles(features: FloatArray) -> FloatArray:
    """Angles in degrees between all pairs of unit rows, (K (K - 1) / 2,).

    Example:
        >>> pairwise_angles(np.eye(2)).tolist()
        [90.0]
    """
    cosine = np.clip(features @ features.T, -1.0, 1.0)
    return np.asarray(np.degrees(np.arccos(cosine[np.triu_indices(len(features), k=1)])))


@metric(
    higher_is_better=None,
    bounds=(0.0, 180.0),
    definition="Mean angle in degrees between the text features of two classes.",
    reference="CalibPrompt, BMVC 2025, arXiv 2509.15226; A-TPT",
)
def angular_spread(text_features: Any, *, classes: Any = None) -> float:
    """Mean pairwise angle between class text features, in degrees.

    Args:
        text_features: (K, D), scaled to unit length here.
        classes: Indices or mask of the classes to look at, by default all.

    Returns:
        Degrees; NaN with a single class.

    Example:
        >>> round(angular_spread([[1.0, 0.0], [0.0, 1.0]]), 6)
        90.0
    """
    rows = unit_rows(text_features, classes)
    return float(pairwise_angles(rows).mean()) if len(rows) > 1 else float("nan")


@metric(
    higher_is_better=None,
    bounds=(0.0, 180.0),
    definition="Smallest angle in degrees between the text features of two classes.",
    reference="A-TPT (mean of each class's smallest angle); CalibPrompt, BMVC 2025",
)
def smallest_angle(text_features: Any, *, classes: Any = None) -> float:
    """Smallest pairwise angle between class text features, in degrees; NaN with a single class.

    Example:
        >>> round(smallest_angle([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 6)
        45.0
    """
    rows = unit_rows(text_features, classes)
    return float(pairwise_angles(rows).min()) if len(rows) > 1 else float("nan")


@metric(
    higher_is_better=None,
    definition="Mean Euclidean distance of the unit-length text features to their mean.",
    reference="C-TPT, ICLR 2024, arXiv 2403.14119 (average text feature dispersion)",
)
def text_dispersion(text_features: Any, *, classes: Any = None) -> float:
    """Average text feature dispersion, mean over classes of ||t_k - mean t||.

    Example:
        >>> round(text_dispersion([[1.0, 0.0], [0.0, 1.0]]), 6)
        0.707107
    """
    rows = unit_rows(text_features, classes)
    return float(np.linalg.norm(rows - rows.mean(axis=0), axis=1).mean())


@metric(
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="||mean - frozen mean||^2 + ||covariance - frozen covariance||_F^2 of the unit-length text "
    "features (covariance divided by K).",
    reference=_MARGIN,
)
def text_moment_distance(
    text_features: Any, zero_shot_text_features: Any, *, classes: Any = None
) -> float:
    """Distance of first and second moments of tuned and frozen text features.

    Args:
        text_features: (K, D) tuned.
        zero_shot_text_features: (K, D) frozen.
        classes: Indices or mask of the classes to look at, by default all.

    Raises:
        DataError: Shapes differ.

    Source: TCPT, CVPR 2026, arXiv 2602.19024.

    Example:
        >>> round(text_moment_distance([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]), 6)
        0.75
    """
    tuned = unit_rows(text_features, classes)
    frozen = unit_rows(zero_shot_text_features, classes, "zero_shot_text_features")
    if tuned.shape != frozen.shape:
        raise DataError(f"text features differ in shape: {tuned.shape} and {frozen.shape}")
    means = [rows.mean(axis=0) for rows in (tuned, frozen)]
    first = float(np.square(means[0] - means[1]).sum())
    centred = [rows - mean for rows, mean in zip((tuned, frozen), means, strict=True)]
    # ||A'A - B'B||_F^2 by K x K products, which is smaller than D x D for few classes.
    a, b = centred
    cross = [np.square(one @ other.T).sum() for one, other in ((a, a), (a, b), (b, b))]
    second = float(cross[0] - 2 * cross[1] + cross[2]) / len(tuned) ** 2
    return first + max(second, 0.0)


def margins(logits: Any, labels: Any) -> FloatArray:
    """Logit of the label minus the largest other logit, (N,); negative where the row is wrong.

    Args:
        logits: (N, K) with K >= 2.
        labels: (N,) integers in 0 .. K - 1.

    Example:
        >>> margins([[3.0, 1.0], [0.0, 2.0]], [0, 0]).tolist()
        [2.0, -2.0]
    """
    scores = as_array(logits).astype(np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise DataError(f"logits: expected shape (N, K) with K >= 2, got {scores.shape}")
    truth = as_labels(labels, scores.shape[1])
    rows = np.arange(len(truth))
    own = scores[rows, truth].copy()
    scores[rows, truth] = -np.inf
    return np.asarray(own - scores.max(axis=1))


@metric(
    higher_is_better=None,
    bounds=(float("-inf"), float("inf")),
    definition="Mean of (logit of the label - largest other logit), in units of the scaled logits.",
    reference=_MARGIN,
)
def margin_mean(logits: Any, labels: Any) -> float:
    """Mean inter-class margin.

    Args:
        logits: (N, K) scaled logits.
        labels: (N,) integers in 0 .. K - 1.

    Source: TCPT, CVPR 2026, arXiv 2602.19024.

    Example:
        >>> margin_mean([[3.0, 1.0], [0.0, 1.0]], [0, 0])
        0.5
    """
    return float(margins(logits, labels).mean())


@metric(
    higher_is_better=None,
    bounds=(0.0, float("inf")),
    definition="Variance (divided by N) of (logit of the label - largest other logit).",
    reference=_MARGIN,
)
def margin_variance(logits: Any, labels: Any) -> float:
    """Variance of the inter-class margin over rows, divided by N.

    Example:
        >>> margin_variance([[3.0, 1.0], [0.0, 1.0]], [0, 0])
        2.25
    """
    return float(margins(logits, labels).var())
