"""``vlmcal compare``: two models on the same rows."""

from pathlib import Path
from typing import Annotated

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt
from vlmcal.cli.reports import Results
from vlmcal.errors import SpecError


def compare(
    first: Annotated[Path, arg("Rows of one model, labelled.")],
    second: Annotated[Path, arg("The same rows by another model.")],
    *,
    reading: Reading,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: Annotated[int, opt("Paired bootstrap resamples.")] = 1000,
    seed: arguments.Seed = 0,
    results: Results,
) -> None:
    """Paired differences of two models on the same rows, with intervals and p-values.

    Rows are matched by --ids, or by their order where neither file has ids. Units (--unit) are resampled as
    a whole. Two classes also get DeLong's test of the diagnostic AUROC, rows without units McNemar's test.
    """
    from vlmcal.metrics.model_pair import METRICS, compare_models
    from vlmcal.metrics.presets import metric_names
    from vlmcal.report.pages.model_pair import model_pair_notes, model_pair_report, model_pair_table

    if not 0 < level < 1 or not 0 < resamples <= 1_000_000:
        raise SpecError("--level lies between 0 and 1, --resamples between 1 and 1,000,000")
    results.require()
    chosen = arguments.chosen_metrics(metrics)
    names = METRICS if metrics is None else metric_names(chosen)[0]
    show, named = results.show, reading.ids is not None
    a = reading.load(first, "test", last=False, show=show, keep_ids=named)
    known = a.class_names
    b = reading.load(second, "test", known_classes=known, show=show, keep_ids=named)
    pair = compare_models(a, b, names, level=level, resamples=resamples, seed=seed)
    table = model_pair_table(pair)
    for text in (table.to_text(), *model_pair_notes(pair)):
        show(text)
    title = f"{first.name} and {second.name}"
    results.write(
        table,
        lambda: model_pair_report(pair, (a, b), command=command_line(), title=title),
        {"first": str(first), "second": str(second), **pair.to_dict()},
    )
