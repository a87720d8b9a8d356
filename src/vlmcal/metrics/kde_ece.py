"""Calibration error by kernel density estimates: Beta/Dirichlet kernels, and CalibPrompt's Gaussian form."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.cell_residuals import judged
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.scores import ClassProbabilities

Kernel = Callable[[FloatArray, FloatArray], FloatArray]
Kind = Literal["top-label", "marginal", "canonical"]
_BLOCK = 1 << 21
_INSIDE = 1e-6
_CELLS = 1 << 12
_SELECT_ROWS = 1000
_NULL_DRAWS = 99
WIDTHS = np.concatenate([np.logspace(-5, -1, 15), np.linspace(0.2, 1.0, 5)])
_DIRICHLET = "Popordanoska, Sayer and Blaschko, NeurIPS 2022, arXiv 2210.07810"


class _Points(NamedTuple):
    """Rows, or cells of many rows: position (M,), sums (M, D) of D sets of outcomes, size in rows (M,)."""

    position: FloatArray
    hits: FloatArray
    size: FloatArray


def _points(values: FloatArray, verdicts: BoolArray) -> _Points:
    """Rows as they are, or (beyond 4096 rows) the mean positions of 4096 cells; outcomes (N,) or (N, D)."""
    outcomes = verdicts.reshape(len(values), -1)
    if len(values) <= _CELLS:
        return _Points(values, outcomes.astype(np.float64), np.ones(len(values)))
    index = np.minimum((values * _CELLS).astype(np.int64), _CELLS - 1)
    count = np.bincount(index, minlength=_CELLS).astype(np.float64)
    filled = count > 0
    position = np.bincount(index, values, minlength=_CELLS)[filled] / count[filled]
    hits = [np.bincount(index[column], minlength=_CELLS)[filled] for column in outcomes.T]
    return _Points(position, np.stack(hits, axis=1).astype(np.float64), count[filled])


def _leave_one_out(points: _Points, kernel: Kernel, power: int) -> FloatArray:
    """Mean over rows of |confidence - kernel regression of the other rows' outcomes| ** power, (D,)."""
    position, hits, count = points.position, points.hits, points.size[:, None]
    total = np.zeros(hits.shape[1])
    step = max(1, _BLOCK // len(position))
    for start in range(0, len(position), step):
        rows = slice(start, start + step)
        weights = kernel(position[rows], position)
        own = kernel(position[rows], position[rows]).diagonal()[:, None]
        mass = weights @ count - own
        found = weights @ hits
        for outcome, size in ((1.0, hits[rows]), (0.0, count[rows] - hits[rows])):
            estimate = (found - own * outcome) / np.maximum(mass, 1e-10)
            gap = np.abs(position[rows, None] - estimate) ** power
            total += np.einsum("md,md->d", size, gap)
    return total / float(count.sum())


def gaussian_width(n: int) -> float:
    """CalibPrompt's kernel width by number of rows.

    Example:
        >>> [gaussian_width(n) for n in (50, 300, 1000, 9000)]
        [0.3, 0.2, 0.1, 0.05]
    """
    return next((width for limit, width in GAUSSIAN_WIDTHS if n < limit), 0.05)


GAUSSIAN_WIDTHS = ((100, 0.3), (500, 0.2), (2000, 0.1))


@metric(
    calibration=True,
    definition="CalibPrompt's ECE-KDE: mean |confidence - leave-one-out Gaussian kernel regression of "
    "correctness|^{power}, width 0.3 / 0.2 / 0.1 / 0.05 below 100 / 500 / 2000 rows / else (4096 cells "
    "beyond 4096 rows).",
    reference="CalibPrompt, BMVC 2025, arXiv 2509.15226 (tools/metrics.py)",
)
def kde_ece_loo(
    confidence: Any, correct: Any, *, width: float | None = None, power: int = 1
) -> float:
    """Leave-one-out Gaussian kernel calibration error of the confidence (not the Dirichlet estimator).

    With K_ij = exp(-(c_i - c_j)^2 / (2 h^2)), a_i = sum_{j != i} K_ij y_j / sum_{j != i} K_ij, the value is
    mean_i |c_i - a_i|^power.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        width: h; by default CalibPrompt's, which depends on N only.
        power: 1 or 2.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: CalibPrompt, BMVC 2025, arXiv 2509.15226.

    Example:
        >>> round(kde_ece_loo([0.9, 0.9, 0.9], [True, True, False]), 6)
        0.3
    """
    values, verdicts = as_confidences(confidence, correct)
    h = gaussian_width(len(values)) if width is None else width
    if not h > 0:
        raise SpecError(f"width: expected a positive number, got {h}")

    def kernel(at: FloatArray, of: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-((at[:, None] - of) ** 2) / (2 * h**2)))

    return float(_leave_one_out(_points(values, verdicts), kernel, power)[0])


