"""Tables as LaTeX, for the package booktabs."""

from itertools import groupby

from vlmcal.report.cells import Grid, show

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


def to_latex(table: Grid) -> str:
    """See :meth:`vlmcal.report.tables.Table.to_latex`."""
    best = table.best()
    lines = [f"% {note}" for note in (table.caption, *table.all_notes()) if note]
    spec = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", *_groups(table)]
    lines += [" & ".join(escape(column.label) for column in table.columns) + r" \\", r"\midrule"]
    for i, row in enumerate(table.rows):
        cells = []
        for j, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            main, small = map(escape, show(cell, column))
            main = rf"\textbf{{{main}}}" if (i, j) in best else main
            cells.append(rf"{main} {{\scriptsize {small}}}" if small else main)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def escape(text: str) -> str:
    r"""``text`` with everything that LaTeX would interpret made literal.

    Example:
        >>> print(escape("50 % of a_b"))
        50 \% of a\_b
    """
    return "".join(_SPECIAL.get(character, character) for character in text.replace("\n", " "))


def _groups(table: Grid) -> list[str]:
    if not any(column.group for column in table.columns):
        return []
    cells, rules, start = [], [], 1
    for group, members in groupby(table.columns, key=lambda column: column.group):
        size = len(list(members))
        cells.append(rf"\multicolumn{{{size}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
        start += size
    return [" & ".join(cells) + r" \\", " ".join(rules)]
