"""Squared kernel calibration error (SKCE), unbiased, with its interval and test."""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.bootstrap import FEWEST_ERRORS
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = "Widmann, Lindsten and Zachariah, NeurIPS 2019, arXiv 1910.11385"
_SMALLEST_WIDTH = 2e-3
_BLOCK = 1 << 21
_DRAWS = 200


class SkceTest(NamedTuple):
    """SKCE and the test of perfect calibration.

    Attributes:
        value: Unbiased estimate; its expectation is 0 for a calibrated model, so it may be negative.
        p_value: Share of a calibrated model's samples with at least this value.
        error: Standard error of ``value`` (both orders of the U-statistic).
    """

    value: float
    p_value: float
    error: float


class _Line:
    """Sums over all pairs with the kernel exp(-|c - c'| / width) in O(N) after one sort."""

    def __init__(self, confidence: FloatArray, width: float) -> None:
        if not width >= _SMALLEST_WIDTH:
            raise SpecError(f"width: expected at least {_SMALLEST_WIDTH}, got {width}")
        self.order = np.argsort(confidence)
        scaled = confidence[self.order] / width
        # Halves keep the factors within float64 for every allowed width.
        self.up, self.down = np.exp(scaled - scaled.mean()), np.exp(scaled.mean() - scaled)

    def others(self, values: FloatArray) -> FloatArray:
        """sum_{j != i} k(c_i, c_j) v_j for each i, in sorted order; ``values`` (..., N) sorted."""
        rising, falling = values * self.up, values * self.down
        left = (np.cumsum(rising, axis=-1) - rising) * self.down
        total = np.cumsum(falling[..., ::-1], axis=-1)[..., ::-1]
        return np.asarray(left + (total - falling) * self.up)


def skce_test(
    confidence: Any,
    correct: Any,
    *,
    width: float = 0.2,
    draws: int = 500,
    seed: int = 0,
    groups: Any = None,
) -> SkceTest:
    """SKCE with the test of perfect calibration: labels are drawn from the confidences themselves.

    With groups, whose rows are not independent, the residuals keep their size and each group gets a random
    sign.

    Args:
        confidence: (N,) in [0, 1], N >= 2.
        correct: (N,) bool.
        width: Kernel width.
        draws: Number of draws.
        seed: Seed of the draws.
        groups: (N,) clusters that share a sign, or None.

    Source: Widmann, Lindsten and Zachariah, NeurIPS 2019, arXiv 1910.11385; Broecker and Smith, Weather and
    Forecasting 2007 (labels from the confidences); Arcones and Gine, Annals of Statistics 1992 (signs).

    Example:
        >>> result = skce_test([0.9] * 20, [True] * 5 + [False] * 15)
        >>> round(result.value, 3), result.p_value < 0.05
        (0.413, True)
    """
    values, verdicts = as_confidences(confidence, correct)
    line, residual, n = _prepared(values, verdicts, width)
    partners = line.others(residual)
    value = float(residual @ partners) / (n * (n - 1))
    first = residual * partners / (n - 1)
    second = float(np.sum(residual**2 * _Line(values, width / 2).others(residual**2)))
    error = float(np.sqrt(4 * float(first.var()) / n + 2 * second / (n * (n - 1)) ** 2))
    generator = np.random.default_rng(seed)
    ordered = values[line.order]
    units = None if groups is None else np.unique(groups, return_inverse=True)[1][line.order]
    at_least = 1
    for _ in range(draws):
        if units is None:
            drawn = (generator.random(n) < ordered) - ordered
        else:
            drawn = residual * (generator.integers(0, 2, int(units.max()) + 1) * 2 - 1)[units]
        at_least += float(drawn @ line.others(drawn)) / (n * (n - 1)) >= value - 1e-15
    return SkceTest(value, at_least / (draws + 1), error)


def _prepared(
    values: FloatArray, verdicts: BoolArray, width: float
) -> tuple[_Line, FloatArray, int]:
    n = len(values)
    if n < 2:
        raise DataError(f"skce: expected at least 2 rows to make pairs, got {n}")
    line = _Line(values, width)
    return line, (verdicts - values)[line.order], n


