"""``vlmcal run``: one cell or a grid from a YAML file, resumable."""

import warnings
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.board import LOG_SECONDS, Board
from vlmcal.cli.console import Progress, command_line, muted, note
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Results
from vlmcal.errors import DataError, SpecError, StoreError, require_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vlmcal.cli.console import Progress
    from vlmcal.experiment.engines.base import CellResult
    from vlmcal.experiment.evaluate import Row
    from vlmcal.experiment.plan import Cell
    from vlmcal.experiment.run import Workbench
    from vlmcal.experiment.spec import ExperimentSpec
    from vlmcal.experiment.store import Store

_SAME = 5  # cells that fail for one reason and are named while it runs


@dataclass(frozen=True)
class Workers:
    """Where cells run, and which of them."""

    engine: Annotated[
        str, opt("Where cells run, with options in parentheses; see `vlmcal list engines`.")
    ] = "inline"
    workers: Annotated[int | None, opt("How many cells run at a time.", min=1, max=1024)] = None
    address: Annotated[str | None, opt("Of a Ray cluster: auto, ray://HOST:10001.")] = None
    gpus_per_cell: Annotated[
        float | None, opt("Ray and Slurm: GPUs of a cell; 0.25 shares one by four.", min=0)
    ] = None
    retry_failed: Annotated[bool, opt("Run again also cells that crashed before.")] = False

    track: Annotated[
        list[str] | None, arguments.several("Show the runs in tensorboard, mlflow or wandb, too.")
    ] = None

    def chosen(self) -> dict[str, Any]:
        """The engine with its options.

        Example:
            >>> Workers("processes", workers=2).chosen()
            {'name': 'processes', 'workers': 2}
        """
        from vlmcal.options import read

        named = read(self.engine, "engine")
        given = {
            "workers": self.workers,
            "address": self.address,
            "gpus_per_cell": self.gpus_per_cell,
        }
        return {"name": named.name, **named.options} | {
            key: value for key, value in given.items() if value is not None
        }


def run(
    spec: Annotated[str, arg("YAML file of the experiment, or preset:NAME.")],
    overrides: Annotated[
        list[str] | None, arg("Changes, for example train.epochs=10 seed=1..5.")
    ] = None,
    store: Annotated[str, result("Folder or URL (s3://...) for results.")] = "runs",
    device: arguments.Device = "cpu",
    compile_: arguments.Compile = False,
    plan_only: Annotated[
        bool, opt("List the cells with what they will cost, and stop.", "--plan")
    ] = False,
    measure: Annotated[
        int, opt("With --plan: run this many first, to know what they cost.", min=0)
    ] = 0,
    unchecked: arguments.Unchecked = False,
    root: Annotated[str | None, opt("Of a preset: folder that holds its data sets.")] = None,
    smoke: Annotated[bool, opt("Of a preset: its grid on toy data, in a minute or two.")] = False,
    *,
    workers: Workers,
    results: Results,
) -> None:
    """Run what is missing of an experiment, then measure everything in it.

    The experiments of papers are presets: `vlmcal list experiments`, `vlmcal run preset:dac --root DATA`.
    """
    from vlmcal.experiment.grids import load_experiment

    results.require()
    if plan_only:
        results.tell_none("--plan measures nothing")
    else:
        require_none("--plan is not given", {"--measure is for it": measure or None})
    execute(
        load_experiment(spec, overrides or [], root=root, smoke=smoke),
        store=store,
        device=device,
        compile_=compile_,
        workers=workers,
        plan_only=plan_only,
        measure=measure,
        unchecked=unchecked,
        results=results,
        title=f"Experiment {Path(spec).name}",
        name=Path(spec.removeprefix("preset:")).stem,
    )


