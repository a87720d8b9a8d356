"""Tables as plain text, Markdown and CSV."""

import csv
import io
import math
import re
from collections.abc import Sequence
from itertools import groupby, takewhile

from vlmcal.report.cells import Cell, Column, Grid, Plain, Spread, plain, show
from vlmcal.types.estimate import Estimate

GAP = "  "
_NAMES = (
    0.6  # of a line, at most, for the columns of text that begin it and are repeated in every block
)


def to_text(table: Grid, width: int = 100) -> str:
    """See :meth:`vlmcal.report.tables.Table.to_text`."""
    best = table.best()
    starred = {j for _, j in best}
    body = [
        [
            _text_cell(cell, column, "*" if (i, j) in best else " " if j in starred else "")
            for j, (cell, column) in _pairs(table, row)
        ]
        for i, row in enumerate(table.rows)
    ]
    # Headings end above the last digit, not above the star.
    heads = [c.label + (" " if j in starred else "") for j, c in enumerate(table.columns)]
    widths = [max(len(line[j]) for line in [heads, *body]) for j in range(len(heads))]
    blocks = [
        _block(table, heads, body, widths, chosen) for chosen in _fit(table.columns, widths, width)
    ]
    marks = ["* best in its column"] if best else []
    notes = [line for note in table.all_notes() for line in wrap(note, width)]
    caption = wrap(table.caption, width) if table.caption else []
    foot = [*marks, *notes]
    return "\n".join(
        [*caption, *([""] if caption else []), "\n\n".join(blocks), *([""] if foot else []), *foot]
    )


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` characters, broken at spaces.

    Example:
        >>> wrap("one two three", 8)
        ['one two', 'three']
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def to_markdown(table: Grid) -> str:
    """See :meth:`vlmcal.report.tables.Table.to_markdown`."""
    best = table.best()
    heads = [
        _escape_markdown(f"{c.group}: {c.label}" if c.group else c.label) for c in table.columns
    ]
    rules = ["---" if c.align == "left" else "---:" for c in table.columns]
    lines = [heads, rules]
    for i, row in enumerate(table.rows):
        shown = []
        for j, (cell, column) in _pairs(table, row):
            main, small = show(cell, column)
            main = _escape_markdown(main)
            main = f"**{main}**" if (i, j) in best else main
            shown.append(f"{main} {small}".strip())
        lines.append(shown)
    head = [f"{_escape_markdown(table.caption)}", ""] if table.caption else []
    notes = [line for note in table.all_notes() for line in ("", _escape_markdown(note))]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines), *notes])


def to_csv(table: Grid) -> str:
    """See :meth:`vlmcal.report.tables.Table.to_csv`."""
    rows = [[plain(cell) for cell in row] for row in table.rows]
    parts = [_csv_parts([row[j] for row in rows]) for j in range(len(table.columns))]
    header = [
        " ".join(word for word in (column.group, column.title, part) if word)
        for column, names in zip(table.columns, parts, strict=True)
        for part in names
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(
            [
                _csv_value(cell, part)
                for cell, names in zip(row, parts, strict=True)
                for part in names
            ]
        )
    return buffer.getvalue()


def _pairs(table: Grid, row: Sequence[Cell]) -> enumerate[tuple[Cell, Column]]:
    return enumerate(zip(row, table.columns, strict=True))


def _text_cell(cell: Cell, column: Column, mark: str) -> str:
    # One blank stands where the star would, so that the digits of a column line up.
    return " ".join(show(cell, column)).strip() + mark


def _fit(columns: Sequence[Column], widths: Sequence[int], limit: int) -> list[list[int]]:
    """Column numbers per block; each block repeats what names a row and keeps groups whole if it can."""
    names = sum(1 for _ in takewhile(lambda column: column.align == "left", columns))
    if sum(widths[:names]) + len(GAP) * names > _NAMES * limit:
        names = 1
    lead = list(range(min(max(1, names), len(widths))))
    blocks: list[list[int]] = [list(lead)] if widths else []
    room = limit - sum(widths[j] for j in lead) - len(GAP) * (len(lead) - 1)
    used = 0
    for _, members in groupby(range(len(lead), len(widths)), key=lambda j: columns[j].group or j):
        unit = list(members)
        size = sum(widths[j] + len(GAP) for j in unit)
        for part in [unit] if size <= room else [[j] for j in unit]:
            size = sum(widths[j] + len(GAP) for j in part)
            if used and used + size > room:
                blocks.append(list(lead))
                used = 0
            blocks[-1] += part
            used += size
    return blocks


def _block(
    table: Grid,
    heads: Sequence[str],
    body: Sequence[Sequence[str]],
    widths: Sequence[int],
    chosen: Sequence[int],
) -> str:
    columns = [table.columns[j] for j in chosen]
    sizes = [widths[j] for j in chosen]
    lines = []
    if any(column.group for column in columns):
        lines.append(_group_line(columns, sizes))
    lines.append(_line([heads[j] for j in chosen], columns, sizes))
    lines.append(GAP.join("-" * size for size in sizes))
    lines += [_line([row[j] for j in chosen], columns, sizes) for row in body]
    return "\n".join(line.rstrip() for line in lines)


def _line(texts: Sequence[str], columns: Sequence[Column], sizes: Sequence[int]) -> str:
    return GAP.join(
        text.ljust(size) if column.align == "left" else text.rjust(size)
        for text, column, size in zip(texts, columns, sizes, strict=True)
    )


def _group_line(columns: Sequence[Column], sizes: Sequence[int]) -> str:
    line, start = "", 0
    for group, members in groupby(zip(columns, sizes, strict=True), key=lambda pair: pair[0].group):
        inside = [size for _, size in members]
        width = sum(inside) + len(GAP) * (len(inside) - 1)
        if group:
            line = line.ljust(start) + f" {group} ".center(width, "-")
        start += width + len(GAP)
    return line


def _csv_parts(cells: Sequence[Plain]) -> list[str]:
    parts = [""]
    if any(isinstance(cell, Spread) for cell in cells):
        parts += ["std", "seeds"]
    if any(isinstance(cell, Estimate | Spread) and cell.low is not None for cell in cells):
        parts += ["low", "high"]
    return parts


def _csv_value(cell: Plain, part: str) -> str:
    if isinstance(cell, str):
        return cell if part == "" else ""
    name = {"": "value", "seeds": "n"}.get(part, part)
    if isinstance(cell, Spread):
        name = "mean" if part == "" else name
    elif not isinstance(cell, Estimate):
        return "" if cell is None or part else _exact(cell)
    elif part in ("std", "seeds"):
        return ""
    return _exact(getattr(cell, name))


def _exact(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|*_`<\\\[\]])", r"\\\1", text.replace("\n", " "))
