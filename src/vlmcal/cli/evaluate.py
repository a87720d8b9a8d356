"""``vlmcal evaluate``: anybody's predictions in; table, JSON and report out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlmcal.types.arrays import StrArray
    from vlmcal.types.confidences import Confidences
    from vlmcal.types.predictions import Predictions

MAX_PARTS = 50
# Fewer rows in a subgroup carry no conclusion.
FEW_ROWS = 30


@with_option_groups
def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSONL, Parquet, XLSX, NPZ, NPY or safetensors file.")
    ],
    *,
    reading: Reading,
    by: arguments.By = None,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples; 0 for no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    results: Results,
) -> None:
    """Measure calibration of predictions that you already have.

    State what the numbers are with --logits, --probs or --percent; it is never guessed. Only an array or
    NPY file called logits or probs states it by its name. How the file is read is said first; --dry-run
    says only that.
    """
    from vlmcal.cli.console import command_line
    from vlmcal.errors import SpecError

    if not 0 < level < 1:
        raise SpecError(f"--level: expected a number between 0 and 1, got {level}")
    if not 0 <= resamples <= 1_000_000:
        raise SpecError(f"--resamples: expected 0 to 1,000,000, got {resamples}")
    from vlmcal.metrics import evaluate as measure
    from vlmcal.report.pages.evaluation import evaluation_report, evaluation_table, group_table

    chosen = arguments.chosen_metrics(metrics)
    results.require([predictions])
    rows = reading.read(predictions, "test", options={"by": by or ()})
    data = rows.data
    result = measure(data, chosen, level=level, resamples=resamples, seed=seed)
    if rows.strata:
        parts = _parts(data, rows.strata)
        names = list(result.estimates)
        groups = {
            name: measure(part, names, level=level, resamples=resamples, seed=seed).estimates
            for name, part in parts.items()
        }
        small = [name for name, part in parts.items() if len(part) < FEW_ROWS]
        notes = [f"Fewer than {FEW_ROWS} rows: {', '.join(small)}."] if small else []
        result = replace(result, groups=groups, notes=[*result.notes, *notes])
    table = evaluation_table(result)
    results.show(table.to_text())
    if result.groups:
        results.show(f"\n{group_table(result).to_text()}")
    for line in result.notes:
        results.show(f"note: {line}")
    numbers = {"file": str(predictions), "reading": rows.plan.to_dict(), **result.to_dict()}
    title = f"Calibration of {predictions.name}"
    results.write(
        table,
        lambda: evaluation_report(data, result, command=command_line(), title=title),
        numbers,
    )


def _parts(
    data: "Predictions | Confidences", strata: "Mapping[str, StrArray]"
) -> "dict[str, Predictions | Confidences]":
    """Rows of each value of each column."""
    import numpy as np

    from vlmcal.errors import DataError

    parts = {}
    for column, values in strata.items():
        distinct = np.unique(values).tolist()
        if len(distinct) > MAX_PARTS:
            raise DataError(
                f'--by: column "{column}" has {len(distinct)} values, more than {MAX_PARTS} subgroups; '
                "units such as patients go to --unit"
            )
        for value in distinct:
            parts[f"{column} = {value or '(empty)'}"] = data.subset(values == value)
    return parts
