"""``vlmcal vqa compare``: two models, or one over time, on the same questions."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results
from vlmcal.cli.vqa_evaluate import By, Folds, Resamples, TargetRisk, check_options


@with_option_groups
def compare(
    old: Annotated[Path, typer.Argument(help="Folder of `vqa elicit` or `vqa import`.")],
    new: Annotated[Path, typer.Argument(help="The other one.")],
    elicitor: Annotated[
        str | None, typer.Option("--elicitor", "-e", help="Label; by default the first of each.")
    ] = None,
    by: By = "answer_type",
    strata: Annotated[
        Path | None,
        typer.Option("--table", help="Table with the column of --by, joined by its column id."),
    ] = None,
    calibrator: Annotated[
        str, typer.Option(help="Makes the probabilities that decide what is left to a human.")
    ] = "platt",
    folds: Folds = 5,
    target_risk: TargetRisk = 0.1,
    level: arguments.Level = 0.95,
    resamples: Resamples = 1000,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    *,
    results: Results,
) -> None:
    """Accuracy, calibration, confidence and deferral of two folders, and every answer that changed."""
    from vlmcal.cli.console import command_line
    from vlmcal.posthoc.folder_comparison import compare_answers
    from vlmcal.report.pages.answer_changes import (
        changed_table,
        comparison_report,
        comparison_text,
    )

    check_options(None if strata else by, level, target_risk, resamples)
    results.require(())
    with arguments.notes():
        found = compare_answers(
            old,
            new,
            elicitor,
            by=by,
            strata=strata,
            calibrator=calibrator,
            folds=folds,
            target_risk=target_risk,
            level=level,
            resamples=resamples,
            seed=seed,
        )
    results.show(comparison_text(found, level=level))
    arguments.tell(found.notes)
    results.write(
        changed_table(found),
        lambda: comparison_report(found, level=level, command=command_line()),
        found.to_dict(),
    )
