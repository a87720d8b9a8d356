"""Selective prediction: the risk when the least confident rows are left out."""

from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray

_REFERENCE = "Geifman, Uziel and El-Yaniv, ICLR 2019, arXiv 1805.08206"
_TIES = "rows of equal confidence are taken together, in expectation over their order"


def _check_ties(ties: str) -> None:
    if ties not in ("average", "input-order"):
        raise SpecError(f'ties: expected "average" or "input-order", got {ties!r}')


def tie_averaged(ordered: FloatArray, wrong: FloatArray, weights: FloatArray) -> FloatArray:
    """Cumulative error weight at each row in order of falling confidence, ties spread evenly."""
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if len(starts) == len(ordered):
        return np.cumsum(weights * wrong)
    lengths = np.diff(starts, append=len(ordered))
    mass = np.add.reduceat(weights, starts)
    errors = np.add.reduceat(weights * wrong, starts)
    rate = np.divide(errors, mass, out=np.zeros_like(errors), where=mass > 0)
    return np.cumsum(weights * np.repeat(rate, lengths))


def _weighted(confidence: Any, correct: Any, *, ties: str = "average") -> Weighted:
    _check_ties(ties)
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(-values, kind="stable")
    ordered, wrong = values[order], (~verdicts[order]).astype(np.float64)

    def value(weights: FloatArray) -> float:
        sorted_weights = weights[order]
        if ties == "average":
            errors = tie_averaged(ordered, wrong, sorted_weights)
        else:
            errors = np.cumsum(sorted_weights * wrong)
        covered = np.cumsum(sorted_weights)
        risk = np.divide(errors, covered, out=np.zeros_like(errors), where=covered > 0)
        return float(sorted_weights @ risk / covered[-1])

    return value


def _excess(confidence: Any, correct: Any, *, ties: str = "average") -> Weighted:
    area = _weighted(confidence, correct, ties=ties)
    wrong = 1.0 - as_confidences(confidence, correct)[1]

    def value(weights: FloatArray) -> float:
        return area(weights) - best_aurc(float(weights @ wrong / weights.sum()))

    return value


def best_aurc(error_rate: float) -> float:
    """Smallest possible AURC at an error rate r: r + (1 - r) log(1 - r), and 1 for r = 1."""
    if error_rate >= 1:
        return 1.0
    return error_rate + (1 - error_rate) * float(np.log1p(-error_rate))


@metric(
    name="aurc",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition=f"Error rate of the k most confident rows, mean over k = 1 .. N; {_TIES}.",
    reference=_REFERENCE,
    interval="BCa bootstrap of rows (of groups where given)",
    resample=_weighted,
)
def aurc(confidence: Any, correct: Any, *, ties: str = "average") -> float:
    """Area under the risk-coverage curve, (1 / N) sum_k (errors among the k most confident) / k.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        ties: "average" takes equal confidences together; "input-order" takes them as they come, as many
            published scripts do.

    Returns:
        A fraction (papers often print it times 1000).

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019, arXiv 1805.08206.

    Example:
        >>> round(aurc([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.145833
    """
    values, verdicts = as_confidences(confidence, correct)
    return _weighted(values, verdicts, ties=ties)(np.ones(len(values)))


@metric(
    name="e_aurc",
    consumes="confidences",
    higher_is_better=False,
    bounds=(-1.0, 1.0),
    definition=f"AURC minus its smallest possible value at this accuracy, r + (1 - r) ln(1 - r); {_TIES}.",
    reference=_REFERENCE,
    interval="BCa bootstrap of rows (of groups where given)",
    resample=_excess,
)
def e_aurc(confidence: Any, correct: Any, *, ties: str = "average") -> float:
    """Excess AURC over a perfect ranking of the same errors: AURC - (r + (1 - r) log(1 - r)).

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        ties: As in :func:`aurc`.

    Returns:
        The excess; 0 when every row is wrong (no ranking can help).

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019, arXiv 1805.08206.

    Example:
        >>> round(e_aurc([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.111595
    """
    values, verdicts = as_confidences(confidence, correct)
    return _excess(values, verdicts, ties=ties)(np.ones(len(values)))


def risk_coverage_curve(confidence: Any, correct: Any) -> tuple[FloatArray, FloatArray]:
    """Coverage k / N and error rate of the k most confident rows, (N,) each, ties averaged.

    Example:
        >>> coverage, risk = risk_coverage_curve([0.9, 0.8], [True, False])
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(-values, kind="stable")
    wrong: BoolArray = ~verdicts[order]
    taken = np.arange(1, len(values) + 1)
    errors = tie_averaged(values[order], wrong.astype(np.float64), np.ones(len(values)))
    return taken / len(values), errors / taken
