"""Delimited text as programs of all countries write it: encodings, separators, quotes, repeated names."""

import csv
import io
from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.column_names import named_once
from vlmcal.io.number_cells import as_number
from vlmcal.io.table_layout import (
    SAMPLE,
    from_line,
    header_place,
    names_no_rows,
    records_of,
    usual_length,
    without_comments,
)
from vlmcal.io.unicode_text import foreign, is_western, marked, unmarked, unstated

_SEPARATORS = (",", ";", "\t", "|", " ")
_LOOKED_AT = 1 << 20
_BLOCK = 1 << 24


class Delimited(NamedTuple):
    """A parsed file.

    Attributes:
        table: All cells as strings (pyarrow).
        form: How it was read, in words, where that is not plain UTF-8 with the usual separator.
        notes: What to look at.
    """

    table: Any
    form: list[str]
    notes: list[str]


def parse(data: bytes, usual: str, ending: str) -> Delimited:
    r"""Parse a file's bytes.

    Args:
        data: Content.
        usual: Separator that the name of the file promises.
        ending: For messages.

    Raises:
        DataError: Empty, no text, no header, a name twice, or rows of different lengths.

    Example:
        >>> found = parse("émeu;label\n0,5;a\n".encode("latin-1"), ",", ".csv")
        >>> found.table.column_names, found.form
        (['émeu', 'label'], ['separator ";"', 'Windows-1252'])
    """
    text, encoding, notes = _decoded(data)
    declared = None
    if text[:64].lstrip().lower().startswith("sep="):
        first, _, rest = text.partition("\n")
        if len(first.strip()) == 5:
            declared, text = first.strip()[4], rest
    text, comments = without_comments(unmarked(text).lstrip("\r\n"))
    if not text.strip(", ;\t|\r\n"):
        raise DataError("the file is empty (no header, no rows)")
    separator = declared or _separator(text, usual)
    form = [] if separator == usual else [f'separator "{_shown(separator)}"']
    form += [encoding] if encoding else []
    form += [f"{comments} comment lines"] if comments else []
    if separator == " ":
        text, separator = _with_tabs(text), "\t"
    text, names, above = _below_titles(text, separator)
    form += [f"title above the header: {above}"] if above else []
    if not text.strip().partition("\n" if "\n" in text else "\r")[2]:
        raise DataError("the file has a header but no rows")
    table = _parsed(text, separator, names, ending)
    table, empty = _without_empty_rows(table)
    form += [f"{empty} empty rows left out"] if empty else []
    return Delimited(table, form, notes)


def _parsed(text: str, separator: str, names: list[str], ending: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv

    options = {"column_types": dict.fromkeys(names, pa.string())}
    first = text[: text.find("\n") + 1]
    for newlines in (False, True):
        try:
            return pyarrow.csv.read_csv(
                io.BytesIO(text.encode()),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names, skip_rows=1, block_size=max(_BLOCK, 2 * len(first))
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=separator, newlines_in_values=newlines
                ),
                convert_options=pyarrow.csv.ConvertOptions(**options),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if newlines or '"' not in text:
                raise DataError(f"not readable as a {ending} table ({error})") from error
    raise AssertionError


def _below_titles(text: str, separator: str) -> tuple[str, list[str], str]:
    """The text from its header on, the names of all columns, and the title above them."""
    found = list(records_of(text, separator))
    records = [record for record, _ in found]
    at = header_place(records)
    above = " ".join(cell.strip() for record in records[:at] for cell in record if cell.strip())
    names = [name.strip() for name in records[at]]
    if at + 1 < len(records) and names_no_rows(names, records[at + 1]):
        last = all(not record[-1].strip() for record in records[at + 1 :])
        names = [*names, ""] if last else ["", *names]
    return from_line(text, found[at][1]), _header(names), above[:60]


def _without_empty_rows(table: Any) -> tuple[Any, int]:
    """Rows in which some cell is filled, and how many others there were."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = pc.utf8_trim_whitespace(table.column(0))
    if pc.min(pc.binary_length(first)).as_py():
        return table, 0
    rows = np.flatnonzero(pc.equal(first, "").to_numpy())
    for name in table.column_names[1:]:
        cells = pc.utf8_trim_whitespace(table.column(name).take(pa.array(rows)))
        rows = rows[pc.equal(cells, "").to_numpy()]
    kept = np.ones(table.num_rows, dtype=np.bool_)
    kept[rows] = False
    return (table.filter(pa.array(kept)) if rows.size else table), len(rows)


def _with_tabs(text: str) -> str:
    """A text that spaces part, parted by tabs."""
    out = io.StringIO(newline="")
    lines = (line.strip() for line in io.StringIO(text))
    rows = csv.reader(lines, delimiter=" ", skipinitialspace=True)
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows(rows)
    return out.getvalue()


def _decoded(data: bytes) -> tuple[str, str, list[str]]:
    if name := marked(data):
        try:
            return data.decode(name), "" if name == "utf-8-sig" else name.upper(), []
        except UnicodeDecodeError as error:
            raise DataError(f"damaged text: starts as {name}, but {error}") from error
    if name := unstated(data):
        return data.decode(name, errors="replace"), name[:6].upper(), []
    if b"\x00" in data:
        raise DataError("holds NUL bytes: this is no text file, or a damaged one")
    try:
        return data.decode("utf-8"), "", []
    except UnicodeDecodeError as error:
        if not is_western(data):
            raise DataError(
                f"not UTF-8 text, but probably {foreign(data)}; save it as UTF-8"
            ) from error
        note = "not UTF-8: read as Windows-1252 (Latin-1); check names with letters beyond ASCII"
        return data.decode("cp1252", errors="replace"), "Windows-1252", [note]


def _separator(text: str, usual: str) -> str:
    """The usual one if it parts the first lines alike, else the one that does so best; spaces come last."""
    shares = {}
    for separator in dict.fromkeys([usual, *_SEPARATORS]):
        lengths = [len(record) for record in _first(text, separator)]
        width = usual_length([[""] * length for length in lengths])
        if width > 1:
            shares[separator] = (lengths.count(width) / len(lengths), width)
    if not shares:
        return usual
    if shares.get(usual, (0.0, 0))[0] == 1:
        return usual
    return max(shares, key=lambda s: (shares[s][0], s == usual, s != " ", shares[s][1]))


def _first(text: str, separator: str) -> list[list[str]]:
    if separator == " ":
        text = "\n".join(line.strip() for line in text[:_LOOKED_AT].splitlines()[:SAMPLE])
    return [record for record, _ in records_of(text, separator)] or [[]]


def _header(names: list[str]) -> list[str]:
    if len(names) > 1 and 2 * sum(map(_is_decimal, names)) >= len(names):
        raise DataError(
            f"the first line holds numbers ({', '.join(names[:4])}, ...) and no names; add a header that "
            "names the class of each column and the column of the labels"
        )
    return named_once(names)


def _is_decimal(text: str) -> bool:
    return ("." in text or "e" in text.lower()) and as_number(text) is not None


def _shown(separator: str) -> str:
    return {"\t": "\\t", " ": "space"}.get(separator, separator)
