"""Small synthetic models with known calibration, and slow plain versions of the metrics."""

import numpy as np
from scipy.special import softmax

from vlmcal.types.predictions import Predictions


def binary(n, seed=0, shift=0.0):
    """Confidence and correctness; ``shift`` lowers the accuracy everywhere."""
    generator = np.random.default_rng(seed)
    confidence = generator.beta(5, 2, n)
    return confidence, generator.random(n) < np.clip(confidence - shift, 0, 1)


def classes(n, k=5, seed=0, scale=1.0):
    """Predictions of softmax(scale * z) where the labels come from softmax(z)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * 1.5
    chance = softmax(logits, axis=1).cumsum(axis=1)
    labels = np.minimum((chance < generator.random((n, 1))).sum(axis=1), k - 1)
    return Predictions(logits=scale * logits, labels=labels)


def slow_bin(confidence, bins, edges="right", tolerance=1e-6):
    """Bin by bin, after snapping, with comparisons only."""
    for number in range(1, bins + 1):
        edge = number / bins
        if abs(confidence - edge) <= tolerance:
            return min(number, bins - 1) if edges == "left" else number - 1
        if confidence < edge:
            return number - 1
    raise AssertionError(confidence)


def slow_ece(confidence, correct, bins=15, edges="right", norm="l1"):
    """ECE from lists, one row at a time."""
    cells = {}
    for c, y in zip(confidence, correct, strict=True):
        cells.setdefault(slow_bin(c, bins, edges), []).append((c, y))
    n = len(confidence)
    gaps = []
    for rows in cells.values():
        gap = abs(sum(c for c, _ in rows) - sum(y for _, y in rows)) / len(rows)
        gaps.append((len(rows) / n, gap))
    if norm == "max":
        return max(gap for _, gap in gaps)
    if norm == "l2":
        return sum(share * gap**2 for share, gap in gaps) ** 0.5
    return sum(share * gap for share, gap in gaps)
