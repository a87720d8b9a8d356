"""Where a table begins in a sheet or a text: below comments, titles and empty lines."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence

from vlmcal.errors import DataError
from vlmcal.io.number_cells import as_number

SAMPLE = 40


def without_comments(text: str) -> tuple[str, int]:
    r"""Text without the lines that start with ``#``, and how many these were.

    The last one above the rows is the header if it has as many names as they have cells.

    Example:
        >>> without_comments("# model: x\ncat,dog\n0.1,0.9\n")
        ('cat,dog\n0.1,0.9\n', 1)
        >>> without_comments("#id\tcat\ndog.png\t0.1\n")
        ('id\tcat\ndog.png\t0.1\n', 0)
    """
    if not text.startswith("#") and ("\n#" not in text or '"' in text):
        return text, 0
    lines = list(io.StringIO(text, newline=""))
    start = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head, rest = lines[:start], lines[start:]
    if head and rest and _is_header(head[-1], rest[0]):
        rest.insert(0, _unmarked(head.pop()))
    inside = [line for line in rest if not line.startswith("#")] if '"' not in text else rest
    inside = inside if _is_comment_mark(rest, inside) else rest
    return "".join(inside), len(head) + len(rest) - len(inside)


def _is_header(line: str, after: str) -> bool:
    """Whether a line with a mark names the columns of the line after it, which holds numbers."""
    for separator in ("\t", ",", ";", "|"):
        names, cells = line.rstrip().split(separator), after.rstrip().split(separator)
        if 1 < len(names) == len(cells):
            return any(map(is_number, cells)) and not any(map(is_number, names))
    return False


def _unmarked(line: str) -> str:
    rest = line.lstrip("# ")
    return rest if rest[:1] not in ("", ",", ";", "\t", "|") else line


def _is_comment_mark(rest: Sequence[str], inside: Sequence[str]) -> bool:
    """Whether lines with a mark among the rows are fewer than those without, and no rows themselves."""
    marked = [line for line in rest if line.startswith("#")]
    if not marked or len(marked) * 2 > len(inside):
        return False
    shape = Counter(sum(map(line.count, ",;\t|")) for line in inside).most_common(1)[0][0]
    return all(sum(map(line.count, ",;\t|")) != shape for line in marked)


def is_number(text: str) -> bool:
    """Whether a cell is written as a number, also with a decimal comma or a percent sign.

    Example:
        >>> is_number("0,5"), is_number("12 %"), is_number("cat")
        (True, True, False)
    """
    return as_number(text.strip().rstrip("% ").replace(",", ".")) is not None


def header_place(records: Sequence[Sequence[str]]) -> int:
    """Which of the first records is the header: that below titles, which fill one cell of several.

    Args:
        records: The first records, empty ones left out.

    Example:
        >>> header_place([["My results"], ["cat", "dog", "label"], ["0.1", "0.9", "dog"]])
        1
        >>> header_place([["", "label"], ["0", "cat"]])
        0
    """
    width = usual_length(records)
    for at, record in enumerate(records[:-1]):
        filled = sum(bool(cell.strip()) for cell in record)
        if len(record) == width and 2 * filled > width:
            return at
        title = len(record) < width or (filled <= 1 and width > 2)
        if not title or (at == 0 and names_no_rows(record, records[1])):
            return 0
    return 0


def names_no_rows(header: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a header lacks the name of the column of row names, as R writes tables.

    Example:
        >>> names_no_rows(["cat", "dog", "label"], ["1", "0.1", "0.9", "dog"])
        True
    """
    named = all(cell.strip() and not is_number(cell) for cell in header)
    return len(row) == len(header) + 1 and named and any(map(is_number, row))


def usual_length(records: Sequence[Sequence[str]]) -> int:
    """The length that most records have; of two, the larger."""
    counts = Counter(map(len, records))
    return max(counts, key=lambda length: (counts[length], length), default=0)


def records_of(text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """The first records of a delimited text that are not empty, each with the number of lines before it.

    Raises:
        DataError: Not readable as delimited text.
    """
    reader = csv.reader(
        io.StringIO(text[: 1 << 22], newline=""),
        delimiter=separator,
        skipinitialspace=separator == " ",
    )
    found = before = 0
    try:
        for record in reader:
            if any(record):
                yield record, before
                found += 1
            before = reader.line_num
            if found == SAMPLE:
                return
    except csv.Error as error:
        raise DataError(f"not readable as delimited text ({error})") from error


def from_line(text: str, line: int) -> str:
    r"""The text from a line on, counted from 0.

    Example:
        >>> from_line("a\r\nb\r\nc", 1)
        'b\r\nc'
    """
    if line == 0:
        return text
    stream = io.StringIO(text, newline="")
    for _ in range(line):
        stream.readline()
    return stream.read()
