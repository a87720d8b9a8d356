"""What accepting confident answers is worth, in the unit of decision-curve analysis.

This judges confidence against correctness. The decision curve of a diagnosis (treat above a risk, against
treating all or none) is :func:`vlmcal.metrics.clinical.decisions.clinical_decision_curve`.
"""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import mean_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray

_REFERENCE = "Vickers and Elkin, Medical Decision Making 2006"


@mean_metric(
    higher_is_better=True,
    bounds=(float("-inf"), 1.0),
    definition="Right answers minus {threshold} / (1 - {threshold}) times wrong answers among those with "
    "confidence at or above {threshold}, divided by all rows.",
    reference=_REFERENCE,
)
def net_benefit(confidence: Any, correct: Any, *, threshold: float = 0.5) -> FloatArray:
    """Net benefit TP / N - FP / N x t / (1 - t) of accepting answers with confidence >= t.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        threshold: t, the confidence from which acting pays: it says how many right answers one wrong
            answer outweighs.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: A threshold outside (0, 1).

    Source: Vickers and Elkin, "Decision curve analysis", Medical Decision Making 2006.

    Example:
        >>> round(net_benefit([0.9, 0.8, 0.3], [True, False, True], threshold=0.75), 6)
        -0.666667
    """
    if not 0 < threshold < 1:
        raise SpecError(f"threshold: expected a probability in (0, 1), got {threshold}")
    values, verdicts = as_confidences(confidence, correct)
    odds = threshold / (1 - threshold)
    return np.where(values >= threshold - 1e-9, np.where(verdicts, 1.0, -odds), 0.0)


class AcceptanceCurve(NamedTuple):
    """Net benefit at each threshold (T,): by confidence, and of accepting every answer."""

    threshold: FloatArray
    net_benefit: FloatArray
    accept_all: FloatArray


def acceptance_curve(confidence: Any, correct: Any, thresholds: Any = None) -> AcceptanceCurve:
    """Net benefit of accepting answers by thresholds (by default 0.01 to 0.99), beside accepting all.

    Example:
        >>> curve = acceptance_curve([0.9, 0.2], [True, False], [0.5])
        >>> curve.net_benefit.tolist(), curve.accept_all.tolist()
        ([0.5], [0.0])
    """
    chosen = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=float)
    values, verdicts = as_confidences(confidence, correct)
    benefit = [net_benefit(values, verdicts, threshold=float(t)) for t in chosen]
    rate = float(verdicts.mean())
    return AcceptanceCurve(chosen, np.array(benefit), rate - (1 - rate) * chosen / (1 - chosen))
