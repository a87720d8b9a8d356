"""``vlmcal report``: one page for everything in a store."""

from pathlib import Path
from typing import Annotated

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line, note
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Results


def report(
    store: Annotated[str, arg("Folder or URL of runs.")] = "runs",
    *,
    calibrators: arguments.Calibrators = None,
    metrics: arguments.Metrics = None,
    resamples: Annotated[int, opt("Bootstrap resamples.", min=100)] = 1000,
    predictions: Annotated[Path | None, result("Every row of every run: CSV, Parquet, ...")] = None,
    results: Results,
) -> None:
    """A leaderboard of all runs of a store, statistics over data sets, and pictures of every method.

    The page (-o report.html) needs nothing but a browser; its tables sort and filter.
    """
    from vlmcal.experiment.evaluate import check_evaluation
    from vlmcal.experiment.remote_store import store_at
    from vlmcal.experiment.spec import EvaluateSpec
    from vlmcal.experiment.summary import analysis_of, per_sample, rows_of
    from vlmcal.report.pages.run_rows import as_run_rows, in_order
    from vlmcal.report.pages.runs import shown_metrics
    from vlmcal.report.pages.store import LEADERBOARD, brief, leaderboard, store_report

    results = results.beside(predictions, arguments.TABLES)
    shelf = store_at(store)
    chosen = arguments.chosen_metrics(metrics)
    spec = EvaluateSpec(
        calibrators=[*(calibrators or ("none", "temperature"))],
        metrics=chosen if isinstance(chosen, str) else [*chosen],
        resamples=resamples,
    )
    check_evaluation(spec)
    with arguments.notes():
        found = rows_of(shelf, spec)
        if predictions is not None:
            note(f"{per_sample(shelf, predictions):,} rows: {predictions}")
        whole = list(dict.fromkeys(row.run for row in found))
        analysis, histories = analysis_of(shelf), shelf.histories(whole)
    rows = in_order(as_run_rows(found))
    measured = [row for row in rows if row.estimates and not row.conformal]
    shown = shown_metrics(chosen, LEADERBOARD)
    board = leaderboard(measured, shown)
    results.show(brief(board, measured).to_text(width=140))
    results.write(
        board,
        lambda: store_report(
            rows,
            title=f"Runs of {store}",
            command=command_line(),
            analysis=analysis,
            histories=histories,
            runs=[shelf.status(run) for run in whole],
            resamples=resamples,
            metrics=shown,
        ),
        {"store": str(store), "runs": whole, "table": board.to_csv()},
    )
