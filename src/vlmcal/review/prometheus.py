"""What is watched, in the text format that Prometheus reads."""

from collections.abc import Iterator

import numpy as np

from vlmcal.review.watching import Watched
from vlmcal.types.estimate import Estimate

_HELP = {
    "outcomes": "Outcomes that were looked at.",
    "evidence": "e-value of the test of calibration; alarm at 1 / alpha.",
    "alarm": "1 once the test has alarmed.",
    "confidence": "Mean confidence in the latest window.",
    "accuracy": "Share of right answers in the latest window.",
    "calibration_error": "ECE (equal mass) in the latest window.",
    "selective_risk": "Share of wrong answers among those left to the model, latest window.",
    "coverage": "Share of label sets that hold the truth, latest window.",
    "set_size": "Mean classes in a label set, latest window.",
    "deferral_rate": "Share of cases for a person.",
    "deferral_alarm": "1 once the CUSUM of the deferrals has alarmed.",
    "drift_ks": "Kolmogorov-Smirnov distance of the confidences.",
    "drift_psi": "Population stability index of the confidences.",
    "override_rate": "Share of decisions that are not the model's.",
    "automation_bias_rate": "Share of right first answers given up for a wrong model.",
    "weighted_accuracy": "Share of right answers among all cases, by weighted outcomes.",
    "weighted_gap": "Mean confidence minus that share.",
    "with_outcome": "Share of cases with a known outcome.",
}


def prometheus(found: Watched) -> str:
    r"""Gauges as text, one line each; names of parts are escaped labels.

    Example:
        >>> from vlmcal.review.watching import Stream, watch_stream
        >>> from vlmcal.types.confidences import Confidences
        >>> rows = Confidences(confidence=[0.9] * 40, correct=[True, False] * 20)
        >>> print(prometheus(watch_stream(Stream(rows))).splitlines()[2])
        vlmcal_outcomes{part="all rows"} 40
    """
    values: dict[str, list[tuple[str, float]]] = {}
    for name, part, value in _values(found):
        values.setdefault(name, []).append((part, value))
    lines = []
    for name, gauges in values.items():
        lines += [f"# HELP vlmcal_{name} {_HELP[name]}", f"# TYPE vlmcal_{name} gauge"]
        lines += [f"vlmcal_{name}{part} {_number(value)}" for part, value in gauges]
    return "\n".join(lines) + "\n"


def _values(found: Watched) -> Iterator[tuple[str, str, float]]:
    for name, watch in found.alarms.items():
        part = label("part", name)
        yield "outcomes", part, watch.log_e.size
        last = float(watch.log_e[-1]) if watch.log_e.size else 0.0
        yield "evidence", part, float(np.exp(min(last, 700.0)))
        yield "alarm", part, float(watch.alarm is not None)
    shown = {"all rows": found.windows[-1]} if found.windows else {}
    for name, window in {**shown, **found.parts}.items():
        part = label("part", name)
        yield "confidence", part, window.confidence
        estimates: dict[str, Estimate | None] = {"accuracy": window.accuracy}
        estimates |= {"calibration_error": window.ece}
        estimates |= {"selective_risk": window.risk, "coverage": window.coverage}
        for gauge, estimate in estimates.items():
            if estimate is not None:
                yield gauge, part, estimate.value
        if window.set_size is not None:
            yield "set_size", part, window.set_size
    measures = found.measures
    single: dict[str, Estimate | None] = {"deferral_rate": found.deferral_rate}
    if measures is not None:
        single |= {"override_rate": measures.overrides}
        single |= {"automation_bias_rate": measures.automation_bias}
    for gauge, alone in single.items():
        if alone is not None:
            yield gauge, "", alone.value
    if found.weighted is not None:
        yield "weighted_accuracy", "", found.weighted.accuracy.value
        yield "weighted_gap", "", found.weighted.gap.value
    if found.deferral is not None:
        yield "deferral_alarm", "", float(found.deferral.alarm is not None)
    if found.shift is not None:
        yield "drift_ks", "", found.shift.ks
        yield "drift_psi", "", found.shift.psi
    for stratum, (known, n) in ({} if measures is None else measures.verified).items():
        yield "with_outcome", label("stratum", stratum), known / n


def label(name: str, value: str) -> str:
    r"""A label of one gauge.

    Example:
        >>> print(label("part", 'site = "a"'))
        {part="site = \"a\""}
    """
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{{name}="{escaped}"}}'


def _number(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    return f"{int(value)}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"
