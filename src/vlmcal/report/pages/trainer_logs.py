"""What trainers' own logs say, beside what is measured here and marked as theirs."""

from collections.abc import Iterable, Mapping
from typing import Any

from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.html import Section
from vlmcal.report.tables import Table

_FACTS = ("trainer", "data", "classes", "shots", "seed")
_NUMBERS = {
    "accuracy": "accuracy",
    "ece": "ECE",
    "mce": "MCE",
    "ace": "ACE",
    "macro_f1": "macro F1",
}
CAPTION = (
    "From the trainers' logs, as printed; bins and definitions are theirs, nothing is measured here"
)


def trainer_logs_table(logs: Iterable[Mapping[str, Any]]) -> Table:
    """One row for each log: what was tested, and the numbers that it prints.

    Args:
        logs: Mappings with the facts ("trainer", "data", ...), "log" (its path), and "values": name -> number
            as printed, with "percent": the names that were printed in percent.

    Example:
        >>> log = {"trainer": "CoOp", "log": "a/log.txt", "values": {"accuracy": 93.9}}
        >>> table = trainer_logs_table([{**log, "percent": ["accuracy"]}])
        >>> table.columns[0].title, table.rows[0]
        ('trainer', ['CoOp', '93.9 %', 'a/log.txt'])
    """
    found = list(logs)
    facts = [name for name in _FACTS if any(name in log for log in found)]
    numbers = [name for name in _NUMBERS if any(name in log["values"] for log in found)]
    columns = [words(name) for name in facts]
    columns += [Column(_NUMBERS[name]) for name in numbers] + [words("log")]
    rows: list[list[Cell]] = []
    for log in found:
        row: list[Cell] = [str(log.get(name, "")) for name in facts]
        row += [_printed(log, name) for name in numbers]
        rows.append([*row, str(log["log"])])
    return Table(columns=columns, rows=rows, caption=CAPTION)


def _printed(log: Mapping[str, Any], name: str) -> str:
    if name not in log["values"]:
        return ""
    return f"{log['values'][name]:g}" + (" %" if name in log["percent"] else "")


def trainer_logs_section(logs: Iterable[Mapping[str, Any]]) -> Section | None:
    """The section of a report with that table; None without logs."""
    found = list(logs)
    if not found:
        return None
    return Section(heading="Logs of the trainers", tables=[trainer_logs_table(found)])
