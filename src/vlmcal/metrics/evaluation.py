"""Measure many things at once: values, intervals, floors, definitions and what to be careful about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.io.table_files import is_table
from vlmcal.metrics.base import METRICS, Metric, definition_of
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.kit.row_weights import as_weights, effective_size
from vlmcal.metrics.measured import EdgeMass, Evaluation
from vlmcal.metrics.measuring import Kit, Options, measure, one_group
from vlmcal.metrics.presets import Spec, metric_names, with_options
from vlmcal.metrics.subgroups import FEWEST, subgroups
from vlmcal.metrics.weighting import weighable
from vlmcal.types.arrays import Numbers
from vlmcal.types.binning import edge_share
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.measurable import Measurable, Scores, from_arrays
from vlmcal.types.multi_label import MultiLabel, given_findings
from vlmcal.types.prediction_sets import PredictionSets

FEW_ROWS = 200


def evaluate(
    rows: Measurable | MultiLabel | Numbers,
    labels: Numbers | Sequence[Spec] | None = None,
    metrics: Spec | Sequence[Spec] = "default",
    *,
    scores: Scores | None = None,
    groups: Any = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    intervals: bool = True,
    by_group: bool = False,
    by: Mapping[str, Any] | None = None,
    options: Options | None = None,
    weights: Numbers | None = None,
    multi_label: bool = False,
    uncertain: Literal["ignore", "positive", "negative"] | None = None,
) -> Evaluation:
    """Measure rows with a preset or a list of metrics.

    Args:
        rows: Predictions, Confidences or PredictionSets, which carry their labels; or plain arrays (lists,
            NumPy, pandas, tensors on any device) with ``labels`` and ``scores``; or a data frame or
            ``datasets.Dataset`` with a column of labels, read as by :func:`vlmcal.load_predictions`.
        labels: (N,) class numbers of plain arrays, or their correctness where ``rows`` are confidences. With
            rows that carry labels, metrics may stand here: ``evaluate(predictions, ["ece"])``. With a table:
            the column of the labels, or None for the usual names.
        metrics: Preset name, metric name or list of metrics, with options as ``"ece(bins=10)"`` or
            ``{"name": "ece", "bins": 10}``. Metrics of a preset that the data cannot support are left out
            with a note; metrics named one by one must be possible.
        scores: What a plain array holds: "probs", "logits" or "log_probs" (N, K), "confidence" (N,) or
            "sets" (N, K); it may be left out for one number per row.
        groups: (N,) patient, slide or image of each row of plain arrays; intervals then treat the groups as
            the units.
        level: Confidence level of the intervals.
        resamples: Bootstrap resamples for the smooth metrics (drawn once for all of them); 0 is
            ``intervals=False``.
        seed: Seed of every draw; the same seed gives the same numbers.
        intervals: False leaves out intervals and floors, and all drawing.
        by_group: Also measure each kind of row (``Confidences.kinds``) alone, or each group, or, where
            there is neither, each class of the labels.
        by: (N,) values of columns such as sex or hospital, by name: each subgroup is measured alone, too.
        options: Options by metric name, for example ``{"ece": {"bins": 10}}``.
        weights: (N,) weights of the rows, at least 0: everything is measured as if row i occurred w_i times,
            and intervals draw rows with their weights. Metrics without a weighted form are left out of
            presets with a note, and refused where they are named. Weights 1 / (share sampled) undo sampling.
        multi_label: Plain arrays are independent probabilities (N, L) of findings that do not exclude each
            other, with truths (N, L) of 0, 1 and NaN (unknown); ``scores`` is "probs" or "logits". As for
            :class:`~vlmcal.types.multi_label.MultiLabel` rows, the measures are those of
            :func:`~vlmcal.metrics.multi_label.evaluate_multi_label`.
        uncertain: What a truth of -1 means there.

    Raises:
        DataError: The data do not carry what a named metric needs.
        SpecError: Unknown metric, preset or option.

    Example:
        >>> rows = Confidences(confidence=[0.9, 0.8, 0.6, 0.7], correct=[True, True, False, True])
        >>> result = evaluate(rows, ["accuracy", "ece"], intervals=False)
        >>> round(result["ece"].value, 4), result.n
        (0.3, 4)
        >>> result = evaluate([[0.9, 0.1], [0.4, 0.6]], [0, 0], "brier", scores="probs", intervals=False)
        >>> round(result["brier"].value, 4)
        0.37
    """
    if not 0 < level < 1:
        raise SpecError(f"level: expected a number between 0 and 1, got {level}")
    metrics = [metrics] if isinstance(metrics, Mapping) else metrics
    options, intervals = options or {}, intervals and resamples > 0
    if multi_label or uncertain is not None or isinstance(rows, MultiLabel):
        if metrics != "default" or options or by_group or by:
            raise SpecError(
                "metrics, options, by_group, by: findings have the same measures each; for subgroups see "
                "vlmcal.metrics.multi_label_subgroups"
            )
        if not (multi_label or isinstance(rows, MultiLabel)):
            raise SpecError("uncertain: is for multi_label=True")
        found = given_findings(rows, labels, scores, groups, uncertain)
        from vlmcal.metrics.multi_label import evaluate_multi_label

        return evaluate_multi_label(
            found, level=level, resamples=resamples if intervals else 0, seed=seed, weights=weights
        )
    data, named = _given(rows, labels, metrics, scores, groups)
    names, options = with_options([named] if isinstance(named, str) else named, options)
    metrics = names[0] if isinstance(named, str) else names
    measured = Rows.of(data)
    notes: list[str] = []
    chosen = _choose(measured, metrics, options, notes)
    options = {m.name: m.check_options(options.get(m.name, {})) for m in chosen}
    kit = Kit(level, resamples, seed, intervals, options)
    if weights is not None:
        kit = replace(kit, weights=as_weights(weights, measured.n))
        chosen = weighable(chosen, metric_names(metrics)[1], options, notes)
    estimates = measure(measured, chosen, kit, notes)
    notes += _cautions(measured, estimates)
    if kit.weights is not None:
        worth = f"{effective_size(kit.weights):,.1f}"
        notes.append(f"Rows are weighted: {measured.n:,} of them are worth {worth} equal ones.")
    small: list[str] = []
    parts = _by_group(measured, chosen, kit, estimates) if by_group else {}
    for name, inside in subgroups(by or {}, measured.n):
        parts[name] = measure(Rows.of(_subset(measured.data, inside)), chosen, kit.part(inside), [])
        if inside.sum() < FEWEST:
            small.append(name)
    if small:
        notes.append(f"Fewer than {FEWEST} rows: {', '.join(small)}.")
    if intervals and "piece" in estimates:
        notes.append(_piece_note(measured, options.get("piece", {}), level))
    return Evaluation(
        estimates=estimates,
        definitions={m.name: definition_of(m, options.get(m.name, {})) for m in chosen},
        n=measured.n,
        level=level,
        groups=parts,
        edge_mass=None
        if kit.weights is not None
        else _edge_mass(measured, options.get("ece", {}), estimates.get("ece")),
        notes=notes,
        effective=None if kit.weights is None else effective_size(kit.weights),
    )


def _given(
    rows: Any, labels: Any, metrics: str | Sequence[Spec], scores: Scores | None, groups: Any
) -> tuple[Measurable, str | Sequence[Spec]]:
    """The rows to measure and the metrics, whichever of the two forms of a call was used."""
    if is_table(rows) and (labels is None or isinstance(labels, str)):
        return _of_table(rows, labels, scores, groups), metrics
    if not Rows.accepts(rows):
        if labels is None:
            raise DataError(
                f"evaluate: expected Predictions, Confidences, PredictionSets, or an array with labels, got "
                f"{type(rows).__name__} without labels"
            )
        return from_arrays(rows, labels, scores, groups=groups), metrics
    kind = type(rows).__name__
    for name, value in (("scores", scores), ("groups", groups)):
        if value is not None:
            raise SpecError(f"{name}: {kind} carry their own; leave it out")
    if labels is None:
        return rows, metrics
    if not isinstance(labels, str) and not all(isinstance(name, str | Mapping) for name in labels):
        raise SpecError(f"labels: {kind} carry their own; expected metrics here, got numbers")
    return rows, labels


def _of_table(rows: Any, labels: str | None, scores: Any, groups: Any) -> Measurable:
    """A data frame or ``datasets.Dataset`` that holds its labels (and groups) in columns."""
    from vlmcal.io.predictions import read_predictions

    group = groups if isinstance(groups, str) else None
    data = read_predictions(rows, labels=labels, scores=scores, group=group).data
    return data if groups is group else replace(data, groups=groups)


def _choose(
    rows: Rows, metrics: str | Sequence[str], options: Options, notes: list[str]
) -> list[Metric]:
    names, preset = metric_names(metrics)
    if preset and names == metric_names("default")[0] and isinstance(rows.data, Confidences):
        names = metric_names("confidences")[0]
        notes.append("Confidences carry no class probabilities: class-wise metrics are left out.")
    if preset and names == metric_names("default")[0] and isinstance(rows.data, PredictionSets):
        names = metric_names("sets")[0]
    chosen = []
    for name in names:
        entry = METRICS.get(name)
        if preset and not entry.applies_to(rows):
            notes.append(f"{name} is left out: the data do not carry what it needs.")
            continue
        chosen.append(entry)
    for name in options:
        if name not in names:
            raise SpecError(f'options name "{name}", which is not measured; measured: {names}')
    return chosen


def _by_group(
    rows: Rows, chosen: Sequence[Metric], kit: Kit, whole: Mapping[str, Estimate]
) -> dict[str, dict[str, Estimate]]:
    data = rows.data
    kinds = getattr(data, "kinds", None)
    if kinds is None and data.groups is not None:
        # Within one group there is nothing left to resample by group.
        kinds, data = data.groups, replace(data, groups=None)
    if kinds is None:
        if isinstance(data, Confidences):
            raise DataError("by_group: these rows carry neither kinds nor groups; give one of them")
        names = np.asarray(data.class_names)
        kinds = names[data.labels]
    parts: dict[str, dict[str, Estimate]] = {}
    for kind in np.unique(kinds):
        inside = kinds == kind
        part = Rows.of(_subset(data, inside))
        if data is rows.data and inside.all():
            return {str(kind): dict(whole)}
        kept = [m for m in chosen if m.applies_to(part)]
        parts[str(kind)] = measure(part, kept, kit.part(inside), [])
    return parts


def _subset(data: Any, keep: Any) -> Any:
    if isinstance(data, PredictionSets):
        raise DataError("by_group: not available for PredictionSets; use the class-conditional gap")
    return data.subset(keep)


def _edge_mass(rows: Rows, options: Mapping[str, Any], known: Estimate | None) -> EdgeMass | None:
    if not rows.has("confidence"):
        return None
    confidence, correct = rows.take("confidence", "ece"), rows.take("correct", "ece")
    resolution = float(rows.take("resolution", "ece"))
    bins = int(options.get("bins", 15))
    rule = str(options.get("edges", "right"))
    other = "left" if rule == "right" else "right"
    values = {
        name: ece(confidence, correct, bins=bins, edges=name, resolution=resolution)
        for name in (
            (rule, other) if known is None or set(options) - {"bins", "edges"} else (other,)
        )
    }
    if known is not None:
        values.setdefault(rule, known.value)
    share = edge_share(confidence, bins, resolution)
    return EdgeMass(share, bins, values[rule], other, values[other])


def _piece_note(rows: Rows, options: Mapping[str, Any], level: float) -> str:
    from vlmcal.metrics.piece import piece_null_band

    arrays = [rows.take(name, "piece") for name in ("confidence", "correct", "proximity")]
    low, high = piece_null_band(*arrays, level=level, **options)
    return (
        f"piece: a calibrated model of this size shows {low:.3f} to {high:.3f}; see piece_debiased."
    )


def _cautions(rows: Rows, estimates: Mapping[str, Estimate]) -> list[str]:
    notes = []
    if one_group(rows):
        notes.append("All rows belong to one group, so there are no intervals.")
    if rows.n < FEW_ROWS:
        notes.append(f"Only {rows.n} rows: binned errors are mostly noise below {FEW_ROWS}.")
    if rows.has("confidence"):
        confidence = rows.take("confidence", "notes")
        distinct = len(np.unique(confidence[:100_000]))
        if distinct < min(50, rows.n / 2):
            notes.append(
                f"Only {distinct} distinct confidences: many ties, so bins depend on the edge rule."
            )
    for name, estimate in estimates.items():
        if not np.isfinite(estimate.value):
            notes.append(f"{name} is undefined here (see its definition).")
    if rows.groups is not None:
        notes.append(f"Intervals treat the {len(np.unique(rows.groups))} groups as the units.")
    return notes
