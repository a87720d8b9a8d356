"""``vlmcal evaluate``: anybody's predictions in; table, JSON and report out."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.judging import Judging, plain_facts
from vlmcal.cli.multi_label import MultiLabelOptions, evaluate_findings
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlmcal.io.predictions import ReadingOptions
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
    judging: Judging,
    multi: MultiLabelOptions,
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
    from vlmcal.report.pages.class_verdict import headline_verdict
    from vlmcal.report.pages.clinical import clinical_tables
    from vlmcal.report.pages.evaluation import evaluation_report, evaluation_table, group_table

    results.require([predictions])
    if multi.multi_label:
        judging.only_conditions(metrics, by)
        found = evaluate_findings(
            predictions, multi, reading, results, level=level, resamples=resamples, seed=seed
        )
        judging.finish(found)
        return
    chosen = judging.chosen_metrics(metrics)
    options: ReadingOptions = {"by": by or ()}
    rows = reading.read(predictions, "test", options=options, show=results.show)
    data = rows.data
    clinical = judging.summary(data, reading, level, rows.strata, results.show)
    facts = plain_facts(data)
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
    result = replace(result, notes=[*facts[1:], *result.notes])
    results.show(facts[0])
    results.show(f"{headline_verdict(data, result).sentences[0]}\n")
    if clinical is not None:
        for part in clinical_tables(clinical, level):
            results.show(f"{part.to_text()}\n")
    table = evaluation_table(result)
    results.show(table.to_text())
    if result.groups:
        results.show(f"\n{group_table(result).to_text()}")
    for line in result.notes:
        results.show(f"note: {line}")
    judging.show_rows(result, results.show)
    numbers = {"file": str(predictions), "reading": rows.plan.to_dict(), **result.to_dict()}
    if clinical is not None:
        numbers["clinical"] = asdict(clinical)
    title = f"Calibration of {predictions.name}"
    results.write(
        table,
        lambda: evaluation_report(
            data, result, command=command_line(), title=title, clinical=clinical
        ),
        numbers,
    )
    judging.finish(result)


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
