"""What a judge's errors do to a calibration error, estimated on answers that a person labelled, too."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BINS = 5


class CorrectedError(NamedTuple):
    """A calibration error corrected for its judge, with its 95 % interval."""

    value: float
    low: float
    high: float


def corrected_ece(
    confidence: Sequence[float],
    verdicts: Sequence[bool],
    labels: Sequence[bool | None],
    *,
    resamples: int = 500,
    seed: int = 0,
) -> CorrectedError:
    """ECE over five bins of equal mass, in which the accuracy is corrected by a person's labels.

    In bin b, with p the confidences, j the judge's verdicts and h the labels of a random sample, the gap is
    ``mean_b(p - j) - mean_b(h - j)``, the second mean over the labelled rows of the bin (over all labelled
    rows where a bin has fewer than two); the error is the sum of its absolute values, weighted by the share
    of rows. The interval is that of a percentile bootstrap of rows, labelled and unlabelled ones apart. As
    every error of absolute values it is too high where there are few labels.

    Args:
        confidence: (N,) in [0, 1].
        verdicts: (N,) the judge's.
        labels: (N,) the person's, None where there is none.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Source: per bin, Angelopoulos et al., "Prediction-powered inference", Science 2023, arXiv 2301.09633.

    Example:
        >>> said = [True] * 40 + [False] * 10  # a judge that calls every second right answer wrong
        >>> person = [True] * 50
        >>> found = corrected_ece([0.9] * 50, said, person)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.1, 0.1, 0.1)
    """
    p, j = np.asarray(confidence, float), np.asarray(verdicts, float)
    known = np.array([label is not None for label in labels])
    h = np.array([0.0 if label is None else float(label) for label in labels])
    bins = np.searchsorted(np.unique(np.quantile(p, np.arange(1, _BINS) / _BINS)), p, side="left")
    value = _error(p, j, h, known, bins)
    draw = np.random.default_rng(seed)
    labelled, rest = np.flatnonzero(known), np.flatnonzero(~known)
    errors = []
    for _ in range(resamples):
        rows = np.concatenate(
            [draw.choice(part, len(part)) for part in (labelled, rest) if len(part)]
        )
        errors.append(_error(p[rows], j[rows], h[rows], known[rows], bins[rows]))
    low, high = np.quantile(errors, [0.025, 0.975])
    return CorrectedError(value, float(low), float(high))


def _error(
    p: Floats, j: Floats, h: Floats, known: NDArray[np.bool_], bins: NDArray[np.intp]
) -> float:
    error = 0.0
    pooled = float(np.mean((h - j)[known]))
    for each in np.unique(bins):
        own = bins == each
        labelled = own & known
        shift = float(np.mean((h - j)[labelled])) if labelled.sum() > 1 else pooled
        error += own.mean() * abs(float(np.mean((p - j)[own])) - shift)
    return float(error)
