"""``vlmcal vqa evaluate``: how far the confidences of answers can be trusted."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results

Folder = Annotated[Path, typer.Argument(help="Folder of `vqa elicit` or `vqa import`.")]
Elicitors = Annotated[
    list[str] | None,
    arguments.several("--elicitor", "-e", help="Labels; the first is looked at closely."),
]
Folds = Annotated[int, typer.Option(help="Folds of the cross-fitting; images stay whole.")]
By = Annotated[str, typer.Option(help="Divide by answer_type or by the data's own kind.")]
Resamples = Annotated[int, typer.Option(help="Bootstrap resamples of images; 0 for none.")]
TargetRisk = Annotated[
    float, typer.Option(help="Share of wrong answers among those that are relied on.")
]


@with_option_groups
def evaluate(
    answers: Folder,
    elicitor: Elicitors = None,
    by: By = "answer_type",
    strata: Annotated[
        Path | None,
        typer.Option("--table", help="Table with the column of --by, joined by its column id."),
    ] = None,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: Resamples = 1000,
    seed: arguments.Seed = 0,
    calibrator: Annotated[
        str, typer.Option(help="Makes the probabilities of the report, cross-fitted by image.")
    ] = "platt",
    folds: Folds = 5,
    target_risk: TargetRisk = 0.1,
    *,
    results: Results,
) -> None:
    """Measure the confidences over parsed and over all rows, by kind of question, and advise."""
    from vlmcal.cli.console import command_line
    from vlmcal.posthoc.answer_folders import evaluate_answers
    from vlmcal.report.pages.answer_tables import confidence_table
    from vlmcal.report.pages.answers import answers_report, study_text

    check_options(None if strata else by, level, target_risk, resamples)
    results.require(())
    with arguments.notes():
        study = evaluate_answers(
            answers,
            elicitor,
            by=by,
            strata=strata,
            metrics=arguments.chosen_metrics(metrics, "answers"),
            calibrator=calibrator,
            folds=folds,
            target_risk=target_risk,
            level=level,
            resamples=resamples,
            seed=seed,
        )
    results.show(study_text(study))
    arguments.tell(study.notes)
    with arguments.notes():
        results.write(
            confidence_table(study.measured, parsed=False),
            lambda: answers_report(study, command=command_line()),
            study.to_dict(),
        )


def check_options(by: str | None, level: float, target_risk: float, resamples: int) -> None:
    """Refuse values that no later step could use, before anything is computed.

    Raises:
        SpecError: A share outside (0, 1), a number of resamples that cannot be, or an unknown stratum.
    """
    from vlmcal.elicit.rows import as_stratum
    from vlmcal.errors import SpecError

    arguments.require_drawing(level, resamples)
    if not 0 < target_risk < 1:
        raise SpecError(f"--target-risk: expected a number between 0 and 1, got {target_risk}")
    if by is not None:
        as_stratum(by, "--by")
