"""Delimited text as programs of all countries write it: encodings, separators, quotes, repeated names."""

import codecs
import csv
import io
from typing import Any, NamedTuple

from vlmcal.errors import DataError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 20
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
    import pyarrow as pa
    import pyarrow.csv

    text, encoding, notes = _decoded(data)
    first, _, rest = text.partition("\n")
    declared = None
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        declared, text = first.strip()[4], rest
    text = text.lstrip("\r\n")
    if not text.strip():
        raise DataError("the file is empty (no header, no rows)")
    separator = declared or _separator(text, usual)
    names = _header([name.strip() for name in _records(text, separator, 1)[0]])
    form = [] if separator == usual else [f'separator "{_shown(separator)}"']
    form += [encoding] if encoding else []
    if len(text.strip().splitlines()) < 2:
        raise DataError("the file has a header but no rows")
    options = {"column_types": dict.fromkeys(names, pa.string())}
    for newlines in (False, True):
        try:
            table = pyarrow.csv.read_csv(
                io.BytesIO(text.encode()),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names, skip_rows=1, block_size=max(_BLOCK, 2 * len(first) + 1)
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=separator, newlines_in_values=newlines
                ),
                convert_options=pyarrow.csv.ConvertOptions(**options),
            )
            return Delimited(table, form, notes)
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if newlines or '"' not in text:
                raise DataError(f"not readable as a {ending} table ({error})") from error
    raise AssertionError


def _decoded(data: bytes) -> tuple[str, str, list[str]]:
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(name), "" if name == "utf-8-sig" else "UTF-16", []
            except UnicodeDecodeError as error:
                raise DataError(f"damaged text: starts as {name}, but {error}") from error
    head = data[:4096]
    if b"\x00" in head:
        for name, at in (("utf-16-le", 1), ("utf-16-be", 0)):
            if head[at::2].count(0) > 0.8 * len(head[at::2]):
                return data.decode(name, errors="replace"), "UTF-16", []
    if b"\x00" in data:
        raise DataError("holds NUL bytes: this is no text file, or a damaged one")
    try:
        return data.decode("utf-8"), "", []
    except UnicodeDecodeError:
        note = "not UTF-8: read as Windows-1252 (Latin-1); check names with letters beyond ASCII"
        return data.decode("cp1252", errors="replace"), "Windows-1252", [note]


def _separator(text: str, usual: str) -> str:
    """The usual one if it parts the header, else the one that parts the first lines alike."""
    counts = {}
    for separator in dict.fromkeys([usual, *_SEPARATORS]):
        lengths = [len(record) for record in _records(text, separator, _SAMPLE)]
        if lengths[0] > 1:
            counts[separator] = (len(set(lengths)) == 1, lengths[0])
    if not counts:
        return usual
    if counts.get(usual, (False, 0))[0]:
        return usual
    return max(counts, key=lambda s: (counts[s][0], s == usual, counts[s][1]))


def _records(text: str, separator: str, count: int) -> list[list[str]]:
    lines = io.StringIO(text[: 1 << 22], newline="")
    records: list[list[str]] = []
    try:
        for record in csv.reader(lines, delimiter=separator):
            if record or not records:
                records.append(record)
            if len(records) == count:
                break
    except csv.Error as error:
        raise DataError(f"not readable as delimited text ({error})") from error
    return records or [[]]


def _header(names: list[str]) -> list[str]:
    if len(names) > 1 and all(_is_decimal(name) for name in names):
        raise DataError(
            f"the first line holds numbers ({', '.join(names[:4])}, ...) and no names; add a header that "
            "names the class of each column and the column of the labels"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice == [""]:  # pandas' name for them
        return [name or f"Unnamed: {at}" for at, name in enumerate(names)]
    if twice:
        raise DataError(f"column names occur twice: {', '.join(twice)}; give each its own name")
    return names


def _is_decimal(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "." in text or "e" in text.lower()


def _shown(separator: str) -> str:
    return "\\t" if separator == "\t" else separator