def _infer(confidence: Any, correct: Any, *, width: float = 0.2, asked: Asked) -> Estimate:
    level, groups, generator = asked
    seed = int(generator.integers(1 << 31))
    found = skce_test(confidence, correct, width=width, draws=_DRAWS, seed=seed, groups=groups)
    verdicts = as_confidences(confidence, correct)[1]
    n, p = len(verdicts), found.p_value
    if groups is not None or min(verdicts.sum(), n - verdicts.sum()) < FEWEST_ERRORS:
        return Estimate(found.value, n=n, floor=0.0, p_value=p)
    reach = float(special.ndtri((1 + level) / 2)) * found.error
    # The statistic is nearly a square, hence skewed to the right: the upper end as on the root's scale.
    skew = reach**2 / (4 * max(found.value, found.error)) if found.error > 0 else 0.0
    low = found.value - reach
    if p >= (1 - level) / 2:
        low = min(low, 0.0)
    return Estimate(
        found.value,
        low,
        found.value + reach + skew,
        n=n,
        method="U-statistic, normal",
        floor=0.0,
        p_value=p,
    )


@metric(
    calibration=True,
    bounds=(-1.0, 1.0),
    definition="Unbiased squared kernel calibration error of the confidence: mean over pairs of rows of "
    "exp(-|c - c'| / {width}) (y - c)(y' - c'); about 0 for a calibrated model, possibly negative.",
    reference=_REFERENCE,
    interval="normal, with both orders of the U-statistic's variance (independent rows, at least 5 of them "
    "wrong and 5 right)",
    infer=_infer,
)
def skce(confidence: Any, correct: Any, *, width: float = 0.2) -> float:
    """SKCE of the top label, (1 / (N (N - 1))) sum_{i != j} exp(-|c_i - c_j| / h) (y_i - c_i)(y_j - c_j).

    Args:
        confidence: (N,) in [0, 1], N >= 2.
        correct: (N,) bool.
        width: Kernel width h.

    Raises:
        DataError: Fewer than two rows, NaN, or confidences outside [0, 1].

    Source: Widmann, Lindsten and Zachariah, "Calibration tests in multi-class classification",
    NeurIPS 2019, arXiv 1910.11385.

    Example:
        >>> round(skce([0.9, 0.7], [False, False]), 6)
        0.231764
    """
    values, verdicts = as_confidences(confidence, correct)
    line, residual, n = _prepared(values, verdicts, width)
    return float(residual @ line.others(residual)) / (n * (n - 1))


@metric(
    higher_is_better=False,
    bounds=(-2.0, 2.0),
    definition="Unbiased squared kernel calibration error of the whole probability vector: mean over pairs "
    "of exp(-||p - p'|| / {width}) (e_y - p) . (e_y' - p').",
    reference=_REFERENCE,
)
def canonical_skce(probabilities: Any, labels: Any, *, width: float = 0.2) -> float:
    """SKCE of the probability vectors, in blocks of bounded memory; takes N^2 K operations.

    Args:
        probabilities: (N, K) rows that sum to 1, N >= 2.
        labels: (N,) integers in 0 .. K - 1.
        width: Kernel width.

    Source: Widmann, Lindsten and Zachariah, NeurIPS 2019, arXiv 1910.11385.

    Example:
        >>> round(canonical_skce([[0.8, 0.2], [0.8, 0.2]], [1, 1]), 6)
        1.28
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    dense = source.dense()
    n = len(dense)
    if n < 2:
        raise DataError(f"canonical_skce: expected at least 2 rows to make pairs, got {n}")
    residual = np.eye(source.shape[1])[truth] - dense
    squares = np.square(dense).sum(axis=1)
    total = 0.0
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        gap = squares[rows, None] + squares - 2 * dense[rows] @ dense.T
        kernel = np.exp(-np.sqrt(np.maximum(gap, 0)) / width)
        total += float((kernel * (residual[rows] @ residual.T)).sum())
    return (total - float(np.square(residual).sum())) / (n * (n - 1))