def beta_kernel(width: float) -> Kernel:
    """Beta kernel: density at each position of Beta(c / h + 1, (1 - c) / h + 1) for every centre c."""

    def kernel(at: FloatArray, of: FloatArray) -> FloatArray:
        at, of = (np.clip(v, _INSIDE, 1 - _INSIDE) for v in (at, of))
        first, second = of / width, (1 - of) / width
        scale = (
            special.gammaln(first + second + 2)
            - special.gammaln(first + 1)
            - special.gammaln(second + 1)
        )
        return np.asarray(
            np.exp(np.outer(np.log(at), first) + np.outer(np.log1p(-at), second) + scale)
        )

    return kernel


def _dirichlet_weights(at: FloatArray, of: FloatArray, width: float) -> FloatArray:
    """Dirichlet kernel (rows of ``at`` x centres ``of``), densities on the simplex."""
    at, of = (np.clip(v, _INSIDE, 1.0) for v in (at, of))
    alpha = of / width + 1
    scale = special.gammaln(alpha.sum(axis=1)) - special.gammaln(alpha).sum(axis=1)
    return np.asarray(np.exp(np.log(at) @ (alpha - 1).T + scale))


def select_line_width(values: FloatArray) -> float:
    """Beta kernel width with the largest leave-one-out likelihood of numbers in [0, 1].

    The width that suits the simplex is far too narrow on a line: the regression then follows single rows, and
    the error of a calibrated model does not go to 0. Twenty widths from 1e-5 to 1 are tried on at most 1000
    evenly spaced ranks, each rescaled to all rows by the rate N^(-2/5) of the best width.

    Example:
        >>> 0.0005 < select_line_width(np.linspace(0.55, 0.95, 400)) < 0.1
        True
    """
    ranked = np.sort(values)
    rows = ranked[np.linspace(0, len(ranked) - 1, min(len(ranked), _SELECT_ROWS)).astype(np.int64)]
    chosen = _likeliest(lambda width: beta_kernel(width)(rows, rows))
    return chosen * float((len(rows) / len(values)) ** 0.4)


def _likeliest(weights_of: Callable[[float], FloatArray]) -> float:
    """The width with the largest leave-one-out likelihood; ``weights_of`` gives those of all pairs (M, M)."""
    best, chosen = -np.inf, float(WIDTHS[0])
    for width in WIDTHS.tolist():
        weights = weights_of(width)
        density = weights.sum(axis=1) - weights.diagonal()
        likelihood = float(np.log(np.maximum(density, 1e-300)).mean())
        if likelihood > best:
            best, chosen = likelihood, width
    return chosen


def select_width(probabilities: Any) -> float:
    """Dirichlet kernel width with the largest leave-one-out likelihood of the probabilities.

    Twenty widths from 1e-5 to 1 are tried on at most 1000 evenly spaced rows.

    Example:
        >>> p = np.linspace(0.55, 0.95, 40)
        >>> 0.001 < select_width(np.stack([p, 1 - p], 1)) < 0.3
        True
    """
    dense = ClassProbabilities.of(probabilities).dense()
    rows = dense[np.linspace(0, len(dense) - 1, min(len(dense), _SELECT_ROWS)).astype(np.int64)]
    return _likeliest(lambda width: _dirichlet_weights(rows, rows, width))


def _on_line(values: FloatArray, outcome: BoolArray, width: Any, power: int) -> float:
    h = select_line_width(values) if width is None else float(width)
    return float(_leave_one_out(_points(values, outcome), beta_kernel(h), power)[0])


