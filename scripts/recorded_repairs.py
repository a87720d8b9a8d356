"""Calibrators side by side on recorded confidences: single cases, and means over many."""

from collections.abc import Sequence

import numpy as np

from vlmcal.posthoc.answers import UNCALIBRATED, Repaired, repair_answers
from vlmcal.report.cells import Cell, Column
from vlmcal.report.display import metric_column
from vlmcal.report.tables import Table
from vlmcal.types.confidences import Confidences

METRICS = ("ece", "top_label_brier", "top_label_nll", "auroc")
NEAR = 1e-9
Repairs = list[Repaired]
Means = dict[str, dict[str, float]]


def n_groups(rows: Confidences) -> int:
    """Number of groups, or of rows where there are none."""
    return len(np.unique(rows.ids if rows.groups is None else rows.groups))


def repaired(rows: Confidences, names: Sequence[str] | None = None, resamples: int = 0) -> Repairs:
    """Calibrators that these rows carry enough for, five folds by group; none first."""
    found = repair_answers(rows, names, metrics=METRICS, resamples=resamples)
    kept = [r for r in found if r.evaluation is not None]
    return sorted(kept, key=lambda r: r.name != UNCALIBRATED)


def value(one: Repaired, metric: str) -> float:
    """A metric of calibrated rows."""
    assert one.evaluation is not None
    return one.evaluation[metric].value


def shown(name: str) -> str:
    """A calibrator as readers know it."""
    return "none" if name == UNCALIBRATED else name


def repair_table(repairs: Repairs) -> Table:
    """One line per calibrator; the interval stands at the ECE only."""
    rows: list[list[Cell]] = []
    for one in repairs:
        assert one.evaluation is not None
        rest = (value(one, m) for m in METRICS[1:])
        rows.append([shown(one.name), one.evaluation["ece"], *rest])
    return Table(
        columns=[Column("calibrator", align="left"), *map(metric_column, METRICS)], rows=rows
    )


def means(cells: Sequence[Repairs]) -> Means:
    """Mean metrics of the calibrators that ran in every cell, and in how many cells they helped."""
    by_name = [{one.name: one for one in cell} for cell in cells]
    found = {}
    for name in by_name[0]:
        if not all(name in cell for cell in by_name):
            continue
        line = {m: float(np.nanmean([value(c[name], m) for c in by_name])) for m in METRICS}
        for metric in METRICS[:2]:
            change = np.array(
                [value(c[name], metric) - value(c[UNCALIBRATED], metric) for c in by_name]
            )
            line[f"{metric} lower"] = int((change < -NEAR).sum())
            line[f"{metric} higher"] = int((change > NEAR).sum())
        found[name] = line
    return found


def mean_table(found: Means) -> str:
    """The means as Markdown, none first."""
    columns = [
        Column("calibrator", align="left"),
        *map(metric_column, METRICS),
        *(Column(f"{m}: cells {way}") for m in ("ECE", "Brier") for way in ("lower", "higher")),
    ]
    rows: list[list[Cell]] = []
    for name, line in found.items():
        counts = list(line.values())[len(METRICS) :]
        rows.append([shown(name), *(line[m] for m in METRICS)])
        rows[-1] += [None] * len(counts) if name == UNCALIBRATED else counts
    return Table(columns=columns, rows=rows).to_markdown()


def in_short(found: Means) -> str:
    """Mean ECE and Brier before, and after the calibrator with the lowest mean Brier."""
    before = found[UNCALIBRATED]
    name = min(found, key=lambda n: found[n]["top_label_brier"])
    (error, score), (error_after, score_after) = (
        (100 * line["ece"], 100 * line["top_label_brier"]) for line in (before, found[name])
    )
    return (
        f"mean ECE {error:.1f} % before, {error_after:.1f} % after `{name}` (the lowest mean Brier: "
        f"{score:.1f} % before, {score_after:.1f} % after)"
    )
