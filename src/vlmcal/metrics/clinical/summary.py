"""All clinical measures of one set of rows, class by class, and the gaps between subgroups."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.clinical.calibration import (
    brier_skill,
    curve_errors,
    observed_to_expected,
    recalibration,
    spiegelhalter,
)
from vlmcal.metrics.clinical.decisions import decisions_at
from vlmcal.metrics.clinical.discrimination import average_precision, diagnostic_auroc
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.metrics.clinical.weighted import weighted_measure
from vlmcal.metrics.kit.proportions import critical_value, infer_proportion
from vlmcal.metrics.kit.row_weights import as_weights
from vlmcal.types.arrays import Numbers, StrArray
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

# How each measure is called, and whether it is a share to be shown in percent.
MEASURES: Mapping[str, tuple[str, bool]] = {
    "prevalence": ("prevalence", True),
    "auroc": ("AUROC (diagnostic)", True),
    "average_precision": ("average precision", True),
    "sensitivity": ("sensitivity", True),
    "specificity": ("specificity", True),
    "ppv": ("PPV", True),
    "npv": ("NPV", True),
    "oe": ("O:E", False),
    "intercept": ("calibration intercept", False),
    "slope": ("calibration slope", False),
    "ici": ("ICI", True),
    "e50": ("E50", True),
    "e90": ("E90", True),
    "brier": ("Brier", False),
    "brier_skill": ("Brier skill", False),
    "spiegelhalter": ("Spiegelhalter z", False),
}
# Compared between subgroups.
COMPARED = ("prevalence", "auroc", "sensitivity", "specificity", "ppv", "npv", "oe")


@dataclass(frozen=True)
class ClinicalSummary:
    """Measures of the positive class of two, or of each class against all others.

    Attributes:
        threshold: Rows with at least this probability are called positive.
        measures: Estimates by class name, then by measure (:data:`MEASURES`).
        subgroups: The same for the first class of ``measures``, by subgroup.
        gaps: Largest minus smallest value of a measure over the subgroups of a column, by column.
        ratios: Smallest over largest.
    """

    threshold: float
    measures: Mapping[str, Mapping[str, Estimate]]
    subgroups: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    gaps: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    ratios: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


def clinical_summary(
    predictions: Predictions,
    *,
    threshold: float = 0.5,
    level: float = 0.95,
    strata: Mapping[str, StrArray] | None = None,
    weights: Numbers | None = None,
) -> ClinicalSummary:
    """Clinical measures: for two classes of the positive one, else of each class against all others.

    Args:
        predictions: Labelled rows; their groups are the units of the intervals.
        threshold: From which probability a row is called positive.
        level: Confidence level.
        strata: (N,) values of each column that parts the rows into subgroups.
        weights: (N,) weights of the rows; see :func:`~vlmcal.metrics.clinical.weighted.weighted_measure`.

    Raises:
        DataError: The rows have no labels, or one class only.

    Example:
        >>> p = Predictions(logits=[[0.0, 1.0], [1.0, 0.0]] * 10, labels=[1, 0] * 10)
        >>> clinical_summary(p).measures["1"]["sensitivity"].value
        1.0
    """
    if predictions.n_classes < 2:
        raise DataError("clinical measures need the probability of at least two classes")
    names = predictions.class_names
    shown = [positive_class(predictions)] if len(names) == 2 else list(range(len(names)))
    weight = None if weights is None else as_weights(weights, len(predictions))
    risks = {names[at]: replace(Risks.of_class(predictions, at), weights=weight) for at in shown}
    measures = {name: measure(own, threshold, level) for name, own in risks.items()}
    main = risks[names[shown[0]]]
    parts: dict[str, dict[str, Estimate]] = {}
    gaps: dict[str, dict[str, Estimate]] = {}
    ratios: dict[str, dict[str, Estimate]] = {}
    for column, values in (strata or {}).items():
        own = {
            f"{column} = {value or '(empty)'}": measure(
                _rows(main, values == value), threshold, level
            )
            for value in np.unique(values).tolist()
        }
        parts |= own
        gaps[column] = {n: _gap([p[n] for p in own.values()], level) for n in COMPARED}
        ratios[column] = {n: _ratio([p[n] for p in own.values()], level) for n in COMPARED}
    return ClinicalSummary(threshold, measures, parts, gaps, ratios)


def _rows(risks: Risks, keep: StrArray) -> Risks:
    groups = None if risks.groups is None else risks.groups[keep]
    weights = None if risks.weights is None else risks.weights[keep]
    return Risks(risks.risk[keep], risks.present[keep], groups, weights)


def measure(risks: Risks, threshold: float = 0.5, level: float = 0.95) -> dict[str, Estimate]:
    """Every measure of :data:`MEASURES` for one condition.

    Example:
        >>> found = measure(Risks.of([0.8, 0.7, 0.4, 0.1], [1, 0, 1, 0]))
        >>> round(found["oe"].value, 3), found["auroc"].value
        (1.0, 0.75)
    """
    if risks.weights is not None:
        found = weighted_measure(risks, threshold, level)
        # A smooth curve and a test of independent rows have no weighted form here.
        return {name: found.get(name, Estimate(float("nan"), n=len(risks))) for name in MEASURES}
    n = len(risks)
    decisions = decisions_at(risks, threshold, level)
    fit = recalibration(risks, level)
    curve = curve_errors(risks)
    return {
        "prevalence": infer_proportion(risks.present, level=level, groups=risks.groups),
        "auroc": diagnostic_auroc(risks, level),
        "average_precision": average_precision(risks, level),
        "sensitivity": decisions.sensitivity,
        "specificity": decisions.specificity,
        "ppv": decisions.ppv,
        "npv": decisions.npv,
        "oe": observed_to_expected(risks, level),
        "intercept": fit.intercept,
        "slope": fit.slope,
        "ici": Estimate(curve.ici, n=n),
        "e50": Estimate(curve.e50, n=n),
        "e90": Estimate(curve.e90, n=n),
        "brier": Estimate(float(((risks.risk - risks.present) ** 2).mean()), n=n),
        "brier_skill": brier_skill(risks),
        "spiegelhalter": spiegelhalter(risks),
    }


def _ends(values: list[Estimate]) -> tuple[Estimate, Estimate] | None:
    known = [value for value in values if np.isfinite(value.value)]
    if len(known) < 2:
        return None
    return max(known, key=lambda e: e.value), min(known, key=lambda e: e.value)


def _gap(values: list[Estimate], level: float) -> Estimate:
    """Largest minus smallest, with the interval of a difference of two independent values."""
    ends = _ends(values)
    if ends is None:
        return Estimate(float("nan"))
    high, low = ends
    gap, n = high.value - low.value, high.n + low.n
    errors = [_error(end, level) for end in ends]
    if None in errors:
        return Estimate(gap, n=n)
    reach = critical_value(level) * float(np.sqrt(sum(e**2 for e in errors if e is not None)))
    return Estimate(gap, gap - reach, gap + reach, n=n, method="independent subgroups")


def _ratio(values: list[Estimate], level: float) -> Estimate:
    """Smallest over largest, with the interval of a ratio of two independent values (delta method)."""
    ends = _ends(values)
    if ends is None or ends[0].value <= 0:
        return Estimate(float("nan"))
    high, low = ends
    ratio, n = low.value / high.value, high.n + low.n
    errors = [_error(end, level) for end in ends]
    if None in errors or ratio == 0:
        return Estimate(ratio, n=n)
    relative = [e / end.value for e, end in zip(errors, ends, strict=True) if e is not None]
    reach = critical_value(level) * float(np.sqrt(sum(r**2 for r in relative)))
    return Estimate(
        ratio, ratio * float(np.exp(-reach)), ratio * float(np.exp(reach)), n=n, method="delta"
    )


def _error(estimate: Estimate, level: float) -> float | None:
    if estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / 2 / critical_value(level)
