"""``vlmcal evaluate``: anybody's predictions in; table, JSON and report out."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.held_out import Reading
from vlmcal.cli.judging import Judging
from vlmcal.cli.multi_label import MultiLabelOptions, evaluate_findings
from vlmcal.cli.option_groups import arg
from vlmcal.cli.reports import Results
from vlmcal.cli.weighting import Weighting


def evaluate(
    predictions: Annotated[
        Path,
        arg(
            "CSV, TSV, JSONL, Parquet, XLSX, NPZ, NPY or safetensors file; - is standard input, as CSV or "
            "JSON lines."
        ),
    ],
    *,
    reading: Reading,
    by: arguments.By = None,
    judging: Judging,
    weighting: Weighting,
    multi: MultiLabelOptions,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: arguments.Resamples = 1000,
    seed: arguments.Seed = 0,
    results: Results,
) -> None:
    """Measure calibration of predictions that you already have.

    State what the numbers are with --logits, --probs or --percent; only an array or NPY file of that name
    says it itself. How the file is read is said first; --dry-run says only that.
    """
    from vlmcal.metrics import evaluate as measure
    from vlmcal.metrics.facts import plain_facts
    from vlmcal.report.pages.evaluation import evaluation_report, evaluation_table, evaluation_text
    from vlmcal.types.predictions import Predictions

    arguments.require_drawing(level, resamples)
    drawing: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    results.require()
    if multi.multi_label:
        judging.only_conditions(metrics)
        options = weighting.options()
        found = evaluate_findings(
            predictions, multi, reading, results, options, by or (), **drawing
        )
        judging.finish(found)
        return
    chosen = judging.chosen_metrics(metrics)
    options = {"by": by or (), **weighting.options()}
    rows = reading.read(predictions, "test", options=options, show=results.show, keep_ids=True)
    data = rows.data.keeping() if isinstance(rows.data, Predictions) else rows.data
    clinical = judging.summary(data, reading, level, rows, results.show)
    first, *facts = plain_facts(data) if rows.weights is None else (f"{len(data):,} weighted rows",)
    result = measure(data, chosen, by=rows.strata, weights=rows.weights, **drawing)
    result = replace(result, notes=[*facts, *result.notes])
    results.show(f"{first}\n{evaluation_text(data, result, clinical)}")
    judging.show_rows(result, results.show)
    numbers = {"file": str(predictions), "reading": rows.plan.to_dict(), **result.to_dict()}
    if clinical is not None:
        numbers["clinical"] = asdict(clinical)
    about: dict[str, Any] = {"clinical": clinical, "title": f"Calibration of {predictions.name}"}
    page = partial(evaluation_report, data, result, command=command_line(), **about)
    results.write(evaluation_table(result), page, numbers)
    judging.finish(result)