def execute(
    spec: "ExperimentSpec",
    *,
    store: str | Path,
    device: str = "cpu",
    compile_: bool = False,
    workers: Workers | None = None,
    plan_only: bool = False,
    measure: int = 0,
    unchecked: bool = False,
    results: Results | None = None,
    title: str = "Experiment",
    summary: str = "",
    check: "Callable[[], None] | None" = None,
    name: str = "",
) -> list[str]:
    """Run an experiment with progress, print its tables, write its results; returns the run ids.

    Launched in several processes, all train and the first one measures; the others return none.

    Raises:
        SpecError: At least one cell failed; the others are finished, measured and kept.
    """
    from vlmcal.experiment.bank import bank_costs
    from vlmcal.experiment.findings import TOY_SENTENCE, run_findings
    from vlmcal.experiment.remote_store import store_at

    told, how = results or Results(), workers or Workers()
    told.require()
    cells = _checked(spec, how)
    if _toys(spec):
        note(TOY_SENTENCE)
        summary = f"{TOY_SENTENCE} {summary}"
    progress = Progress(every=LOG_SECONDS)
    bench = bench_of(device, unchecked, compile_=compile_, progress=progress)
    if check is not None:  # more than the cells check, once the settings are known to be right
        check()
        bench.unchecked = True
    shelf = store_at(store)
    if plan_only:
        return _show_plan(cells, shelf, bench, how, measure)
    start = _start(spec, shelf, bench, how, name)
    if not bench.team.main:
        with muted():
            list(start())
        return []
    progress.show(f"loading {', '.join(spec.backbone)}")
    for line in bank_costs(cells, bench):
        note(line)
    with _board(cells, how) as board:
        done = start(listeners=[progress.training()], watch=None if board is None else board.heard)
        runs, rows = _measured(done, cells, shelf, spec, board or progress)
    if rows:
        with arguments.notes():
            said = list(map(arguments.with_options, run_findings(shelf, rows)))
        _tell(rows, said, spec, told, title, summary)
    _mirror(shelf, rows, spec, how)
    _refuse_failures(len(cells), len(runs), shelf.place)
    return runs


def _mirror(shelf: "Store", rows: "list[Row]", spec: "ExperimentSpec", how: Workers) -> None:
    from vlmcal.experiment.trackers.base import mirror, trackers_of

    mirror(shelf, rows, trackers_of([*spec.track, *(how.track or ())]))


def _refuse_failures(cells: int, runs: int, store: str) -> None:
    if runs < cells:
        raise SpecError(
            f"{cells - runs} of {cells} cells failed (see above); the results of the others are in {store}. "
            "Mend the cause and run the same command again, with --retry-failed where it says so: only what "
            "is missing is done"
        )


def _show_plan(
    cells: "list[Cell]", shelf: "Store", bench: "Workbench", how: Workers, count: int
) -> list[str]:
    from vlmcal.experiment.planned import measure, planned

    found = planned(cells, shelf, bench)
    if count:
        with arguments.notes():
            measure(found, count, shelf, bench)
        found = planned(cells, shelf, bench)
    typer.echo("\n".join(found.lines(how.chosen().get("workers") or 1)))
    return []


def _start(
    spec: "ExperimentSpec", shelf: "Store", bench: "Workbench", how: Workers, name: str
) -> "Callable[..., Iterator[CellResult]]":
    from vlmcal.experiment.grid import run_experiment

    engine, again = how.chosen(), how.retry_failed
    return partial(
        run_experiment, spec, shelf, bench=bench, engine=engine, retry_failed=again, name=name
    )


def _board(cells: "list[Cell]", how: Workers) -> "AbstractContextManager[Board | None]":
    """What shows several workers; None where the cells run in this process."""
    return nullcontext(None) if how.chosen()["name"] == "inline" else Board(len(cells))


def _checked(spec: "ExperimentSpec", how: Workers) -> "list[Cell]":
    """The cells, after everything that can be known to be wrong before any of them runs."""
    from vlmcal.experiment.check import check_names
    from vlmcal.experiment.engines.base import engine_from
    from vlmcal.experiment.evaluate import check_evaluation
    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.trackers.base import trackers_of

    cells = plan(spec)
    check_names(spec)
    check_evaluation(spec.evaluate)
    trackers_of([*spec.track, *(how.track or ())])
    engine_from(how.chosen())
    return cells


def _toys(spec: "ExperimentSpec") -> bool:
    """Whether some backbone is the toy; where all are, one thread does the work."""
    from vlmcal.experiment.findings import TOY

    toys = [name.partition("(")[0] == TOY for name in spec.backbone]
    if all(toys):
        import torch

        # Its matrices are too small to share: two threads take longer than one.
        torch.set_num_threads(1)
    return any(toys)


