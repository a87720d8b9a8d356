"""``vlmcal conformal``: sets of labels with a guarantee, from stored predictions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments, findings
from vlmcal.cli.conformal_p_values import p_values
from vlmcal.cli.conformal_stream import stream
from vlmcal.cli.console import Progress, command_line
from vlmcal.cli.held_out import Reading, noting_shared
from vlmcal.cli.multi_label import MultiLabelOptions
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports, Results
from vlmcal.cli.verb import verb

if TYPE_CHECKING:
    from vlmcal.posthoc.label_sets import SetRow

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Method = Annotated[
    str | None,
    opt(
        "See `vlmcal list conformal` and `describe NAME`.",
        "--method",
        "-m",
        show_default="aps; false_negative_rate with --multi-label",
    ),
]
Alpha = Annotated[float, opt("Target miscoverage (or risk); 0.1 asks for 90 %.")]


@verb(app, "fit")
def fit(
    val: arguments.Val,
    output: arguments.SavedTo,
    method: Method = None,
    alpha: Alpha = 0.1,
    option: arguments.Options = None,
    *,
    reading: Reading,
    multi: MultiLabelOptions,
    split: arguments.SplitName = None,
    allow_absent: arguments.AllowAbsent = False,
) -> None:
    """Learn thresholds from held-out rows and save them as JSON. Test data are refused."""
    from vlmcal.conformal.base import CONFORMAL
    from vlmcal.posthoc.label_sets import fit_usefully

    arguments.require_output(output, (".json",))
    if multi.multi_label:
        findings.fit_sets(val, output, method, option, alpha, multi, reading, split)
        return
    show = arguments.telling_beside(output)
    method = method or "aps"
    predictor = arguments.made(CONFORMAL, method, option)
    rows = reading.load(val, "calibration", split, show=show)
    with arguments.notes():
        fit_usefully(predictor, rows, alpha, allow_absent=allow_absent)
    written = predictor.save(output)
    show(
        f"{method} fitted on {len(rows):,} rows of {val.name} (split {rows.split}), alpha = {alpha:g}; "
        f"guarantee: {predictor.guarantee}"
    )
    threshold = getattr(predictor, "threshold_", None)
    if threshold is not None:
        show(f"  threshold = {threshold:.6g}")
    show(f"saved: {', '.join(map(str, written))}")


@verb(app, "apply")
def apply(
    conformal: Annotated[Path, arg("What `conformal fit` wrote.")],
    test: arguments.Test,
    output: Annotated[
        Path, written("Label sets: .npz, .safetensors or a table; - is standard output (CSV).")
    ],
    *,
    reports: Reports,
    reading: Reading,
    multi: MultiLabelOptions,
    level: arguments.Level = 0.95,
    seed: arguments.Seed = 0,
) -> None:
    """Form the label sets of other rows, and measure what they deliver where labels are known."""
    from vlmcal.conformal.base import ConformalPredictor
    from vlmcal.io.prediction_sets import save_prediction_sets
    from vlmcal.posthoc.label_sets import SetRow

    reports = reports.beside(output, arguments.ROWS)
    if multi.multi_label:
        findings.apply_sets(
            conformal, test, output, multi, reading, reports, level=level, seed=seed
        )
        return
    predictor = ConformalPredictor.load(conformal)
    known = (predictor.fitted_on_ or {}).get("class_names", ())
    named = reading.labels is not None  # then they must be there
    rows = reading.load(test, "test", labels_needed=named, known_classes=known, show=reports.show)
    if not rows.labelled:
        reports.require_none()
    with arguments.applying(conformal):
        sets = predictor.predict(rows)
    save_prediction_sets(sets, output)
    if sets.labelled:
        row = SetRow.of(predictor, sets, level=level, seed=seed)
        _show([row], predictor.alpha_, test, reports)
    reports.show(f"saved: {output}")


@verb(app, "compare")
def compare(
    val: arguments.Val,
    test: arguments.Test,
    alpha: Alpha = 0.1,
    methods: arguments.Methods = None,
    *,
    results: Results,
    reading: Reading,
    split: arguments.SplitName = None,
    level: arguments.Level = 0.95,
    seed: arguments.Seed = 0,
    allow_absent: arguments.AllowAbsent = False,
) -> None:
    """Fit all methods on VAL and measure the label sets of TEST."""
    from vlmcal.conformal.base import CONFORMAL
    from vlmcal.posthoc.label_sets import conformal_sets, fit_usefully

    names = arguments.known(methods, CONFORMAL)
    results.require()
    fitting = reading.load(val, "calibration", split, last=False, show=results.show)
    known = fitting.class_names
    rows = reading.load(test, "test", known_classes=known, show=results.show)
    with noting_shared(fitting, rows, test), Progress() as progress:
        found = conformal_sets(
            fitting,
            rows,
            alpha,
            names,
            level=level,
            seed=seed,
            fit=partial(fit_usefully, allow_absent=allow_absent),
            progress=progress.show,
        )
    arguments.tell(row.notes for row in found.rows if row.sets is not None and row.notes)
    _show(found.rows, alpha, test, results)


verb(app, "p-values")(p_values)
verb(app, "stream")(stream)


def _show(outcomes: "Sequence[SetRow]", alpha: float, test: Path, reports: Reports) -> None:
    from vlmcal.report.pages.label_sets import alarm, selective_risk, sets_report, sets_table

    reports.show(f"target coverage {100 * (1 - alpha):g} % (alpha = {alpha:g})\n")
    table = sets_table(outcomes)
    reports.show(table.to_text())
    for line in filter(None, (selective_risk(outcome, alpha) for outcome in outcomes)):
        reports.show(line)
    if warning := alarm(outcomes, alpha):
        reports.show(f"\nwarning: {warning}")
    for outcome in outcomes:
        if outcome.evaluation is None:
            reports.show(f"left out: {outcome.name}: {outcome.notes}")
    reports.write(
        table,
        lambda: sets_report(
            outcomes,
            alpha,
            command=command_line(),
            title=f"Label sets of {test.name}",
            provenance={"alpha": alpha, "measured on": test.name},
        ),
        _numbers(outcomes, alpha, test),
    )


def _numbers(outcomes: "Sequence[SetRow]", alpha: float, test: Path) -> dict[str, Any]:
    return {
        "test": str(test),
        "alpha": alpha,
        "methods": [
            {
                "method": outcome.name,
                "guarantee": outcome.guarantee,
                "test": None if outcome.evaluation is None else outcome.evaluation.to_dict(),
                "notes": outcome.notes,
            }
            for outcome in outcomes
        ],
    }
