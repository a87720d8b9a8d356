"""Tables of published numbers, and of measured ones beside them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vlmcal.experiment.published.averages import averages
from vlmcal.experiment.published.tables import NOT_PERCENT, Entry, papers
from vlmcal.report.cells import Cell, Column, Formatted, Plain, Spread, words
from vlmcal.report.display import metric_column
from vlmcal.report.html import Report, Section
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:  # they import torch, which the published numbers alone do not need
    from vlmcal.experiment.published.comparison import Comparison, Setting

JOINED = (
    "Numbers are joined on learner, calibration, split, metric and data set, and measured by the definitions "
    "of the paper's own evaluator where they are known. Spread: the standard deviation over seeds, or the "
    "bootstrap error of one seed. A difference under other settings is no failure to reproduce."
)
_TEXTS = ("learner", "calibration", "split", "metric", "dataset", "paper", "table")
PRINTED = "Values as published, in percent; ± is the population standard deviation over seeds."


def sources_table(found: Sequence[Entry]) -> Table:
    """One line per paper: what it is, how many numbers, how many can be targets.

    Example:
        >>> from vlmcal.experiment.published.averages import flagged
        >>> from vlmcal.experiment.published.tables import entries
        >>> table = sources_table(flagged(entries("tcpt")))
        >>> [int(cell) for cell in table.rows[0][2:]]
        [5046, 3968, 79, 16]
    """
    columns = [
        words("paper"),
        words("title"),
        *(Column(name, digits=0) for name in ("numbers", "targets", "averages", "wrong")),
    ]
    rows: list[list[Cell]] = []
    for paper in papers().values():
        own = [entry for entry in found if entry.paper == paper.name]
        if own:
            printed = averages(own)
            wrong = sum(not each.agrees for each in printed)
            targets = sum(entry.is_target for entry in own)
            rows.append([paper.name, paper.title, len(own), targets, len(printed), wrong])
    notes = [
        "averages: printed averages that could be recomputed; wrong: those that are not the mean of their "
        "numbers (or, of a harmonic mean, do not follow from the printed accuracies) by over 0.05 points."
    ]
    return Table(columns=columns, rows=rows, notes=notes)


def entries_table(found: Sequence[Entry], *, brief: bool = False) -> Table:
    """One line per published number.

    Args:
        found: The numbers.
        brief: For a terminal: why a number is no target stands once below, sources are left out.

    Example:
        >>> from vlmcal.experiment.published.tables import entries
        >>> table = entries_table(entries("calibprompt"), brief=True)
        >>> table.rows[0][0], table.rows[0][-1]
        ('coop', 'published')
    """
    columns = [words(name) for name in _TEXTS]
    columns += [Column("value", percent=True, digits=2), words("status")]
    if not brief:
        columns += [words("note"), words("source")]
    rows: list[list[Cell]] = []
    reasons: dict[str, int] = {}
    for entry in found:
        line: list[Cell] = [str(getattr(entry, name)) or "not known" for name in _TEXTS]
        line[0] = entry.learner or entry.method
        why = f"no target: {entry.why_no_target}" if entry.why_no_target else ""
        texts = [text for text in (entry.notes, why) if text]
        if brief:
            numbers = [str(reasons.setdefault(text, len(reasons) + 1)) for text in texts]
            told = f" ({', '.join(numbers)})" if numbers else ""
            rows.append([*line, _published(entry), entry.status + told])
        else:
            rows.append([*line, _published(entry), entry.status, "; ".join(texts), _source(entry)])
    listed = [f"({number}) {text[0].upper()}{text[1:]}." for text, number in reasons.items()]
    return Table(columns=columns, rows=rows, notes=[*listed, *([PRINTED] if rows else [])])


def comparison_table(compared: "Sequence[Comparison]") -> Table:
    """One line per published number with a measured one."""
    texts = ("paper", "table", "learner", "calibration", "split", "metric", "dataset")
    columns = [words(name) for name in texts]
    like = Column("", percent=True, digits=2)
    columns += [
        *(replace(like, title=name) for name in ("published", "measured", "difference")),
        Column("spreads", digits=1),
        words("verdict"),
        words("settings that differ"),
    ]
    rows: list[list[Cell]] = []
    for each in compared:
        line: list[Cell] = [getattr(each.entry, name) for name in _TEXTS]
        sd = each.spread if each.seeds > 1 else None
        measured: Plain = Spread(each.value, sd, each.seeds, each.low, each.high)
        if each.seeds == 1:
            measured = Estimate(each.value, each.low, each.high)
        line += [
            _published(each.entry),
            Formatted(measured, _number(each.entry.metric, like)),
            Formatted(each.difference, _number(each.entry.metric, like)),
            each.spreads,
            each.verdict,
            "; ".join(_told(setting) for setting in each.differing),
        ]
        rows.append(line)
    return Table(columns=columns, rows=rows, notes=[JOINED] if rows else [])


def published_report(
    title: str, lines: Sequence[str], tables: Sequence[Table], command: str
) -> Report:
    """A page with these sentences and tables."""
    return Report(
        title=title,
        summary=lines,
        sections=[Section(heading="Published and measured", tables=tables)],
        command=command,
    )


def _published(entry: Entry) -> Cell:
    if entry.value is None:
        return None
    like = _number(entry.metric, Column("", percent=True, digits=2))
    if entry.sd is None:
        return Formatted(entry.value, like)
    return Formatted(Spread(entry.value, entry.sd, entry.n or 0), like)


def _number(metric: str, like: Column) -> Column:
    return metric_column(metric) if metric in NOT_PERCENT else like


def _source(entry: Entry) -> str:
    return ":".join(part for part in (entry.source, entry.place) if part) or "secondary"


def _told(setting: "Setting") -> str:
    theirs, ours = setting.published or "not stated", setting.measured or "not known"
    return f"{setting.name} {theirs}, here {ours}"
