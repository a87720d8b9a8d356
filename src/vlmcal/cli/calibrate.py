"""``vlmcal calibrate``: repair the confidences of stored predictions, fitted on held-out rows only."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments, findings
from vlmcal.cli.console import Progress, command_line, note
from vlmcal.cli.held_out import Reading, noting_shared
from vlmcal.cli.multi_label import MultiLabelOptions
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports, Results
from vlmcal.cli.verb import verb
from vlmcal.errors import SpecError, require_known

if TYPE_CHECKING:
    from vlmcal.calibrators.base import Calibrator
    from vlmcal.posthoc.compare import Comparison
    from vlmcal.report.html import Report
    from vlmcal.types.predictions import Predictions

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Method = Annotated[str, opt("See `vlmcal list calibrators` and `describe NAME`.", "--method", "-m")]
FitMethod = Annotated[
    str | None,
    opt(
        "See `vlmcal list calibrators` and `describe NAME`.",
        "--method",
        "-m",
        show_default="temperature; platt with --multi-label",
    ),
]
Saved = Annotated[Path, arg("What `calibrate fit` wrote.")]
RowsTo = Annotated[
    Path, written("Calibrated rows: .npz, .csv, .safetensors, ...; - is standard output (CSV).")
]
Folds = Annotated[int, opt("Folds of the cross-validation.")]


@verb(app, "fit")
def fit(
    val: Annotated[
        Path | None, arg("Held-out labelled rows: NPZ, CSV, Parquet, ...", show_default=False)
    ] = None,
    *,
    output: arguments.SavedTo,
    method: FitMethod = None,
    option: arguments.Options = None,
    from_review: Annotated[Path | None, opt("Instead: the decided cases of a review.")] = None,
    reading: Reading,
    multi: MultiLabelOptions,
    split: arguments.SplitName = None,
    allow_absent: arguments.AllowAbsent = False,
) -> None:
    """Fit a calibrator on held-out rows and save it as JSON. Test data are refused."""
    from vlmcal.calibrators.base import CALIBRATORS
    from vlmcal.types.confidences import Confidences

    val = _one_of(val, from_review)
    arguments.require_output(output, (".json",))
    if multi.multi_label:
        findings.fit_per_label(val, output, method, option, multi, reading, split)
        return
    show = arguments.telling_beside(output)
    method = method or "temperature"
    calibrator = arguments.made(CALIBRATORS, method, option)
    if from_review:
        found = reading.read(val, "calibration", split)
        arguments.tell(found.plan.notes)
        rows = found.data
    else:
        rows = _held_out(reading, val, split, show=show)
    if not isinstance(rows, Confidences):
        _require_classes(calibrator, rows, allow_absent)
    with arguments.notes():
        calibrator.fit(rows)
    written = calibrator.save(output)
    show(f"{method} fitted on {len(rows):,} rows of {val.name} (split {rows.split})")
    for line in _learned(calibrator):
        show(f"  {line}")
    show(f"saved: {', '.join(map(str, written))}")


@verb(app, "apply")
def apply(
    calibrator: Saved,
    test: arguments.Test,
    output: RowsTo,
    *,
    reports: Reports,
    reading: Reading,
    multi: MultiLabelOptions,
    out_scores: Annotated[
        str | None, opt("logits, probs or percent; default: as the input.")
    ] = None,
    seed: arguments.Seed = 0,
) -> None:
    """Calibrate other rows with a saved calibrator; measure before and after where labels are known."""
    from vlmcal.calibrators.base import Calibrator
    from vlmcal.io.predictions import save_predictions

    reports = reports.beside(output, arguments.ROWS)
    if multi.multi_label:
        findings.apply_per_label(
            calibrator, test, output, multi, reading, reports, out_scores, seed
        )
        return
    with arguments.notes():
        fitted = Calibrator.load(calibrator)
    scale = arguments.scale(out_scores)
    known = (fitted.fitted_on_ or {}).get("class_names", ())
    named = reading.labels is not None  # then they must be there
    before = reading.load(test, "test", labels_needed=named, known_classes=known, show=reports.show)
    if not before.labelled:
        reports.require_none()
    with arguments.applying(calibrator):
        after = fitted.transform(before)
    save_predictions(after, output, scores=scale)
    if before.labelled:
        _show_pair(before, after, fitted.name, test, seed, reports)
    reports.show(f"saved: {output}")


@verb(app, "cross-fit")
def cross_fit_rows(
    file: arguments.Val,
    output: RowsTo,
    method: Method = "temperature",
    option: arguments.Options = None,
    folds: Folds = 5,
    *,
    reports: Reports,
    reading: Reading,
    split: arguments.SplitName = None,
    seed: arguments.Seed = 0,
    allow_absent: arguments.AllowAbsent = False,
) -> None:
    """Calibrate every row by a calibrator that has not seen it, nor its group (patient, slide).

    For small labelled sets: all rows are fitted on and all can be measured, without leakage.
    """
    from vlmcal.calibrators.base import CALIBRATORS
    from vlmcal.io.predictions import save_predictions
    from vlmcal.posthoc.cross_fit import cross_fit

    reports = reports.beside(output, arguments.ROWS)
    calibrator = arguments.made(CALIBRATORS, method, option)
    before = _held_out(reading, file, split, show=reports.show)
    _require_classes(calibrator, before, allow_absent)
    with arguments.notes():
        after = cross_fit(
            calibrator, before, folds=folds, groups="groups" if reading.group else None, seed=seed
        )
    save_predictions(after, output)
    _show_pair(before, after, f"{method}, {folds}-fold cross-fitted", file, seed, reports)
    units = "rows" if before.groups is None else "groups"
    reports.show(f"saved: {output} (out-of-fold, {folds} folds of {units})")


@verb(app, "compare")
def compare(
    val: arguments.Val,
    test: arguments.Test,
    methods: arguments.Methods = None,
    criterion: Annotated[str, opt("Loss that chooses: nll or brier.")] = "nll",
    folds: Folds = 5,
    *,
    results: Results,
    reading: Reading,
    multi: MultiLabelOptions,
    split: arguments.SplitName = None,
    seed: arguments.Seed = 0,
    allow_absent: arguments.AllowAbsent = False,
) -> None:
    """Fit all calibrators on VAL, choose by cross-validation there, measure on TEST."""
    from vlmcal.calibrators.base import CALIBRATORS, UNCALIBRATED
    from vlmcal.posthoc.before_after import measure
    from vlmcal.posthoc.compare import compare as compared
    from vlmcal.report.pages.posthoc import comparison_table

    names = arguments.known(methods, CALIBRATORS)
    require_known(criterion, ["nll", "brier"], "--criterion: unknown loss")
    choice: dict[str, Any] = {"criterion": criterion, "folds": folds, "seed": seed}
    results.require()
    if multi.multi_label:
        findings.compare_per_label(val, test, names, multi, reading, results, split=split, **choice)
        return
    fitting = _held_out(reading, val, split, last=False, show=results.show)
    known = fitting.class_names
    before = reading.load(test, "test", known_classes=known, show=results.show)
    with noting_shared(fitting, before, test), Progress() as progress:
        found = compared(
            fitting,
            before,
            names and list(dict.fromkeys([UNCALIBRATED, *names])),
            **choice,
            evaluate=lambda rows: measure(rows, intervals=False, seed=seed),
            allow_absent=allow_absent,
            progress=progress.show,
        )
    table = comparison_table(found)
    results.show(table.to_text())
    _tell_choice(found, val, reading, results)
    results.write(
        table,
        lambda: _page(found, fitting, before, (val, test), seed),
        {"val": str(val), "test": str(test), **found.to_dict()},
    )


def _tell_choice(found: "Comparison", val: Path, reading: Reading, results: Results) -> None:
    from vlmcal.posthoc.compare import RULE

    for row in found.left_out:
        results.show(f"left out: {row.name}: {row.notes}")
    for row in found.rows:
        for told in row.notes.split("; "):
            if told.startswith("worse than none"):
                results.show(f"{row.name}: {told}")
    chosen, how = found.chosen.name, f"{found.folds}-fold {found.criterion} on {val.name}"
    results.show(f"chosen: {chosen} ({RULE} {how})")
    results.show(
        f"fit it with: vlmcal calibrate fit {quote(str(val))} {reading.command_options()} "
        f"-m {quote(chosen)} -o calibrator.json"
    )


def _page(
    found: "Comparison",
    fitting: "Predictions",
    before: "Predictions",
    files: tuple[Path, Path],
    seed: int,
) -> "Report":
    from vlmcal.posthoc.before_after import paired_changes
    from vlmcal.report.pages.posthoc import comparison_report

    assert found.chosen.calibrator is not None
    with arguments.notes():
        after = found.chosen.calibrator.transform(before)
    rows = zip(("fitted on", "measured on"), files, (fitting, before), strict=True)
    return comparison_report(
        found,
        before,
        after,
        changes=paired_changes(before, after, seed=seed),
        command=command_line(),
        title=f"Calibrators on {files[1].name}",
        provenance={
            **{
                role: {"file": file.name, "rows": len(part), "split": part.split}
                for role, file, part in rows
            },
            "classes": before.n_classes,
        },
    )


def _require_classes(calibrator: "Calibrator", rows: "Predictions", allow_absent: bool) -> None:
    from vlmcal.posthoc.attempt import require_classes

    if not allow_absent and not calibrator.takes_any_classes():
        require_classes(rows, calibrator.name)


def _one_of(val: Path | None, from_review: Path | None) -> Path:
    given = [path for path in (val, from_review) if path is not None]
    if len(given) != 1:
        raise SpecError("expected rows to fit on: either a file VAL or --from-review DB")
    return given[0]


def _held_out(
    reading: Reading,
    path: Path,
    split: str | None,
    last: bool = True,
    show: Callable[[str], None] = typer.echo,
) -> "Predictions":
    """Rows to fit on."""
    rows = reading.load(path, "val", split, last=last, show=show)
    if rows.split == "train":
        note(
            f"note: {path.name} holds training rows; a model that was trained on them is surer and more "
            "often right there than elsewhere, and a calibrator fitted on them repairs too little"
        )
    return rows


def _learned(calibrator: "Calibrator") -> list[str]:
    """The learned numbers that fit on a line each."""
    shown = []
    for key in calibrator.state:
        value = getattr(calibrator, key)
        if isinstance(value, float | int | str) and value != "":
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            shown.append(f"{key.rstrip('_')} = {text}")
    return shown


def _show_pair(
    before: "Predictions", after: "Predictions", name: str, path: Path, seed: int, reports: Reports
) -> None:
    from vlmcal.posthoc.before_after import measure, paired_changes
    from vlmcal.report.pages.posthoc import before_after_report, before_after_table

    first, last = (measure(rows, seed=seed) for rows in (before, after))
    changes = paired_changes(before, after, seed=seed)
    table = before_after_table(first, last, changes)
    reports.show(table.to_text())
    numbers = {
        "file": str(path),
        "calibrator": name,
        "before": first.to_dict(),
        "after": last.to_dict(),
        "change": {key: asdict(value) for key, value in changes.items()},
    }
    reports.write(
        table,
        lambda: before_after_report(
            before,
            after,
            (first, last),
            name,
            changes=changes,
            command=command_line(),
            title=f"{path.name}: {name}",
        ),
        numbers,
    )
