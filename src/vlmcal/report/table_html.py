"""Tables as HTML: numbers aligned, best values marked by weight and a sign, scrollable on phones."""

from html import escape
from itertools import groupby

from vlmcal.report.cells import Cell, Column, Grid, show

# From so many columns on, intervals stand below their values and cells are narrower; then letters smaller.
MANY, VERY_MANY = 8, 11
_BEST = '<span class="star" aria-hidden="true">★</span><span class="sr">best in its column</span>'


def to_html(table: Grid) -> str:
    """See :meth:`vlmcal.report.tables.Table.to_html`."""
    best = table.best()
    body = "".join(
        "<tr>"
        + "".join(
            _cell(cell, column, head=j == 0, best=(i, j) in best)
            for j, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        )
        + "</tr>"
        for i, row in enumerate(table.rows)
    )
    many = len(table.columns) >= MANY or any(column.group for column in table.columns)
    dense = f' class="dense{" denser" if len(table.columns) >= VERY_MANY else ""}"' if many else ""
    label = escape(table.caption or "table")
    caption = f"<figcaption>{escape(table.caption)}</figcaption>" if table.caption else ""
    marks = ["★ best in its column."] if best else []
    notes = "".join(f"<p>{escape(note)}</p>" for note in [*marks, *table.all_notes()])
    return (
        f'<figure class="table">{caption}'
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table{dense}>'
        f"<thead>{_groups(table)}<tr>{''.join(map(_head, table.columns))}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
        + (f'<div class="notes">{notes}</div>' if notes else "")
        + "</figure>"
    )


def _groups(table: Grid) -> str:
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


def _head(column: Column) -> str:
    hint = {"higher": "higher is better", "lower": "lower is better", None: ""}[column.better]
    title = f' title="{hint}"' if hint else ""
    return f'<th scope="col" class="{column.align}"{title}>{escape(column.label)}</th>'


def _cell(cell: Cell, column: Column, *, head: bool, best: bool) -> str:
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
