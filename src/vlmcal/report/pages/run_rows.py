"""Results of experiments in one shape, grouped by what was run and pooled over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.errors import DataError
from vlmcal.experiment.protocol import data_label
from vlmcal.metrics import Evaluation
from vlmcal.metrics.kit.proportions import wilson
from vlmcal.options import Named
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import plural

CLASS_ORDER = ("base", "new", "all")
AXES = ("data", "backbone", "method", "objective", "shots", "train")


class ResultRow(Protocol):
    """What an experiment hands over for one run, test set and calibrator."""

    @property
    def cell(self) -> Mapping[str, Any]:
        """What was run, as plain data."""

    @property
    def set(self) -> str:
        """Which test classes: "base", "new" or "all"."""

    @property
    def calibrator(self) -> str:
        """Name, or "none"."""

    @property
    def evaluation(self) -> Evaluation | None:
        """The measured metrics, or None when the calibrator does not apply."""

    @property
    def predictions(self) -> Predictions | None:
        """The calibrated predictions."""

    @property
    def reason(self) -> str:
        """Why there is no evaluation."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One measured result.

    Attributes:
        method: Name of the method ("coop").
        objective: Name of the objective ("ce + tcpt"), or "" where there is none.
        calibrator: Name, or "none".
        conformal: Name of the conformal method whose label sets were measured, or "".
        classes: "base", "new" or "all".
        seed: None for methods that have no randomness.
        estimates: Metric name -> value, as fractions.
        definitions: Metric name -> definition.
        confidences: Rows for the diagrams, or None.
        axes: Anything else that tells runs apart ("data", "backbone", "shots", "train").
        provenance: How the row came about.
        reason: Why nothing could be measured, or "".
        chance: Accuracy of always naming the most frequent class, or None where it is not known.
        terms: Settings of the objective's terms ("mdca weight"), which :func:`as_run_rows` shows where
            objectives of the same name differ in them.
    """

    method: str
    objective: str = ""
    calibrator: str = UNCALIBRATED
    conformal: str = ""
    classes: str = "all"
    seed: int | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)
    confidences: Confidences | None = None
    axes: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    chance: float | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variant(self) -> tuple[str, ...]:
        """What was run, without seed, classes and calibrator; rows that share it are pooled."""
        own = {"method": self.method, "objective": self.objective}
        return tuple({**self.axes, **own}.get(axis, "") for axis in AXES)


AnyRow = RunRow | Mapping[str, Any] | ResultRow


def as_run_rows(rows: Iterable[AnyRow]) -> list[RunRow]:
    """Rows of an experiment, or plain mappings, as :class:`RunRow`.

    A mapping has the keys ``method`` and any of ``objective``, ``calibrator``, ``conformal``, ``classes``,
    ``seed``, ``shots``, ``data``, ``backbone``, ``evaluation`` or ``metrics`` (name -> number or Estimate),
    ``predictions`` or ``confidences``, ``provenance``.

    Raises:
        DataError: No rows, a mapping without ``method``, or two rows for the same run, classes and seed.

    Example:
        >>> rows = as_run_rows([{"method": "coop", "metrics": {"accuracy": 0.9}, "seed": 1}])
        >>> rows[0].estimates["accuracy"].value
        0.9
    """
    result = _told_apart([_as_run_row(row) for row in rows])
    if not result:
        raise DataError("a report on runs needs at least one result, got none")
    seen = set()
    for row in result:
        key = (row.variant, row.calibrator, row.conformal, row.classes, row.seed)
        if key in seen:
            raise DataError(
                f"two results for {row.method} {row.objective}, calibrator {row.calibrator}, classes "
                f"{row.classes}, seed {row.seed}; give each run once, or tell them apart by an axis "
                f"({', '.join(AXES)})"
            )
        seen.add(key)
    return result


def in_order(rows: Iterable[RunRow]) -> list[RunRow]:
    """By data, backbone, method (what is not trained first), objective, shots and settings of the training.

    Example:
        >>> rows = [("coop", "ce", "16"), ("coop", "ce", "4"), ("zero_shot", "", "")]
        >>> found = in_order(RunRow(method=m, objective=o, axes={"shots": s}) for m, o, s in rows)
        >>> [(row.method, row.axes["shots"]) for row in found]
        [('zero_shot', ''), ('coop', '4'), ('coop', '16')]
    """

    def place(row: RunRow) -> tuple[Any, ...]:
        data, backbone, *rest = row.variant
        counted = [(int(value) if value.isdigit() else -1, value) for value in rest]
        return data, backbone, bool(row.objective), *counted

    return sorted(rows, key=place)


def variant_names(rows: Sequence[RunRow]) -> dict[tuple[str, ...], str]:
    """A short name per variant: method and objective, and those axes on which variants differ.

    Example:
        >>> rows = [RunRow(method="coop", objective=o, axes={"shots": "16"}) for o in ("ce", "tcpt")]
        >>> list(variant_names(rows).values())
        ['coop, ce', 'coop, tcpt']
    """
    variants = list(dict.fromkeys(row.variant for row in rows))
    differs = [len({v[i] for v in variants if v[i]}) > 1 for i in range(len(AXES))]
    names = {}
    for variant in variants:
        parts = [
            plural(int(value), "shot") if axis == "shots" else value
            for axis, value, wanted in zip(AXES, variant, differs, strict=True)
            if value and (wanted or axis in ("method", "objective"))
        ]
        order = sorted(parts, key=lambda part: part != variant[AXES.index("method")])
        names[variant] = ", ".join(order)
    return names


def common_settings(rows: Sequence[RunRow]) -> str:
    """What all variants share beside method and objective, said once, or "" where there is nothing.

    Example:
        >>> common_settings([RunRow(method=m, axes={"shots": "16", "data": "dtd"}) for m in ("a", "b")])
        'All rows: data dtd, 16 shots.'
    """
    parts = []
    for axis in AXES:
        values = {row.axes.get(axis, "") for row in rows} - {""}
        if axis in ("method", "objective") or len(values) != 1:
            continue
        (value,) = values
        parts.append(plural(int(value), "shot") if axis == "shots" else f"{axis} {value}")
    return f"All rows: {', '.join(parts)}." if parts else ""


def blocks(rows: Sequence[RunRow]) -> dict[str, list[RunRow]]:
    """Comparable rows together, by what they share and others do not; all under "" where all are comparable.

    Rows without shots stand beside those of any number of shots where there is only one number.

    Example:
        >>> rows = [RunRow(method="coop", axes={"data": d, "shots": "4"}) for d in ("dtd", "ucf")]
        >>> list(blocks(rows)), list(blocks(rows[:1]))
        (['dtd', 'ucf'], [''])
    """
    shots = {row.axes["shots"] for row in rows if row.axes.get("shots")}
    axes = ("data", "backbone", "shots") if len(shots) > 1 else ("data", "backbone")
    told = [axis for axis in axes if len({row.axes.get(axis, "") for row in rows}) > 1]
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        parts = [row.axes.get(axis, "") for axis in told]
        if "shots" in told:
            parts[-1] = plural(int(parts[-1]), "shot") if parts[-1] else "no shots"
        found.setdefault(", ".join(parts), []).append(row)
    return found


def at_chance(row: RunRow) -> bool:
    """Whether accuracy is not above that of naming the most frequent class, by its 95 % Wilson interval.

    Such a row is no candidate for a best value: a guess can be well calibrated.

    Example:
        >>> near = Estimate(0.55, n=100)
        >>> [at_chance(RunRow(method="coop", estimates={"accuracy": near}, chance=c)) for c in (0.5, 0.4)]
        [True, False]
    """
    accuracy = row.estimates.get("accuracy")
    if accuracy is None or row.chance is None:
        return False
    if not accuracy.n:
        return accuracy.value <= row.chance
    low, _ = wilson(np.array(accuracy.value * accuracy.n), np.array(float(accuracy.n)))
    return float(low) <= row.chance


def grouped(rows: Sequence[RunRow]) -> dict[tuple[tuple[str, ...], str], list[RunRow]]:
    """Rows by variant and calibrator, in order of appearance, calibrators of a variant together."""
    found: dict[tuple[tuple[str, ...], str], list[RunRow]] = {}
    for row in rows:
        found.setdefault((row.variant, row.calibrator), []).append(row)
    variants = dict.fromkeys(row.variant for row in rows)
    calibrators = dict.fromkeys(row.calibrator for row in rows)
    keys = ((variant, calibrator) for variant in variants for calibrator in calibrators)
    return {key: found[key] for key in keys if key in found}


def ordered_classes(rows: Sequence[RunRow]) -> list[str]:
    """The class sets present, base before new."""
    present = dict.fromkeys(row.classes for row in rows)
    return sorted(present, key=lambda c: CLASS_ORDER.index(c) if c in CLASS_ORDER else 99)


def focus_of(rows: Sequence[RunRow]) -> str:
    """The classes on which methods are judged: new ones where there are any."""
    classes = ordered_classes(rows)
    return "new" if "new" in classes else classes[-1]


def found_on(classes: str, metric: str, members: Iterable[RunRow]) -> list[Estimate]:
    """What rows show of a metric on one set of classes, those that have it."""
    mine = (row.estimates for row in members if row.classes == classes)
    return [estimates[metric] for estimates in mine if metric in estimates]


def _told_apart(rows: Sequence[RunRow]) -> list[RunRow]:
    """The rows; objectives of one name that differ in settings of their terms say these."""
    alike: dict[tuple[str, ...], list[RunRow]] = {}
    for row in rows:
        alike.setdefault(row.variant, []).append(row)
    result = []
    for row in rows:
        others = alike[row.variant]
        said = ", ".join(
            f"{key}={value}"
            for key, value in row.terms.items()
            if any(other.terms.get(key) != value for other in others)
        )
        result.append(replace(row, objective=f"{row.objective} ({said})") if said else row)
    return result


def _settings(terms: Any) -> dict[str, Any]:
    """Settings of an objective in its canonical form, by term and name."""
    entries = [entry for entry in terms or () if isinstance(entry, Mapping)]
    return {
        f"{entry['name']} {key}": value
        for entry in entries
        for key, value in entry.items()
        if key != "name"
    }


def objective_name(objective: Any) -> str:
    """An objective as text: names joined by a plus.

    Example:
        >>> objective_name([{"name": "ce"}, {"name": "mdca", "weight": 2}]), objective_name(None)
        ('ce + mdca', '')
    """
    if objective is None:
        return ""
    entries = [objective] if isinstance(objective, str | Mapping) else list(objective)
    return " + ".join(str(e["name"] if isinstance(e, Mapping) else e) for e in entries)


def _as_run_row(row: AnyRow) -> RunRow:
    if isinstance(row, RunRow):
        return row
    return _from_mapping(row) if isinstance(row, Mapping) else _from_result(row)


def _from_mapping(row: Mapping[str, Any]) -> RunRow:
    if "method" not in row:
        raise DataError(f'a result needs the key "method", got {sorted(row)}')
    evaluation = row.get("evaluation")
    measured = evaluation.estimates if evaluation is not None else row.get("metrics", {})
    return RunRow(
        method=str(row["method"]),
        objective=objective_name(row.get("objective")),
        calibrator=str(row.get("calibrator") or UNCALIBRATED),
        conformal=str(row.get("conformal", "")),
        classes=str(row.get("classes", "all")),
        seed=row.get("seed"),
        estimates={
            name: value if isinstance(value, Estimate) else Estimate(float(value))
            for name, value in measured.items()
        },
        definitions=evaluation.definitions if evaluation is not None else {},
        confidences=_confidences(row.get("confidences", row.get("predictions"))),
        axes={axis: str(row[axis]) for axis in AXES if row.get(axis) is not None},
        provenance=row.get("provenance", {}),
        reason=str(row.get("reason", "")),
    )


def _from_result(row: ResultRow) -> RunRow:
    cell = row.cell
    method = dict(cell["method"])
    data = cell.get("data", {})
    axes = {
        "data": data_label(data) if data else "",
        "backbone": str(cell.get("backbone", "")),
        "shots": "" if cell.get("shots") is None else str(cell["shots"]),
        "train": ", ".join(f"{k}={v}" for k, v in (cell.get("train") or {}).items()),
    }
    evaluation, predictions = row.evaluation, row.predictions
    return RunRow(
        method=_method(method).replace("(", " (", 1),
        objective=objective_name(getattr(row, "objective", None) or cell.get("objective")),
        calibrator=row.calibrator,
        conformal=getattr(row, "conformal", ""),
        classes=row.set,
        seed=cell.get("seed"),
        estimates={} if evaluation is None else dict(evaluation.estimates),
        definitions={} if evaluation is None else evaluation.definitions,
        confidences=_confidences(predictions),
        axes=axes,
        provenance={} if predictions is None else predictions.provenance,
        reason=row.reason,
        chance=_chance(predictions),
        terms=_settings(cell.get("terms")),
    )


def _method(method: Mapping[str, Any]) -> str:
    """Name and options, those of a nested method in its own parentheses."""
    options = {
        key: _method(value) if isinstance(value, Mapping) and "name" in value else value
        for key, value in method.items()
        if key != "name"
    }
    return Named(str(method["name"]), options).label


def _chance(predictions: Predictions | None) -> float | None:
    if predictions is None or not len(predictions):
        return None
    return float(np.bincount(predictions.labels).max() / len(predictions))


def _confidences(rows: Predictions | Confidences | None) -> Confidences | None:
    return rows.top_label() if isinstance(rows, Predictions) else rows
