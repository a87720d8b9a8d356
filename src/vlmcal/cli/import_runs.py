"""``vlmcal import``: runs that were trained elsewhere."""

from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line, note
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Results
from vlmcal.cli.verb import verb
from vlmcal.errors import DataError, SpecError, VlmcalError, require_none

if TYPE_CHECKING:
    from vlmcal.experiment.dassl.outputs import Output
    from vlmcal.experiment.evaluate import Row
    from vlmcal.experiment.run import Workbench
    from vlmcal.experiment.store import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _import() -> None:
    """Runs that were trained elsewhere."""


@dataclass(frozen=True)
class Told:
    """What is said of a training in place of what its log and its folders say; an option group."""

    data: Annotated[
        str | None, opt("Data set, as `vlmcal train` takes it; default: of the log.")
    ] = None
    backbone: Annotated[str | None, opt("As in vlmcal train.")] = None
    method: Annotated[str | None, opt("Trainer, such as CoOp or MaPLe, where no log names it.")] = (
        None
    )
    classes: Annotated[str | None, opt("Trained on: base or all.")] = None
    shots: Annotated[int | None, opt("Training images per class.")] = None
    seed: Annotated[int | None, opt("Seed of the draw.")] = None
    objective: Annotated[
        str | None, opt("What it was trained with besides its own loss, such as tcpt or mdca.")
    ] = None


@verb(app, "dassl")
def dassl(
    folder: Annotated[Path, arg("Output folder of the trainers, at any height, or one file.")],
    *,
    told: Told,
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    epoch: Annotated[int | None, opt("Take this epoch; default: the last.")] = None,
    calibrators: arguments.Calibrators = None,
    logs_only: Annotated[bool, opt("Only read the test logs; needs no data.")] = False,
    unchecked: arguments.Unchecked = False,
    store: Annotated[Path, result("Folder for results.")] = Path("runs"),
    device: arguments.Device = "cpu",
    results: Results,
) -> None:
    """Turn trained prompts of CoOp-family repositories into runs that predict, calibrate and report.

    Reads model.pth.tar-N of CoOp, CoCoOp, KgCoOp, ProGrad, MaPLe, IVLP, VPT and PromptSRC (and of TCPT and
    CalibPrompt, which train these), and ctx_*.pt of BAPLe. Nothing in a file is executed.
    """
    from vlmcal.experiment.dassl.outputs import find_outputs, find_tests, require_objective
    from vlmcal.experiment.evaluate import check_evaluation
    from vlmcal.experiment.spec import EvaluateSpec

    if not folder.exists():
        raise DataError(f"{folder} does not exist; give the folder that the trainer wrote to")
    results.require()
    require_objective(told.objective)
    evaluation = EvaluateSpec(calibrators=[*(calibrators or ("none", "temperature"))])
    check_evaluation(evaluation)
    logs = [_plain(facts.values, test) for facts, test in find_tests(folder)]
    given = arguments.data_options(root, option)
    if logs_only:
        require_none("--logs-only reads none", {"--root is for data": root, "--option is": option})
    rows: list[Row] = []
    failed = 0
    if not logs_only:
        from vlmcal.cli.run import bench_of
        from vlmcal.data.base import as_spec
        from vlmcal.experiment.store import Store

        source = {**given, **({} if told.data is None else as_spec(told.data, given))}
        outputs = find_outputs(folder, epoch=epoch)
        shelf, bench = Store(store).open(), bench_of(device, unchecked)
        for number, output in enumerate(outputs, start=1):
            note(f"[{number}/{len(outputs)}] {output.checkpoint}: {output.facts.text()}")
            made = _imported(_with(output, told), source, shelf, bench, evaluation)
            rows += made
            failed += not made
    elif not logs:
        raise DataError(f"{folder}: no log.txt with an evaluation in it was found")
    _tell(rows, logs, results, folder)
    if failed:
        kept = f"; the others are in {store}" if rows else ""
        raise SpecError(f"{failed} of the prompts could not be imported (see above){kept}")


def _with(output: "Output", told: Told) -> "Output":
    said = dict(vars(told))
    return replace(output, facts=output.facts.given(trainer=said.pop("method"), **said))


def _imported(
    output: "Output", source: dict[str, Any], store: "Store", bench: "Workbench", spec: Any
) -> "list[Row]":
    """Rows of one prompt; [] where it cannot be imported, after the reason."""
    from vlmcal.experiment.dassl.runs import import_prompt, read_prompt
    from vlmcal.experiment.evaluate import evaluate_run

    try:
        with arguments.notes():
            result = import_prompt(read_prompt(output, data=source), store, bench)
            rows = list(evaluate_run(store, str(result.run), spec))
    except VlmcalError as error:
        note(f"  failed: {arguments.with_options(str(error))}")
        return []
    how = "in the store" if result.reused else "imported"
    folder = quote(str(store.root / "runs" / str(result.run)))
    note(f"  {how} as {result.run}: vlmcal predict {folder} IMAGE...")
    for row in rows:
        if row.reason:
            note(f"  {row.set} classes, {row.calibrator}: not measured: {row.reason}")
    return rows


def _plain(facts: Any, test: Any) -> dict[str, Any]:
    return {
        **facts,
        "log": str(test.path),
        "values": dict(test.values),
        "percent": sorted(test.percent),
        "classes_accuracy": dict(test.classes),
    }


def _tell(rows: "list[Row]", logs: list[dict[str, Any]], results: Results, folder: Path) -> None:
    from vlmcal.report.html import Report
    from vlmcal.report.pages.runs import runs_report, runs_table
    from vlmcal.report.pages.trainer_logs import trainer_logs_section, trainer_logs_table

    title = f"Runs imported from {folder.name}"
    ours = runs_table(rows) if rows else None
    theirs = trainer_logs_table(logs) if logs else None
    for table in (ours, theirs):
        if table is not None:
            results.show(table.to_text())

    def report() -> Report:
        if not rows:
            section = trainer_logs_section(logs)
            sections = [] if section is None else [section]
            return Report(title=title, sections=sections, command=command_line())
        made = runs_report(rows, title=title, command=command_line())
        section = trainer_logs_section(logs)
        return made if section is None else replace(made, sections=[*made.sections, section])

    main = ours or theirs
    if main is not None:
        numbers = {"title": title, "rows": [row.to_dict() for row in rows], "logs": logs}
        results.write(main, report, numbers)
