"""Cost of decisions made from the confidences."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.base import mean_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import clopper_pearson, design_effect
from vlmcal.types.arrays import BoolArray, FloatArray, as_array
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = "Chow, On optimum recognition error and reject tradeoff, IEEE Trans. Inf. Theory 1970"


def _accepted(
    confidence: Any, correct: Any, wrong_cost: float, defer_cost: float
) -> tuple[BoolArray, BoolArray]:
    if not (wrong_cost > 0 and defer_cost >= 0):
        raise SpecError(
            f"expected wrong_cost > 0 and defer_cost >= 0, got {wrong_cost} and {defer_cost}"
        )
    values, verdicts = as_confidences(confidence, correct)
    return (1 - values) * wrong_cost <= defer_cost + 1e-9, verdicts


def _infer(
    confidence: Any, correct: Any, *, wrong_cost: float = 1.0, defer_cost: float = 0.2, asked: Asked
) -> Estimate:
    accepted, verdicts = _accepted(confidence, correct, wrong_cost, defer_cost)
    rows = np.where(accepted, np.where(verdicts, 0.0, wrong_cost), defer_cost)
    n = len(rows)
    effect = 1.0 if asked.groups is None else design_effect(rows, asked.groups)
    events = np.array([np.sum(accepted & ~verdicts), np.sum(~accepted)], dtype=np.float64)
    # Accepted errors are rare, so a bootstrap would not know them; both shares get half of the error.
    low, high = clopper_pearson(events / effect, np.full(2, n / effect), 1 - (1 - asked.level) / 2)
    costs = np.array([wrong_cost, defer_cost])
    return Estimate(
        float(rows.mean()),
        float(low @ costs),
        float(high @ costs),
        n=n,
        method="Clopper-Pearson, Bonferroni",
    )


@mean_metric(
    additive=True,
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="Mean cost when an answer is accepted if (1 - confidence) x {wrong_cost} is at most "
    "{defer_cost}: {wrong_cost} for an accepted wrong answer, {defer_cost} for a deferred row.",
    reference=_REFERENCE,
    interval="Clopper-Pearson intervals of both shares (Bonferroni)",
    infer=_infer,
)
def expected_cost(
    confidence: Any, correct: Any, *, wrong_cost: float = 1.0, defer_cost: float = 0.2
) -> FloatArray:
    """Mean cost of accepting or deferring each answer by Chow's rule.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        wrong_cost: Cost of an accepted wrong answer.
        defer_cost: Cost of handing a row to somebody else.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: Negative costs.

    Source: Chow, "On optimum recognition error and reject tradeoff", 1970.

    Example:
        >>> round(expected_cost([0.9, 0.95, 0.5], [True, False, True]), 6)
        0.4
    """
    accepted, verdicts = _accepted(confidence, correct, wrong_cost, defer_cost)
    return np.where(accepted, np.where(verdicts, 0.0, wrong_cost), defer_cost)


@mean_metric(
    higher_is_better=False,
    bounds=(float("-inf"), float("inf")),
    definition="Mean cost of the decision with the smallest expected cost under the class probabilities.",
    reference="Elkan, The foundations of cost-sensitive learning, IJCAI 2001",
)
def cost_matrix_loss(probabilities: Any, labels: Any, costs: Any) -> FloatArray:
    """Mean cost when each row gets the decision d that minimises sum_k p_k costs[k, d].

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        costs: (K, D) cost of decision d when the class is k; D may differ from K (for example one column
            more for "defer").

    Raises:
        DataError: A matrix without one row per class.

    Source: Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.

    Example:
        >>> cost_matrix_loss([[0.7, 0.3], [0.9, 0.1]], [1, 0], [[0, 1], [5, 0]])
        0.0
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    matrix = as_array(costs).astype(np.float64)
    classes = source.shape[1]
    if matrix.ndim != 2 or len(matrix) != classes or not np.isfinite(matrix).all():
        raise DataError(
            f"costs: expected a finite matrix ({classes} true classes x decisions), got {matrix.shape}"
        )
    decision = np.empty(len(truth), dtype=np.int64)
    for rows, chunk in source.chunks():
        decision[rows] = (chunk @ matrix).argmin(axis=1)
    return np.asarray(matrix[truth, decision])
