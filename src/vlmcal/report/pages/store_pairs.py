"""Within each data set: every method beside the best one, paired by test row."""

from collections.abc import Mapping, Sequence

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.metrics.against_best import AgainstBest, against_best, same_rows
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.display import metric_column, metric_name
from vlmcal.report.html import Section
from vlmcal.report.pages.run_rows import RunRow, grouped, variant_names
from vlmcal.report.tables import Table
from vlmcal.types.confidences import Confidences
from vlmcal.types.shown import plural

_MOST = 30  # methods of a data set that are set beside the best one
PROSE = (
    "Each line sets a method beside the best of its data set on the same test rows, all seeds together. The "
    "interval is a paired bootstrap of test rows (for the ECE a paired difference that allows for its bias): "
    "it is about other images, not about another training. p is corrected by Holm for all lines of the data "
    "set. The best one was picked by these same rows, which favours it slightly."
)


def within_data_sets(
    rows: Sequence[RunRow], focus: str, resamples: int = 1000
) -> tuple[Section | None, list[str]]:
    """A table for accuracy and one for ECE, and what they say in a sentence each.

    Args:
        rows: Measured rows; those without confidences are passed over.
        focus: Which classes ("new").
        resamples: Paired bootstrap resamples.
    """
    by_set = _methods(rows, focus)
    tables, notes, lines = [], [], []
    for name in ("accuracy", "ece"):
        body: list[list[Cell]] = []
        verdicts: dict[str, list[AgainstBest]] = {}
        for data, methods in by_set.items():
            if name == "accuracy":  # calibrators move few predictions
                methods = {key: value for key, value in methods.items() if key[1] == UNCALIBRATED}
            steady = {key: value for key, value in methods.items() if same_rows(value)}
            if len(steady) < len(methods):
                notes.append(f"{data}: methods whose seeds have different test rows are left out.")
            chosen = dict(list(steady.items())[:_MOST])
            if len(chosen) < len(steady):
                notes.append(f"{data}: the first {_MOST} of {len(steady)} methods.")
            if len(chosen) < 2:
                continue
            named = {
                who if calibrator == UNCALIBRATED else f"{who}, {calibrator}": rows
                for (who, calibrator), rows in chosen.items()
            }
            verdicts[data] = against_best(named, name, resamples=resamples)
            body += [_line(data, each) for each in verdicts[data]]
        if not body:
            continue
        like = metric_column(name)
        columns = [words(title) for title in ("data", "method", "beside")]
        columns += [
            Column("difference", like.title, like.percent, like.digits),
            Column("p", digits=3),
            words(""),
        ]
        caption = f"{metric_name(name)} on {focus} classes, difference to the best"
        tables.append(Table(columns=columns, rows=body, caption=caption))
        alone = sum(
            all(each.verdict == "worse" for each in found if each.comparison)
            for found in verdicts.values()
        )
        lines.append(
            f"On {focus} classes, by {metric_name(name)}: the best method can be told from all others on "
            f"{alone} of {plural(len(verdicts), 'data set')} (paired by test row)."
        )
    if not tables:
        return None, []
    return Section(
        heading="Within data sets", tables=tables, prose=[PROSE], notes=list(dict.fromkeys(notes))
    ), lines


Key = tuple[str, str]


def _methods(rows: Sequence[RunRow], focus: str) -> dict[str, Mapping[Key, Sequence[Confidences]]]:
    """Data set -> (method, calibrator) -> rows of each seed."""
    found: dict[str, dict[Key, list[Confidences]]] = {}
    kept = [row for row in rows if row.classes == focus and row.confidences is not None]
    for data in dict.fromkeys(row.axes.get("data", "") for row in kept):
        here = [row for row in kept if row.axes.get("data", "") == data]
        names = variant_names(here)
        for (variant, calibrator), members in grouped(here).items():
            found.setdefault(data, {})[names[variant], calibrator] = [
                row.confidences for row in members if row.confidences is not None
            ]
    return dict(found)


def _line(data: str, found: AgainstBest) -> list[Cell]:
    known = found.comparison
    gap, p = (None, None) if known is None else (known.difference, found.p_value)
    return [data, found.method, found.best, gap, p, found.verdict]
