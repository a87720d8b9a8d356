"""What a comparison of runs shows, in sentences that follow from the numbers."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.report.formats import number
from vlmcal.report.pages.run_rows import (
    RunRow,
    at_chance,
    blocks,
    focus_of,
    found_on,
    grouped,
    ordered_classes,
    variant_names,
)

Key = tuple[tuple[str, ...], str]
_BLOCKS = 3  # groups of comparable rows whose best row is named
_EFFECTS = 2  # calibrators that get a sentence of their own, so that there are five in all
_GAPS = 6  # rows that are named one by one


def summarise(rows: Sequence[RunRow]) -> list[str]:
    """At most five sentences: who is best calibrated on unseen classes, most accurate, what calibrators do.

    A lead smaller than the spread over seeds, or than the interval where there is one seed, is said to
    be a tie.

    Example:
        >>> from vlmcal.types.estimate import Estimate
        >>> rows = [
        ...     RunRow(method=m, classes="new", seed=s, estimates={"ece": Estimate(e + s / 1000)})
        ...     for m, e in (("coop", 0.2), ("tcpt", 0.1)) for s in (1, 2)
        ... ]
        >>> summarise(rows)
        ['Lowest ECE on new classes: tcpt, 10.2 % (highest: coop, 20.2 %).']
    """
    if not rows:
        return ["Nothing could be measured."]
    names = _labels(rows)
    classes = ordered_classes(rows)
    focus = focus_of(rows)
    parts = blocks(rows)
    lines = [_best(parts, rule, focus) for rule in (_lowest_ece, _most_accurate)]
    lines.append(_overconfident(rows, names, focus))
    calibrators = dict.fromkeys(row.calibrator for row in rows if row.calibrator != UNCALIBRATED)
    effects = [effect for name in calibrators if (effect := _effect(rows, name, classes))]
    if len(effects) > _EFFECTS:
        more = len(effects) - _EFFECTS
        others = ", ".join(list(calibrators)[_EFFECTS - 1 :][: _EFFECTS + 1])
        effects = [
            *effects[: _EFFECTS - 1],
            f"{more + 1} more calibrators are in the table: {others}",
        ]
        effects[-1] += " and others." if more + 1 > _EFFECTS + 1 else "."
    return [line for line in [*lines, *effects] if line]


def _labels(rows: Sequence[RunRow]) -> dict[Key, str]:
    names = variant_names(rows)
    return {
        (variant, calibrator): names[variant]
        if calibrator == UNCALIBRATED
        else f"{names[variant]} + {calibrator}"
        for variant, calibrator in grouped(rows)
    }


def _best(
    parts: Mapping[str, Sequence[RunRow]],
    rule: Callable[[Sequence[RunRow], Mapping[Key, str], str], str],
    focus: str,
) -> str:
    """The sentence of a rule; of each block of comparable rows where there are several."""
    found = {}
    for block, members in parts.items():
        fit = [row for row in members if not at_chance(row)]
        if line := rule(fit, _labels(fit), focus):
            found[block] = line
    if len(parts) == 1 or not found:
        return next(iter(found.values()), "")
    head = next(iter(found.values())).partition(": ")[0]
    found = {k: v for k, v in found.items() if not k.endswith("no shots")} or found
    told = [
        f"{block}: {line.partition(': ')[2].rpartition(' (')[0]}"  # without the worst of the group
        for block, line in list(found.items())[:_BLOCKS]
    ]
    more = len(found) - len(told)
    rest = f"; {more} more groups: see the marks in the table" if more else ""
    return f"{head}, like with like: {'; '.join(told)}{rest}."


def _values(rows: Sequence[RunRow], metric: str, classes: str) -> dict[Key, list[float]]:
    found = {
        key: [e.value for e in found_on(classes, metric, members)]
        for key, members in grouped(rows).items()
    }
    return {key: values for key, values in found.items() if values}


def _lowest_ece(rows: Sequence[RunRow], names: Mapping[Key, str], focus: str) -> str:
    values = _values(rows, "ece", focus)
    if len(values) < 2:
        return ""
    means = {key: float(np.mean(v)) for key, v in values.items()}
    order = sorted(means, key=lambda key: means[key])
    first, second, last = order[0], order[1], order[-1]
    lead, doubt = means[second] - means[first], _doubt(rows, values, first, second, focus)
    worst = f"highest: {names[last]}, {_percent(means[last])}"
    best = f"{names[first]}, {_percent(means[first])}"
    if lead <= doubt:
        return (
            f"Lowest ECE on {focus} classes: {best}, but {names[second]} with "
            f"{_percent(means[second])} is no further away than chance allows ({worst})."
        )
    return f"Lowest ECE on {focus} classes: {best} ({worst})."


def _doubt(
    rows: Sequence[RunRow], values: Mapping[Key, Sequence[float]], one: Key, two: Key, focus: str
) -> float:
    """Standard error of a difference over seeds; half the width of the interval for one seed."""
    if min(len(values[one]), len(values[two])) > 1:
        return float(np.sqrt(sum(np.var(values[k], ddof=1) / len(values[k]) for k in (one, two))))
    widths = [
        (estimate.high - estimate.low) / 2
        for key, members in grouped(rows).items()
        if key in (one, two)
        for estimate in found_on(focus, "ece", members)
        if estimate.low is not None and estimate.high is not None
    ]
    return max(widths, default=0.0)


def _most_accurate(rows: Sequence[RunRow], names: Mapping[Key, str], focus: str) -> str:
    values = _values(rows, "accuracy", focus)
    if len(values) < 2:
        return ""
    means = {key: float(np.mean(v)) for key, v in values.items() if key[1] == UNCALIBRATED}
    if len(means) < 2:
        return ""
    order = sorted(means, key=lambda key: -means[key])
    first, last = order[0], order[-1]
    return (
        f"Highest accuracy on {focus} classes: {names[first]}, {_percent(means[first])} "
        f"(lowest: {names[last]}, {_percent(means[last])})."
    )


def _overconfident(rows: Sequence[RunRow], names: Mapping[Key, str], focus: str) -> str:
    gaps = {}
    for key, members in grouped(rows).items():
        parts = [r.confidences for r in members if r.classes == focus and r.confidences is not None]
        if parts and key[1] == UNCALIBRATED:
            gaps[key] = float(np.mean([p.confidence.mean() - p.correct.mean() for p in parts]))
    if not gaps:
        return ""
    if len(gaps) > _GAPS:
        high = {key: gap for key, gap in gaps.items() if gap > 0}
        most, least = max(gaps, key=lambda key: gaps[key]), min(gaps, key=lambda key: gaps[key])
        return (
            f"Mean confidence on {focus} classes is above accuracy in {len(high)} of {len(gaps)} rows, most "
            f"for {names[most]} ({_signed(gaps[most])}), least for {names[least]} ({_signed(gaps[least])})."
        )
    texts = [
        f"{names[key]} {_points(gap)} too {'high' if gap > 0 else 'low'}"
        for key, gap in gaps.items()
    ]
    return f"Mean confidence on {focus} classes, against accuracy: {'; '.join(texts)}."


def _effect(rows: Sequence[RunRow], calibrator: str, classes: Sequence[str]) -> str:
    parts = []
    for one in classes:
        values = _values(rows, "ece", one)
        changes = [
            float(np.mean(after) - np.mean(values[variant, UNCALIBRATED]))
            for (variant, name), after in values.items()
            if name == calibrator and (variant, UNCALIBRATED) in values
        ]
        if changes:
            lower = sum(change < 0 for change in changes)
            mean = float(np.mean(changes))
            parts.append(
                f"on {one} classes in {lower} of {len(changes)} methods (mean change {_signed(mean)})"
            )
    return f"{calibrator.capitalize()} lowers the ECE {', '.join(parts)}." if parts else ""


def _percent(value: float) -> str:
    return f"{number(value, percent=True, digits=1)} %"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{_points(value)}"


def _points(value: float) -> str:
    return f"{number(abs(value), percent=True, digits=1)} points"
