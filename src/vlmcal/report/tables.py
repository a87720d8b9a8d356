"""Tables of measured numbers, for terminals, papers, spreadsheets and web pages."""

import csv
import io
import math
import re
from collections.abc import Sequence
from html import escape
from itertools import groupby, takewhile

from vlmcal.report.cells import Cell, Column, Grid, Plain, Spread, plain, show
from vlmcal.types.estimate import Estimate

GAP = "  "
# Of a line, at most, for the columns of text that begin it and are repeated in every block.
_NAMES = 0.6
# From so many columns on, intervals stand below their values and cells are narrower; then letters smaller.
MANY, VERY_MANY = 8, 11
_BEST = '<span class="star" aria-hidden="true">★</span><span class="sr">best in its column</span>'
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
}


class Table(Grid):
    """A :class:`Grid` in every form that it is written in.

    Example:
        >>> from vlmcal.report.cells import Column
        >>> table = Table(
        ...     columns=[Column("method", align="left"), Column("ECE", percent=True, better="lower")],
        ...     rows=[["CoOp", 0.081], ["TCPT", 0.032]],
        ... )
        >>> print(table.to_text())
        method  ECE % ↓
        ------  --------
        CoOp        8.1
        TCPT        3.2*
        <BLANKLINE>
        * best in its column
    """

    def to_text(self, width: int = 100) -> str:
        """Monospace text; columns that do not fit ``width`` go into further blocks below."""
        best = self.best()
        starred = {j for _, j in best}
        body = [
            [
                _text_cell(cell, column, "*" if (i, j) in best else " " if j in starred else "")
                for j, (cell, column) in _pairs(self, row)
            ]
            for i, row in enumerate(self.rows)
        ]
        # Headings end above the last digit, not above the star.
        heads = [c.label + (" " if j in starred else "") for j, c in enumerate(self.columns)]
        widths = [max(len(line[j]) for line in [heads, *body]) for j in range(len(heads))]
        blocks = [
            _block(self, heads, body, widths, chosen)
            for chosen in _fit(self.columns, widths, width)
        ]
        marks = ["* best in its column"] if best else []
        notes = [line for note in self.all_notes() for line in wrap(note, width)]
        caption = wrap(self.caption, width) if self.caption else []
        foot = [*marks, *notes]
        return "\n".join(
            [
                *caption,
                *([""] if caption else []),
                "\n\n".join(blocks),
                *([""] if foot else []),
                *foot,
            ]
        )

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table; the best values are bold."""
        best = self.best()
        heads = [
            _escape_markdown(f"{c.group}: {c.label}" if c.group else c.label) for c in self.columns
        ]
        rules = ["---" if c.align == "left" else "---:" for c in self.columns]
        lines = [heads, rules]
        for i, row in enumerate(self.rows):
            shown = []
            for j, (cell, column) in _pairs(self, row):
                main, small = show(cell, column)
                main = _escape_markdown(main)
                main = f"**{main}**" if (i, j) in best else main
                shown.append(f"{main} {small}".strip())
            lines.append(shown)
        head = [f"{_escape_markdown(self.caption)}", ""] if self.caption else []
        notes = [line for note in self.all_notes() for line in ("", _escape_markdown(note))]
        return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines), *notes])

    def to_csv(self) -> str:
        """Comma-separated values in full precision, as fractions; intervals in own columns."""
        rows = [[plain(cell) for cell in row] for row in self.rows]
        parts = [_csv_parts([row[j] for row in rows]) for j in range(len(self.columns))]
        header = [
            " ".join(word for word in (column.group, column.title, part) if word)
            for column, names in zip(self.columns, parts, strict=True)
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

    def to_latex(self) -> str:
        """A LaTeX tabular for the package booktabs; the best values are bold."""
        best = self.best()
        lines = [f"% {note}" for note in (self.caption, *self.all_notes()) if note]
        spec = "".join("l" if column.align == "left" else "r" for column in self.columns)
        lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", *_latex_groups(self)]
        lines += [
            " & ".join(latex_text(column.label) for column in self.columns) + r" \\",
            r"\midrule",
        ]
        for i, row in enumerate(self.rows):
            cells = []
            for j, (cell, column) in enumerate(zip(row, self.columns, strict=True)):
                main, small = map(latex_text, show(cell, column))
                main = rf"\textbf{{{main}}}" if (i, j) in best else main
                cells.append(rf"{main} {{\scriptsize {small}}}" if small else main)
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def to_html(self) -> str:
        """A ``<figure>`` with the table, for the report's style sheet."""
        best = self.best()
        body = "".join(
            "<tr>"
            + "".join(
                _html_cell(cell, column, head=j == 0, best=(i, j) in best)
                for j, (cell, column) in enumerate(zip(row, self.columns, strict=True))
            )
            + "</tr>"
            for i, row in enumerate(self.rows)
        )
        many = len(self.columns) >= MANY or any(column.group for column in self.columns)
        dense = (
            f' class="dense{" denser" if len(self.columns) >= VERY_MANY else ""}"' if many else ""
        )
        label = escape(self.caption or "table")
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        marks = ["★ best in its column."] if best else []
        notes = "".join(f"<p>{escape(note)}</p>" for note in [*marks, *self.all_notes()])
        return (
            f'<figure class="table">{caption}'
            f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table{dense}>'
            f"<thead>{_html_groups(self)}<tr>{''.join(map(_html_head, self.columns))}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>"
            + (f'<div class="notes">{notes}</div>' if notes else "")
            + "</figure>"
        )

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()


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


def _html_groups(table: Grid) -> str:
    if not any(column.group for column in table.columns):
        return ""
    cells = []
    for group, members in groupby(table.columns, key=lambda column: column.group):
        size = len(list(members))
        cells.append(
            f'<th scope="colgroup" colspan="{size}" class="group">{escape(group)}</th>'
            if group
            else f'<td colspan="{size}"></td>'
        )
    return f'<tr class="groups">{"".join(cells)}</tr>'


def _html_head(column: Column) -> str:
    hint = {"higher": "higher is better", "lower": "lower is better", None: ""}[column.better]
    title = f' title="{hint}"' if hint else ""
    return f'<th scope="col" class="{column.align}"{title}>{escape(column.label)}</th>'


def _html_cell(cell: Cell, column: Column, *, head: bool, best: bool) -> str:
    main, small = show(cell, column)
    text = escape(main)
    if best:
        text = f"<strong>{text}</strong>{_BEST}"
    if small:
        text += f" <small>{escape(small)}</small>"
    classes = f"{column.align} best" if best else column.align
    if head:
        return f'<th scope="row" class="{classes}">{text}</th>'
    return f'<td class="{classes}">{text}</td>'


def latex_text(text: str) -> str:
    r"""``text`` with everything that LaTeX would interpret made literal.

    Example:
        >>> print(latex_text("50 % of a_b"))
        50 \% of a\_b
    """
    return "".join(_SPECIAL.get(character, character) for character in text.replace("\n", " "))


def _latex_groups(table: Grid) -> list[str]:
    if not any(column.group for column in table.columns):
        return []
    cells, rules, start = [], [], 1
    for group, members in groupby(table.columns, key=lambda column: column.group):
        size = len(list(members))
        cells.append(rf"\multicolumn{{{size}}}{{c}}{{{latex_text(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
        start += size
    return [" & ".join(cells) + r" \\", " ".join(rules)]
