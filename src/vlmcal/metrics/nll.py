"""Negative log-likelihood (log loss)."""

from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import mean_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray
from vlmcal.types.scores import ClassProbabilities

CLIP = 1e-12


def nll_rows(probabilities: Any, labels: Any, *, clip: float = CLIP) -> FloatArray:
    """Minus the log-probability of each label, at most -log(clip), (N,)."""
    if not 0 <= clip < 1:
        raise SpecError(f"clip: expected a probability in [0, 1), got {clip}")
    source = ClassProbabilities.of(probabilities)
    floor = np.log(clip) if clip > 0 else -np.inf
    # Logits carry more than a rounded probability can, so only stated probabilities are clipped.
    rows = source.log_likelihood(labels)
    return -rows if source.kind == "logits" else -np.maximum(rows, floor)


@mean_metric(
    additive=True,
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="Minus the natural logarithm of the label's probability, mean over rows; probabilities "
    "(not logits) are clipped at 1e-12.",
    reference="Good, Rational decisions, JRSS B 1952",
)
def nll(probabilities: Any, labels: Any, *, clip: float = CLIP) -> FloatArray:
    """Negative log-likelihood -(1 / N) sum_i log p_i,label_i, in nats.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        clip: Smallest probability that is used; 0 lets a certain wrong row make the score infinite.

    Raises:
        DataError: Rows that are not distributions, or labels out of range.

    Example:
        >>> round(nll([[0.5, 0.5], [0.2, 0.8]], [0, 1]), 6)
        0.458145
    """
    return nll_rows(probabilities, labels, clip=clip)


@mean_metric(
    additive=True,
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="Log loss of the confidence as a forecast of correctness, clipped at 1e-12, mean over "
    "rows.",
    reference="Good, Rational decisions, JRSS B 1952",
)
def top_label_nll(confidence: Any, correct: Any, *, clip: float = CLIP) -> FloatArray:
    """Log loss of stated confidences: mean of -log c for right and -log(1 - c) for wrong answers.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        clip: Smallest probability that is used.

    Example:
        >>> round(top_label_nll([0.5, 0.8], [True, True]), 6)
        0.458145
    """
    values, verdicts = as_confidences(confidence, correct)
    return -np.log(np.maximum(np.where(verdicts, values, 1 - values), clip))