def _infer(
    probabilities: Any,
    labels: Any,
    *,
    kind: Kind = "top-label",
    width: float | Literal["simplex"] | None = None,
    power: int = 1,
    asked: Asked,
) -> Estimate:
    source = ClassProbabilities.of(probabilities)
    value, n = float(kde_ece(source, labels, kind=kind, width=width, power=power)), source.shape[0]
    if kind != "top-label" or asked.groups is not None:
        return Estimate(value, n=n)
    confidence = source.summary.confidence
    given = select_width(source) if width == "simplex" else width
    line = select_line_width(confidence) if given is None else float(given)
    drawn = asked.generator.random((n, _NULL_DRAWS)) < confidence[:, None]
    null = _leave_one_out(_points(confidence, drawn), beta_kernel(line), power)
    return judged(value, null, n=n)


@metric(
    calibration=True,
    bounds=(0.0, 2.0),
    definition="Mean |p - leave-one-out Dirichlet kernel regression of the label|^{power} ({kind}), summed "
    "over classes where there are several; top-label and marginal forms use 4096 cells beyond 4096 rows.",
    reference=_DIRICHLET,
    interval="none; floor and test by labels drawn from the confidences (top label)",
    infer=_infer,
)
def kde_ece(
    probabilities: Any,
    labels: Any,
    *,
    kind: Kind = "top-label",
    width: float | Literal["simplex"] | None = None,
    power: int = 1,
) -> float:
    """Kernel density estimate of the l_p calibration error (to the p-th power) with Dirichlet kernels.

    E[y | p_j] is estimated by sum_{i != j} k(p_j; p_i) y_i / sum_{i != j} k(p_j; p_i) with k the density of
    Dirichlet(p_i / h + 1) at p_j, in blocks of bounded memory. The canonical form takes N^2 K operations.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        kind: "top-label" (Beta kernel on the confidence), "marginal" (each class alone, summed) or
            "canonical" (the whole vector).
        width: Kernel width h; by default the one with the largest leave-one-out likelihood of what the kernel
            is put on (the confidences, the probabilities of a class, or the whole vectors). "simplex" takes
            the width of the whole vectors everywhere, as the authors' program does, whose top-label and
            marginal errors therefore do not go to 0 for a calibrated model.
        power: p.

    Raises:
        DataError: Rows that are not distributions, or labels out of range.
        SpecError: Unknown kind or a width that is not positive.

    Source: Popordanoska, Sayer and Blaschko, "A consistent and differentiable Lp canonical calibration
    error estimator", NeurIPS 2022, arXiv 2210.07810.

    Example:
        >>> p = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
        >>> round(kde_ece(p, [0, 0, 0, 1], width=0.1), 4)
        0.1401
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    whole = kind == "canonical" or width == "simplex"
    given = select_width(source) if whole and not isinstance(width, (int, float)) else width
    if given is not None and not (isinstance(given, (int, float)) and given > 0):
        raise SpecError(f'width: expected a positive number or "simplex", got {given!r}')
    if kind == "top-label":
        summary = source.summary
        return _on_line(summary.confidence, summary.predicted == truth, given, power)
    dense = source.dense()
    if kind == "marginal":
        return sum(_on_line(dense[:, k], truth == k, given, power) for k in range(source.shape[1]))
    if kind != "canonical":
        raise SpecError(f'kind: expected "top-label", "marginal" or "canonical", got {kind!r}')
    assert isinstance(given, (int, float))
    h = float(given)
    one_hot = np.eye(source.shape[1])[truth]
    total = 0.0
    step = max(1, _BLOCK // len(dense))
    for start in range(0, len(dense), step):
        rows = np.arange(start, min(start + step, len(dense)))
        weights = _dirichlet_weights(dense[rows], dense, h)
        weights[np.arange(len(rows)), rows] = 0.0
        estimate = weights @ one_hot / np.maximum(weights.sum(axis=1, keepdims=True), 1e-10)
        total += float((np.abs(estimate - dense[rows]) ** power).sum())
    return total / len(dense)
