"""Over data sets: means, harmonic means and ranks of the methods that have all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.metrics.across_sets import average_of_harmonics, harmonic_of_averages, rank_methods
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.display import metric_column, metric_name, under
from vlmcal.report.figures.rank_diagram import rank_diagram
from vlmcal.report.html import Section
from vlmcal.report.pages.run_rows import AXES, RunRow, focus_of, ordered_classes
from vlmcal.report.tables import Table
from vlmcal.types.shown import plural

_RANKED = 30  # methods in a table of ranks
HARMONICS = (
    "H of averages: 2 b n / (b + n) of the mean accuracies over data sets, as most papers print it. Average "
    "of H: the mean of the data sets' own harmonic means, never larger."
)


def in_a_row(pictures: Sequence[str]) -> str:
    """Markup of pictures side by side."""
    return f'<div class="plots">{"".join(pictures)}</div>'


def over_data_sets(rows: Sequence[RunRow]) -> tuple[Section | None, list[str]]:
    """Means, both harmonic means and ranks of the methods that have every data set; sentences for the top."""
    classes, focus = ordered_classes(rows), focus_of(rows)
    names, values = _by_method(rows)
    sets = sorted({row.axes.get("data", "") for row in rows})
    tables, notes, lines, pictures = [], [], [], []
    complete = [key for key in names if all((key, d, focus, "accuracy") in values for d in sets)]
    if len(sets) < 2 or not complete:
        return None, []
    both = {"base", "new"} <= set(classes)
    columns = [words("method")]
    for name in ("accuracy", "ece"):
        columns += [under(metric_column(name), title) for title in classes]
        if both and name == "accuracy":
            columns += [
                Column("H of averages", "accuracy", True),
                Column("average of H", "accuracy", True),
            ]
    body: list[list[Cell]] = []
    for key in complete:
        line: list[Cell] = [names[key]]
        for name in ("accuracy", "ece"):
            found = {
                title: [
                    values[key, d, title, name] for d in sets if (key, d, title, name) in values
                ]
                for title in classes
            }
            line += [float(np.mean(v)) if len(v) == len(sets) else None for v in found.values()]
            if both and name == "accuracy":
                whole = len(found["base"]) == len(found["new"]) == len(sets)
                pair = found["base"], found["new"]
                line += (
                    [harmonic_of_averages(*pair), average_of_harmonics(*pair)]
                    if whole
                    else [None, None]
                )
        body.append(line)
    tables.append(
        Table(columns=columns, rows=body, caption=f"Means over {plural(len(sets), 'data set')}")
    )
    notes += [HARMONICS] if both else []
    plain = [key for key in complete if key[-1] == UNCALIBRATED]
    for name, which in (("accuracy", plain), ("ece", complete)):  # calibrators move few predictions
        ranked = which[:_RANKED]
        if len(ranked) < 2 or not all((k, d, focus, name) in values for k in ranked for d in sets):
            continue
        table = [[values[k, d, focus, name] for k in ranked] for d in sets]
        ranking = rank_methods(
            table, [names[k] for k in ranked], higher_is_better=name == "accuracy"
        )
        tables.append(
            Table(
                columns=[words("method"), Column("mean rank", digits=2)],
                rows=[[n, r] for n, r in zip(ranking.names, ranking.ranks, strict=True)],
                caption=f"Ranks by {metric_name(name)} on {focus} classes, critical difference "
                f"{ranking.critical_difference:.2f} (Nemenyi, 5 %)",
            )
        )
        pictures.append(
            rank_diagram(ranking, f"Mean ranks by {metric_name(name)} on {focus} classes")
        )
        said = [
            f"On {focus} classes, by {metric_name(name)}: {line}" for line in ranking.sentences()
        ]
        notes += said
        lines += said[:1]
    if len(complete) > _RANKED:
        notes.append(f"Ranks of the first {_RANKED} of {len(complete)} methods.")
    section = Section(heading="Over data sets", tables=tables, notes=notes, html=in_a_row(pictures))
    return section, lines


def _by_method(
    rows: Sequence[RunRow],
) -> tuple[dict[tuple[str, ...], str], dict[tuple[Any, ...], float]]:
    """Names of methods without their data set, and (method, data, classes, metric) -> mean over seeds."""
    parts: dict[tuple[Any, ...], list[float]] = {}
    keys: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        at = dict(zip(AXES, row.variant, strict=True))
        data = at.pop("data")
        key = (*at.values(), row.calibrator)
        keys[key] = {**at, "calibrator": "" if row.calibrator == UNCALIBRATED else row.calibrator}
        for name, estimate in row.estimates.items():
            parts.setdefault((key, data, row.classes, name), []).append(estimate.value)
    told = [
        axis for axis in next(iter(keys.values())) if len({at[axis] for at in keys.values()}) > 1
    ]
    names = {
        key: ", ".join(
            f"{at[a]} shots" if a == "shots" else at[a]
            for a in (["method", *[t for t in told if t != "method"]])
            if at[a]
        )
        for key, at in keys.items()
    }
    return names, {key: float(np.mean(values)) for key, values in parts.items()}
