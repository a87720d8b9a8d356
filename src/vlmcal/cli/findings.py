"""``vlmcal calibrate`` and ``vlmcal conformal`` with ``--multi-label``."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.held_out import Reading
from vlmcal.cli.multi_label import MultiLabelOptions
from vlmcal.cli.reports import Reports
from vlmcal.errors import SpecError, nearest

if TYPE_CHECKING:
    from vlmcal.calibrators.losses import Loss
    from vlmcal.fitted import Fitted
    from vlmcal.io.predictions import ReadingOptions
    from vlmcal.types.multi_label import MultiLabel

SET_METHOD = "false_negative_rate"


def fit_per_label(
    val: Path,
    output: Path,
    method: str | None,
    option: list[str] | None,
    multi: MultiLabelOptions,
    reading: Reading,
    split: str | None,
) -> None:
    """``vlmcal calibrate fit --multi-label``."""
    from vlmcal.findings.per_label import MILDER, PerLabel

    show = arguments.telling_beside(output)
    method = method or MILDER
    if option:
        method = f"{method}({', '.join(option)})"
    rows = multi.read(reading, val, "val", split, show=show).data
    fitted = PerLabel(method)
    with arguments.notes():
        fitted.fit(rows)
    written = fitted.save(output)
    show(
        f"{method} fitted for each of {len(rows.names)} findings on {len(rows):,} rows of {val.name}"
    )
    for name, used in fitted.maps().items():
        if used != fitted.calibrator:
            show(f"  {name}: {used}")
    show(f"saved: {', '.join(map(str, written))}")


def apply_per_label(
    saved: Path,
    test: Path,
    output: Path,
    multi: MultiLabelOptions,
    reading: Reading,
    reports: Reports,
    out_scores: str | None,
    seed: int,
) -> None:
    """``vlmcal calibrate apply --multi-label``."""
    from vlmcal.findings.per_label import PerLabel
    from vlmcal.io.multi_label_output import save_multi_label

    if out_scores not in (None, "probs"):
        raise SpecError(f"--out-scores {out_scores}: findings are written as probabilities")
    fitted = PerLabel.load(saved)
    before = _others(fitted, test, multi, reading, reports)
    with arguments.applying(saved):
        after = fitted.transform(before)
    save_multi_label(after, output)
    if before.labelled:
        _show_pair(before, after, fitted.calibrator, test, reports, seed)
    reports.show(f"saved: {output}")


def compare_per_label(
    val: Path,
    test: Path,
    methods: list[str] | None,
    multi: MultiLabelOptions,
    reading: Reading,
    results: Reports,
    *,
    split: str | None,
    criterion: "Loss",
    folds: int,
    seed: int,
) -> None:
    """``vlmcal calibrate compare --multi-label``."""
    from vlmcal.findings.compare import METHODS, compare_findings
    from vlmcal.report.pages.finding_methods import finding_comparison_table
    from vlmcal.report.pages.multi_label import multi_label_report

    fitting = multi.read(reading, val, "val", split, last=False, show=results.show).data
    known: ReadingOptions = {"known_classes": fitting.names}
    rows = multi.read(reading, test, "test", options=known, show=results.show).data
    with arguments.notes():
        found = compare_findings(
            fitting, rows, methods or METHODS, criterion=criterion, folds=folds, seed=seed
        )
    table = finding_comparison_table(
        [(o.name, o.loss, o.evaluation) for o in found], criterion, folds
    )
    results.show(table.to_text())
    for line in (f"{outcome.name}: {note}" for outcome in found for note in outcome.notes):
        results.show(line)
    best = found[0]
    results.show(f"chosen: {best.name} (lowest {folds}-fold {criterion} on {val.name})")
    words = filter(None, (quote(str(val)), multi.command_options(), reading.command_options()))
    results.show(
        f"fit it with: vlmcal calibrate fit {' '.join(words)} -m {quote(best.name)} -o calibrator.json"
    )
    assert best.fitted is not None
    assert best.evaluation is not None
    measured = best.evaluation
    with arguments.notes():
        after = best.fitted.transform(rows)
    results.write(
        table,
        lambda: multi_label_report(
            after, measured, command=command_line(), title=f"{test.name}: {best.name}"
        ),
        {
            **{"val": str(val), "test": str(test), "criterion": criterion, "chosen": best.name},
            "calibrators": [outcome.to_dict() for outcome in found],
        },
    )


def fit_sets(
    val: Path,
    output: Path,
    method: str | None,
    option: list[str] | None,
    alpha: float,
    multi: MultiLabelOptions,
    reading: Reading,
    split: str | None,
) -> None:
    """``vlmcal conformal fit --multi-label``."""
    from vlmcal.findings.base import FINDING_METHODS
    from vlmcal.findings.false_negative_rate import FindingSetMethod

    show = arguments.telling_beside(output)
    kinds = {
        name: kind for name, kind in FINDING_METHODS.items() if issubclass(kind, FindingSetMethod)
    }
    name = method or SET_METHOD
    if name.partition("(")[0] not in kinds:
        raise SpecError(f'--method: "{name}" makes no sets of findings; {nearest(name, kinds)}')
    predictor = arguments.made(FINDING_METHODS, name, option)
    assert isinstance(predictor, FindingSetMethod)
    rows = multi.read(reading, val, "calibration", split, show=show).data
    with arguments.notes():
        predictor.fit(rows, alpha)
    written = predictor.save(output)
    show(
        f"{name} fitted on {len(rows):,} rows of {val.name} (split {rows.split}), alpha = {alpha:g}; "
        f"controls: {predictor.guarantee}"
    )
    thresholds = predictor.thresholds()
    for finding, value in zip(
        rows.names if thresholds.size > 1 else ("all findings",), thresholds, strict=True
    ):
        show(f"  {finding}: in the set from {value:.6g} on")
    show(f"saved: {', '.join(map(str, written))}")


def apply_sets(
    saved: Path,
    test: Path,
    output: Path,
    multi: MultiLabelOptions,
    reading: Reading,
    reports: Reports,
    *,
    level: float,
    seed: int,
) -> None:
    """``vlmcal conformal apply --multi-label``."""
    from vlmcal.findings.false_negative_rate import FindingSetMethod
    from vlmcal.io.multi_label_output import save_finding_sets
    from vlmcal.metrics.finding_sets import evaluate_finding_sets
    from vlmcal.report.pages.finding_methods import finding_set_tables, finding_sets_report

    predictor = FindingSetMethod.load(saved)
    rows = _others(predictor, test, multi, reading, reports)
    with arguments.applying(saved):
        sets = predictor.predict(rows)
    save_finding_sets(sets, output)
    if sets.labelled:
        found = evaluate_finding_sets(sets, level=level, seed=seed)
        tables = finding_set_tables(found, sets.alpha)
        for table in tables:
            reports.show(f"{table.to_text()}\n")
        reports.write(
            tables[1],
            lambda: finding_sets_report(
                found, sets.alpha, command=command_line(), title=f"Sets of findings of {test.name}"
            ),
            {"test": str(test), "alpha": sets.alpha, "method": predictor.name, **found.to_dict()},
        )
    reports.show(f"saved: {output}")


def _others(
    fitted: "Fitted", test: Path, multi: MultiLabelOptions, reading: Reading, reports: Reports
) -> "MultiLabel":
    """Rows that something fitted is applied to; their truths are not needed."""
    known = (fitted.fitted_on_ or {}).get("class_names", ())
    options: ReadingOptions = {"labels_needed": False, "known_classes": known}
    rows = multi.read(reading, test, "test", options=options, show=reports.show).data
    if not rows.labelled:
        reports.require_none()
    return rows


def _show_pair(
    before: "MultiLabel", after: "MultiLabel", name: str, test: Path, reports: Reports, seed: int
) -> None:
    from vlmcal.metrics.multi_label import evaluate_multi_label
    from vlmcal.report.pages.finding_methods import (
        before_after_findings,
        before_after_findings_report,
    )

    first, last = (evaluate_multi_label(rows, resamples=300, seed=seed) for rows in (before, after))
    table = before_after_findings(first, last)
    reports.show(table.to_text())
    reports.write(
        table,
        lambda: before_after_findings_report(
            after,
            first,
            last,
            command=command_line(),
            title=f"{test.name}: {name} for each finding",
        ),
        {"file": str(test), "calibrator": name, "before": asdict(first), "after": asdict(last)},
    )
