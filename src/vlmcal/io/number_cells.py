"""Text cells as numbers: decimal commas, thousands, percent signs, and what is none of these."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLANK: Final = ("", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "-nan")
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|infinity)$"
# A comma that can only be the decimal one, one that can only part thousands, and one that may be either.
_DECIMAL_COMMA: Final = (
    r"^[+-]?(\d*,(\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+|,\d+|\d*,\d+[eE][+-]?\d+|\d{1,3}(\.\d{3})+,\d+)$"
)
_THOUSANDS: Final = r"^[+-]?([1-9]\d{0,2}(,\d{3})+\.\d*|[1-9]\d{0,2}(,\d{3}){2,})$"
_EITHER: Final = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_POINT: Final = r"^[+-]?(\d*\.(\d{1,2}|\d{4,})|0?\.\d+)([eE][+-]?\d+)?$"
_GROUPED: Final = r"^[+-]?[1-9]\d{0,2}([ '\x{a0}\x{202f}\x{2019}]\d{3})+([.,]\d+)?$"

UNCLEAR: Final = "the comma may be the decimal one or part thousands"


def as_number(text: str) -> float | None:
    """A text as the number that Python reads in it, or None.

    Example:
        >>> as_number("1e-3"), as_number("0,5")
        (0.001, None)
    """
    try:
        return float(text)
    except ValueError:
        return None


class Numbers(NamedTuple):
    """A column as numbers.

    Attributes:
        values: (N,) numbers; NaN where a cell is empty or no number.
        bad: Rows whose cell is neither empty nor a number.
        form: "decimal comma", "thousands", "percent sign", :data:`UNCLEAR` or "".
    """

    values: NDArray[Any]
    bad: NDArray[np.intp]
    form: str = ""


def numbers_of(column: Any, columns: Iterable[Any] = ()) -> Numbers:
    """A pyarrow column as numbers.

    Whether a comma is the decimal one or parts thousands is read off all columns of the table: 0,5 can only
    be the one, 1,234.5 only the other. Where nothing tells, 1,234 is no number.

    Args:
        column: The column.
        columns: All columns of its table.

    Example:
        >>> import pyarrow as pa
        >>> cells = pa.chunked_array([["1,234.5", "-7", "n/a"]])
        >>> numbers_of(cells, [cells])[::2]
        (array([1234.5,   -7. ,    nan]), 'thousands')
        >>> numbers_of(pa.chunked_array([["1,234", "0,5"]])).values.tolist()
        [1.234, 0.5]
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    none = np.empty(0, dtype=np.intp)
    if pt.is_integer(column.type) or pt.is_floating(column.type):
        return Numbers(column.to_numpy(), none)  # empty cells become NaN
    if not pt.is_string(column.type):
        return Numbers(np.full(len(column), np.nan), np.arange(len(column)))
    if (plain := _plain(column)) is not None:
        return Numbers(plain, none)
    text = pc.utf8_trim_whitespace(column)
    blank = pc.is_in(pc.utf8_lower(text), value_set=pa.array(_BLANK))
    text = pc.if_else(blank, None, text)
    try:
        return Numbers(pc.cast(text, pa.float64()).to_numpy(), none)
    except pa.ArrowInvalid:
        pass
    form = ""
    text = pc.replace_substring(text, "\u2212", "-")
    if _any(text, "%$"):
        form, text = "percent sign", pc.utf8_rtrim(text, "% \u00a0\u202f")
    if _any(text, _GROUPED):
        grouped = pc.replace_substring_regex(text, r"[ '\x{a0}\x{202f}\x{2019}]", "")
        text = pc.if_else(pc.match_substring_regex(text, _GROUPED), grouped, text)
        form = form or "thousands"
    if _any(text, ","):
        text, said = _without_commas(text, [column, *columns])
        form = form or said
    right = pc.match_substring_regex(text, _NUMBER, ignore_case=True)
    values = pc.cast(pc.if_else(right, text, None), pa.float64()).to_numpy()
    bad = np.flatnonzero(pc.fill_null(pc.invert(right), False).to_numpy())
    return Numbers(values, bad, form)


def _plain(column: Any) -> NDArray[np.float64] | None:
    """A column of text in which every cell is a number as programs write it; None for any other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        cells = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
    if cells.null_count or not len(cells):
        return None
    # Arrow's own way to NumPy imports pandas, which takes longer than most files
    return np.concatenate([np.from_dlpack(chunk) for chunk in cells.chunks])


def _any(text: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _without_commas(text: Any, columns: Iterable[Any]) -> tuple[Any, str]:
    """Cells with a decimal point and no other mark, where the commas of the table have one meaning."""
    import pyarrow.compute as pc

    decimal, thousands = _any(text, _DECIMAL_COMMA), _any(text, _THOUSANDS)
    if not decimal and not thousands:
        if not _any(text, _EITHER):
            return text, ""
        decimal, thousands = _meaning(columns)
    if decimal == thousands:
        return text, "" if decimal else UNCLEAR
    if thousands:
        whole = pc.match_substring_regex(text, f"{_THOUSANDS}|{_EITHER}")
        return pc.if_else(whole, pc.replace_substring(text, ",", ""), text), "thousands"
    points = pc.match_substring_regex(text, r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$")
    text = pc.if_else(points, pc.replace_substring(text, ".", ""), text)
    if _any(text, r"\."):  # a point that parts no thousands: the column mixes two ways of writing
        return text, ""
    return pc.replace_substring(text, ",", "."), "decimal comma"


def _meaning(columns: Iterable[Any]) -> tuple[bool, bool]:
    """Whether any cell has a decimal comma, and whether any has thousands or a decimal point."""
    import pyarrow.compute as pc
    import pyarrow.types as pt

    decimal = thousands = False
    for column in columns:
        if not pt.is_string(column.type):
            thousands = thousands or pt.is_floating(column.type)
            continue
        text = pc.utf8_trim_whitespace(column)
        decimal = decimal or _any(text, _DECIMAL_COMMA)
        thousands = thousands or _any(text, f"{_THOUSANDS}|{_POINT}")
    return decimal, thousands
