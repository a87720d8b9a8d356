"""``vlmcal evaluate``: anybody's predictions in; table, JSON and report out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.exports import Exports
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import with_option_groups


@dataclass(frozen=True)
class _Reading(Reading):
    group: Annotated[
        str | None,
        typer.Option(
            help="Column with patient, slide or site: units of the intervals; up to 50 measured apart."
        ),
    ] = None


@with_option_groups
def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="NPZ, CSV, TSV, Parquet or safetensors file.")
    ],
    *,
    reading: _Reading,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples; 0 for no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    output: arguments.Page = None,
    json_file: arguments.Json = None,
    exports: Exports,
) -> None:
    """Measure calibration of predictions that you already have.

    State what the numbers are with --logits or --probs; it is never guessed. Only an NPZ array called
    logits or probs states it by its name.
    """
    from vlmcal.cli.console import command_line
    from vlmcal.errors import SpecError

    if not 0 < level < 1:
        raise SpecError(f"--level: expected a number between 0 and 1, got {level}")
    from vlmcal.metrics import evaluate as measure
    from vlmcal.report.pages.evaluation import evaluation_report, evaluation_table

    exports.require([predictions])
    chosen = arguments.chosen_metrics(metrics)
    data = reading.load(predictions, "test")
    result = measure(
        data,
        chosen,
        level=level,
        resamples=resamples,
        seed=seed,
        by_group=data.groups is not None and len(set(data.groups.tolist())) <= 50,
    )
    table = evaluation_table(result)
    typer.echo(table.to_text())
    for line in result.notes:
        typer.echo(f"note: {line}")
    arguments.write_numbers(json_file, {"file": str(predictions), **result.to_dict()})
    title = f"Calibration of {predictions.name}"
    exports.write(
        table,
        lambda: evaluation_report(data, result, command=command_line(), title=title),
        output,
    )
