"""What a column of labels means: names, or integers that count into names."""

import re
from collections.abc import Sequence

from vlmcal.data.problems import Findings, gaps, shown
from vlmcal.data.table import Table
from vlmcal.errors import nearest
from vlmcal.io.labels import is_integer, misleading_names

_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")


def filled(table: Table, column: str, findings: Findings) -> list[str]:
    """Cells of a column; empty ones are noted and become ""."""
    cells = table[column]
    empty = [row for row, cell in enumerate(cells, 1) if cell is None]
    if empty:
        findings.error(
            "empty-cell", f'column "{column}" is empty in data rows {shown(empty)}', empty
        )
    return [cell or "" for cell in cells]


def labels_of(
    table: Table,
    column: str,
    class_column: str,
    class_names: Sequence[str] | None,
    findings: Findings,
) -> tuple[list[int], Sequence[str]]:
    """Label indices (-1 where there is a problem, which is noted) and class names of a column.

    Labels that are not all integers are class names: ``class_names`` or, without it, those that occur,
    sorted. Integers count from 0 into ``class_names`` or into the names that ``class_column`` gives them.
    """
    cells = filled(table, column, findings)
    present = {cell for cell in cells if cell}
    if present and all(is_integer(cell) for cell in present):
        classes = class_names
        if classes is None:
            classes = _names_by_index(cells, table.get(class_column), column, findings)
        return _by_index(cells, classes, column, findings), classes
    decimals = sorted(cell for cell in present if _DECIMAL.fullmatch(cell))
    if decimals:
        findings.error(
            "bad-label",
            f'column "{column}" holds decimal numbers ({shown(decimals)}); write integers from 0, or '
            "class names",
            decimals,
        )
        return [-1] * len(cells), class_names or ()
    classes = sorted(present) if class_names is None else class_names
    return _by_name(cells, classes, findings), classes


def _names_by_index(
    cells: list[str], names: list[str | None] | None, column: str, findings: Findings
) -> list[str]:
    """Class names from the class column, one name per integer label."""
    if names is None:
        findings.error(
            "no-class-names",
            f'column "{column}" holds integers, and what they mean is not guessed; pass class_names=[...] '
            "in label order, or add a column class with the name of each row's label",
        )
        return []
    found: dict[int, set[str]] = {}
    for cell, name in zip(cells, names, strict=True):
        if cell and name:
            found.setdefault(int(cell), set()).add(name)
    clashes = {index: sorted(given) for index, given in sorted(found.items()) if len(given) > 1}
    for index, given in clashes.items():
        findings.error("bad-label", f"label {index} has several class names: {shown(given)}", given)
    if absent := gaps(found):
        findings.error(
            "bad-label",
            f"labels must count from 0 without gaps; there is no class name for {shown(absent)} "
            f"(labels run from {min(found)} to {max(found)}); pass class_names=[...] with all names",
            absent,
        )
    if clashes or absent:
        return []
    return [min(found[index]) for index in range(max(found, default=-1) + 1)]


def _by_index(
    cells: list[str], classes: Sequence[str], column: str, findings: Findings
) -> list[int]:
    names = misleading_names(classes)
    if names:
        findings.error(
            "bad-label",
            f'labels in column "{column}" are integers and so are class names ({shown(names)}), but '
            "name and position differ; write the labels as names that are not numbers",
            names,
        )
        return [-1] * len(cells)
    codes = [int(cell) if cell else -1 for cell in cells]
    wrong = [row for row, code in enumerate(codes) if cells[row] and not 0 <= code < len(classes)]
    if wrong and classes:
        values = sorted({codes[row] for row in wrong})
        findings.error(
            "bad-label",
            f"{len(wrong)} labels are outside 0 to {len(classes) - 1} ({len(classes)} classes): values "
            f"{shown(values)}, first in data row {wrong[0] + 1}. Labels count from 0",
            [row + 1 for row in wrong],
        )
    return [code if 0 <= code < len(classes) else -1 for code in codes]


def _by_name(cells: list[str], classes: Sequence[str], findings: Findings) -> list[int]:
    index = {str(name): code for code, name in enumerate(classes)}
    for cell in sorted({cell for cell in cells if cell and cell not in index}):
        where = [row for row, value in enumerate(cells, 1) if value == cell]
        findings.error(
            "bad-label",
            f'label "{cell}" in data rows {shown(where)} is not in the class list; '
            f"{nearest(cell, index)}",
            where,
        )
    return [index.get(cell, -1) for cell in cells]
