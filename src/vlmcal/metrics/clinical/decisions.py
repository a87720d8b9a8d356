"""What happens when rows at or above a threshold are acted on: shares of right decisions, and net benefit."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.estimate import Estimate


@dataclass(frozen=True)
class Decisions:
    """Shares of right decisions at one threshold, with Wilson intervals (design effect for units).

    Attributes:
        threshold: Rows with at least this risk are called positive.
        sensitivity: Called positive among rows with the condition.
        specificity: Called negative among rows without.
        ppv: With the condition among those called positive.
        npv: Without among those called negative.
    """

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


def decisions_at(risks: Risks, threshold: float, level: float = 0.95) -> Decisions:
    """Sensitivity, specificity, positive and negative predictive value at a threshold.

    Raises:
        SpecError: A threshold outside (0, 1).

    Example:
        >>> found = decisions_at(Risks.of([0.9, 0.6, 0.4, 0.2], [1, 0, 1, 0]), 0.5)
        >>> found.sensitivity.value, found.ppv.value
        (0.5, 0.5)
    """
    if not 0 < threshold < 1:
        raise SpecError(f"threshold: expected a probability in (0, 1), got {threshold}")
    called, present = risks.risk >= threshold, risks.present

    def share(hits: BoolArray, among: BoolArray) -> Estimate:
        if not among.any():
            return Estimate(float("nan"))
        groups = None if risks.groups is None else risks.groups[among]
        return infer_proportion(hits[among], level=level, groups=groups)

    return Decisions(
        threshold,
        share(called, present),
        share(~called, ~present),
        share(present, called),
        share(~present, ~called),
    )


def choose_threshold(risks: Risks, rule: str) -> float:
    """A threshold by a rule, to be chosen on validation rows and never on those that are measured.

    Args:
        risks: Validation rows.
        rule: "youden" (largest sensitivity + specificity), "sensitivity=0.95" (the largest threshold that
            reaches it) or "specificity=0.95" (the smallest).

    Raises:
        SpecError: An unknown rule.
        DataError: Only rows with, or without, the condition.

    Example:
        >>> choose_threshold(Risks.of([0.9, 0.7, 0.4, 0.2], [1, 1, 0, 0]), "youden")
        0.55
    """
    kind, _, text = rule.partition("=")
    if kind not in ("youden", "sensitivity", "specificity"):
        raise SpecError(
            f'threshold: expected a number, youden, sensitivity=X or specificity=X, got "{rule}"'
        )
    if not risks.both:
        raise DataError("choosing a threshold needs rows with and without the condition")
    values = np.unique(risks.risk)
    middles = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    cases, others = np.sort(risks.risk[risks.present]), np.sort(risks.risk[~risks.present])
    sensitivity = 1 - np.searchsorted(cases, middles) / len(cases)
    specificity = np.searchsorted(others, middles) / len(others)
    if kind == "youden":
        chosen = middles[np.argmax(sensitivity + specificity)]
    else:
        try:
            goal = float(text)
        except ValueError as error:
            raise SpecError(f'threshold: expected {kind}=NUMBER, got "{rule}"') from error
        reached = np.flatnonzero((sensitivity if kind == "sensitivity" else specificity) >= goal)
        if reached.size == 0:
            raise DataError(f"no threshold reaches {rule} on these rows")
        chosen = middles[reached[-1] if kind == "sensitivity" else reached[0]]
    return float(np.clip(round(float(chosen), 12), 1e-12, 1 - 1e-12))


class NetBenefit(NamedTuple):
    """Net benefit at each threshold (T,): of the model, of treating everybody, of treating nobody."""

    threshold: FloatArray
    model: FloatArray
    treat_all: FloatArray
    treat_none: FloatArray


def clinical_decision_curve(risks: Risks, thresholds: Any = None) -> NetBenefit:
    """TP / N - FP / N x t / (1 - t) of treating rows with a risk of at least t (default 0.01 to 0.99).

    Source: Vickers and Elkin, "Decision curve analysis", Medical Decision Making 2006.

    Example:
        >>> curve = clinical_decision_curve(Risks.of([0.9, 0.2], [True, False]), [0.5])
        >>> curve.model.tolist(), curve.treat_all.tolist(), curve.treat_none.tolist()
        ([0.5], [0.0], [0.0])
    """
    at = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    n, odds = len(risks), at / (1 - at)
    cases, others = np.sort(risks.risk[risks.present]), np.sort(risks.risk[~risks.present])
    hits = len(cases) - np.searchsorted(cases, at - 1e-12)
    false = len(others) - np.searchsorted(others, at - 1e-12)
    everybody = len(cases) / n - len(others) / n * odds
    return NetBenefit(at, hits / n - false / n * odds, everybody, np.zeros_like(at))