def bench_of(
    device: str, unchecked: bool, *, compile_: bool = False, progress: "Progress | None" = None
) -> "Workbench":
    """The tools of one process, with progress in the terminal."""
    from vlmcal.experiment.run import Workbench
    from vlmcal.training.parallel import join

    shown = progress or Progress()
    return Workbench(
        device=device,
        progress=shown.encoding(),
        word_progress=shown.encoding("outlier words"),
        compile=compile_,
        team=join(device),
        unchecked=unchecked,
        reading_progress=shown.counting("reading images"),
        adapting_progress=shown.counting("adapting to images"),
    )


def _measured(
    done: "Iterator[CellResult]",
    cells: "list[Cell]",
    shelf: "Store",
    spec: "ExperimentSpec",
    progress: "Progress | Board",
) -> "tuple[list[str], list[Row]]":
    """Ids and rows of the cells that did not fail, in the order of the plan; says how each one went."""
    from vlmcal.experiment.evaluate import evaluate_run
    from vlmcal.hashing import digest
    from vlmcal.io.state_files import damage_named

    elsewhere = not hasattr(progress, "training")  # where it warned, nobody heard it
    found: dict[str, tuple[str, list[Row]]] = {}
    told: Counter[str] = Counter()  # one data set fails many cells for one reason
    for place in range(1, len(cells) + 1):
        with arguments.notes():
            result = next(done)
            progress.finished(result)
            where = f"[{place}/{len(cells)}] {result.cell.label()}"
            if result.error is not None or result.run is None:
                reason = arguments.with_options(str(result.error))
                said = " for the same reason" if told[reason] else f"\n  {reason}"
                told[reason] += 1
                if told[reason] == _SAME:
                    said += f", which is told no more; `vlmcal status {shelf.place}` names all"
                if told[reason] <= _SAME:
                    note(f"{where}: failed{said}")
                continue
            folder = shelf.folder(result.run)
            try:
                with damage_named(folder):
                    status = shelf.status(result.run)
                    counts = status.get("images", {})  # none in older runs
                    if elsewhere and not result.reused:
                        for text in status.get("warnings", ()):
                            warnings.warn(text, stacklevel=1)
                    rows = list(evaluate_run(shelf, result.run, spec.evaluate))
            except (DataError, StoreError) as error:
                note(f"{where}: failed\n  {error}\n  remove {folder} and run again")
                continue
            images = "".join(
                f", {n} {name.replace('_', ' ')}"
                for name, n in sorted(
                    counts.items(), key=lambda count: (count[0] != "train", count[0])
                )
            )
            how = "in the store" if result.reused else "done"
            note(f"{where}: {how} ({result.run}){images}{' images' if images else ''}")
        found[digest(result.cell)] = result.run, rows
        for row in rows:
            if row.reason:
                who = row.conformal or row.calibrator
                note(f"  {row.set} classes, {who}: not measured: {row.reason}")
    # Whichever cell another process finished first.
    finished = [found[key] for cell in cells if (key := digest(cell)) in found]
    return [run for run, _ in finished], [row for _, rows in finished for row in rows]


def _tell(
    rows: "list[Row]",
    found: list[str],
    spec: "ExperimentSpec",
    told: Results,
    title: str,
    summary: str,
) -> None:
    """Print the tables and what they hide; write what is wanted."""
    from vlmcal.report.pages.runs import run_sets_table, runs_report, runs_table, shown_metrics

    metrics = shown_metrics(spec.evaluate.metrics)
    table = runs_table(rows, metrics)
    told.show(table.to_text())
    if any(row.conformal and row.evaluation for row in rows):
        told.show(f"\nlabel sets, alpha = {spec.evaluate.alpha:g}")
        told.show(run_sets_table(rows).to_text())
    for line in found:
        told.show(f"note: {line}")
    lead = " ".join([summary, *found]).strip()
    told.write(
        table,
        lambda: runs_report(
            rows, title=title, command=command_line(), summary=lead, metrics=metrics
        ),
        {"title": title, "findings": found, "rows": [row.to_dict() for row in rows]},
    )
