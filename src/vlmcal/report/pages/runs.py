"""Report on several runs: methods, objectives and calibrators on base and new classes, over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.metrics.presets import Spec, metric_names, with_options
from vlmcal.report.cells import Cell, Spread, words
from vlmcal.report.display import metric_column, named_definitions, under
from vlmcal.report.html import Report, Section, present
from vlmcal.report.pages.run_pictures import overlay_section, reliability_section
from vlmcal.report.pages.run_rows import (
    AnyRow,
    RunRow,
    as_run_rows,
    at_chance,
    blocks,
    common_settings,
    found_on,
    grouped,
    ordered_classes,
    variant_names,
)
from vlmcal.report.pages.run_summary import summarise
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate

METRICS_SHOWN = ("accuracy", "ece", "ace", "mce", "brier", "nll")
HEADLINE = ("accuracy", "ece")
WITH_INTERVAL = frozenset({"ece"})
SETS_SHOWN = ("coverage", "mean_set_size", "worst_class_coverage", "size_stratified_violation")
SETS = (
    "Label sets of conformal methods, fitted on a held-out split of the training classes. The guarantee is "
    "for new rows of those classes; for other classes coverage is measured, not promised."
)
HARMONIC = "Harmonic mean of base and new accuracy, 2 b n / (b + n), per seed, then averaged."


def runs_report(
    rows: Iterable[AnyRow],
    *,
    title: str,
    command: str = "",
    summary: str = "",
    provenance: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = METRICS_SHOWN,
) -> Report:
    """A page that compares runs: tables over seeds, and reliability diagrams per run.

    Args:
        rows: Results as an experiment yields them, or plain mappings; see
            :func:`vlmcal.report.pages.run_rows.as_run_rows`.
        title: Title of the page.
        command: The command that made the results.
        summary: What the experiment is about, in plain words; the findings are added.
        provenance: Added to what the rows carry.
        metrics: Registry names of the metrics shown, in order.

    Raises:
        DataError: No rows, or the same run twice.

    Example:
        >>> rows = [
        ...     {"method": "coop", "classes": c, "seed": s, "metrics": {"accuracy": 0.9, "ece": 0.1}}
        ...     for c in ("base", "new") for s in (1, 2)
        ... ]
        >>> [section.heading for section in runs_report(rows, title="CoOp").sections]
        ['Results']
    """
    everything = as_run_rows(rows)
    results = [row for row in everything if not row.conformal]
    measured = [row for row in results if row.estimates]
    more = [name for name in metrics if name not in HEADLINE]
    tables = [_table(measured, HEADLINE, "Accuracy and calibration")]
    if any(name in row.estimates for name in more for row in measured):
        tables.append(_table(measured, more, "Other calibration errors and proper scores"))
    notes = [*_not_applied(results), *_held_out(results)]
    sections = present(
        Section(heading="Results", tables=tables, notes=notes),
        _sets_section(everything),
        reliability_section(measured),
        overlay_section(measured),
    )
    definitions: dict[str, str] = {}
    for row in everything:
        definitions |= row.definitions
    shown = named_definitions(definitions, (*metrics, *SETS_SHOWN))
    if _has_harmonic(measured):
        shown["H"] = HARMONIC
    return Report(
        title=title,
        sections=sections,
        lead=summary,
        summary=summarise(measured),
        definitions=shown,
        provenance={**_shared(results), **(provenance or {})},
        command=command,
    )


def shown_metrics(
    metrics: str | Sequence[Spec], default: Sequence[str] = METRICS_SHOWN
) -> Sequence[str]:
    """What a table shows of what was measured: the metrics asked for, of the default ones the usual few.

    Example:
        >>> shown_metrics("default", ("accuracy",)), shown_metrics(["ece", "smallest_singular_value"])
        (('accuracy',), ['ece', 'smallest_singular_value'])
    """
    if metrics == "default":
        return default
    return with_options(metric_names(metrics)[0], {})[0]


def runs_table(rows: Iterable[AnyRow], metrics: Sequence[str] = METRICS_SHOWN) -> Table:
    """One line per run and calibrator, one column per metric and class set, over seeds.

    Example:
        >>> rows = [
        ...     {"method": "coop", "classes": c, "seed": s, "metrics": {"accuracy": a + s / 100}}
        ...     for c, a in (("base", 0.9), ("new", 0.6)) for s in (1, 2)
        ... ]
        >>> print(runs_table(rows).to_text())
                ------------ accuracy ------------
        method    base % ↑     new % ↑       H % ↑
        ------  ----------  ----------  ----------
        coop    91.5 ± 0.7  61.5 ± 0.7  73.6 ± 0.7
        <BLANKLINE>
        Mean ± standard deviation over 2 seeds.
    """
    found = [row for row in as_run_rows(rows) if row.estimates and not row.conformal]
    return _table(found, metrics, "")


def run_sets_table(rows: Iterable[AnyRow], metrics: Sequence[str] = SETS_SHOWN) -> Table:
    """One line per run and conformal method, one column per metric and class set, over seeds.

    Example:
        >>> rows = [
        ...     {"method": "coop", "conformal": "aps", "seed": s, "metrics": {"coverage": 0.9 + s / 100}}
        ...     for s in (1, 2)
        ... ]
        >>> print(run_sets_table(rows).to_text())
                      coverage
        method           all %
        ----------  ----------
        coop + aps  91.5 ± 0.7
        <BLANKLINE>
        Mean ± standard deviation over 2 seeds.
    """
    found = [row for row in as_run_rows(rows) if row.estimates and row.conformal]
    return _table([replace(row, calibrator=row.conformal) for row in found], metrics, "")


def _sets_section(rows: Sequence[RunRow]) -> Section | None:
    with_sets = [row for row in rows if row.conformal]
    if not with_sets:
        return None
    named = [replace(row, calibrator=row.conformal) for row in with_sets]
    tables = [run_sets_table(with_sets)] if any(row.estimates for row in with_sets) else []
    return Section(heading="Label sets", prose=[SETS], tables=tables, notes=_not_applied(named))


def _table(rows: Sequence[RunRow], metrics: Sequence[str], caption: str) -> Table:
    names = variant_names(rows)
    classes = ordered_classes(rows)
    known = [name for name in metrics if any(name in row.estimates for row in rows)]
    columns = [words("method")]
    for name in known:
        like = metric_column(name)
        columns += [under(like, title) for title in classes]
        if name == "accuracy" and _has_harmonic(rows):
            columns.append(under(like, "H"))
    lines: list[list[Cell]] = []
    marked: list[str | None] = []
    block_of = {id(row): block for block, members in blocks(rows).items() for row in members}
    for (variant, calibrator), members in grouped(rows).items():
        label = names[variant]
        line: list[Cell] = [label if calibrator == UNCALIBRATED else f"{label} + {calibrator}"]
        for name in known:
            line += [_cell(members, name, title) for title in classes]
            if name == "accuracy" and _has_harmonic(rows):
                line.append(harmonic(members))
        lines.append(line)
        low = any(at_chance(row) for row in members)
        marked.append(None if low else block_of[id(members[0])])
    shared = common_settings(rows)
    notes = [shared] if shared else []
    if {row.seed is None for row in rows} == {True, False}:
        notes.append("Values without ± do not depend on a seed.")
    return Table(columns=columns, rows=lines, caption=caption, notes=notes, blocks=marked)


def _cell(members: Sequence[RunRow], name: str, classes: str) -> Cell:
    values = found_on(classes, name, members)
    if name not in WITH_INTERVAL:
        values = [Estimate(value.value, n=value.n) for value in values]
    if not values:
        return None
    seedless = all(row.seed is None for row in members)
    return values[0] if seedless and len(values) == 1 else Spread.of(values)


def harmonic(members: Sequence[RunRow]) -> Cell:
    """Harmonic mean of base and new accuracy over the seeds that have both.

    Example:
        >>> rows = [
        ...     RunRow(method="coop", classes=c, estimates={"accuracy": Estimate(a)})
        ...     for c, a in (("base", 0.9), ("new", 0.6))
        ... ]
        >>> round(harmonic(rows), 4)
        0.72
    """
    accuracy = {
        (row.seed, row.classes): row.estimates["accuracy"].value
        for row in members
        if "accuracy" in row.estimates
    }
    seeds = dict.fromkeys(seed for seed, _ in accuracy)
    values = []
    for seed in seeds:
        base, new = accuracy.get((seed, "base")), accuracy.get((seed, "new"))
        if base is not None and new is not None:
            values.append(2 * base * new / (base + new) if base + new else 0.0)
    if not values:
        return None
    return values[0] if list(seeds) == [None] else Spread.of(values)


def _has_harmonic(rows: Sequence[RunRow]) -> bool:
    with_accuracy = {row.classes for row in rows if "accuracy" in row.estimates}
    return {"base", "new"} <= with_accuracy


def _not_applied(rows: Sequence[RunRow]) -> list[str]:
    names = variant_names(rows)
    return [
        f"Not applied: {row.calibrator} to {names[row.variant]} on {row.classes} classes"
        + (f", seed {row.seed}" if row.seed is not None else "")
        + f": {row.reason}"
        for row in rows
        if row.reason
    ]


def _held_out(rows: Sequence[RunRow]) -> list[str]:
    if all(row.calibrator == UNCALIBRATED for row in rows):
        return []
    return [
        "Calibrators were fitted on a held-out split of the training classes, never on test rows; what "
        "they learned there is applied to new classes as it is."
    ]


def _shared(rows: Sequence[RunRow]) -> dict[str, Any]:
    """Provenance that all rows agree on, and the seeds and run ids that differ."""
    seeds = sorted({row.seed for row in rows if row.seed is not None})
    result: dict[str, Any] = {"seeds": seeds} if seeds else {}
    keys = dict.fromkeys(key for row in rows for key in row.provenance)
    for key in keys:
        values = [row.provenance[key] for row in rows if key in row.provenance]
        if key == "run":
            result["runs"] = list(dict.fromkeys(values))
        elif key != "steps" and all(value == values[0] for value in values):
            result[key] = values[0]
    return result
