"""The right class of each row: a column, one column per class, or a second file joined by ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError, few, located, nearest
from vlmcal.io.column_names import LABEL_NAMES, Place, joined, rest_of, words
from vlmcal.io.npz import read_npy
from vlmcal.io.packed import ending_of
from vlmcal.io.raw_predictions import Columns
from vlmcal.io.row_join import Joined, join, second_file
from vlmcal.io.table_files import Table, read_table
from vlmcal.types.arrays import BoolArray, StrArray

_MULTI: Final = (
    "this is a multi-label table (findings that do not exclude each other): vlmcal evaluate --multi-label "
    "reads it (vlmcal.io.multi_label.read_multi_label); or one at a time: --labels FINDING --positive "
    "ITS_SCORE_COLUMN"
)


# What programs write for an empty cell. "none" may be a class; "None" is what Python writes.
_BLANK: Final = ("nan", "-nan", "na", "n/a", "#n/a", "<na>", "null")


class Truth(NamedTuple):
    """Labels as they are written.

    Attributes:
        values: (N,) label texts, or None where there are none.
        where: Where they are, for messages and the plan.
        used: Columns of the table that they take.
        missing: Rows without one.
    """

    values: StrArray | None
    where: str = ""
    used: tuple[str, ...] = ()
    missing: int = 0


def find_truth(table: Table, columns: Columns, folder: Path, ids: str | None) -> Truth:
    """The labels of a table.

    Args:
        table: The table of scores.
        columns: What the user says.
        folder: Where the table lies; a second file may be named from there.
        ids: Column of the ids, to join a second file by.

    Raises:
        DataError: None found though needed, several columns that could be them, empty cells, or a second
            file that does not fit.
    """
    if columns.labels_file is not None:
        return _joined(table, columns, columns.labels_file, folder, ids)
    asked = columns.labels
    if asked is not None and asked not in table.columns:
        several = [name.strip() for name in asked.split(",")]
        if len(several) > 1 and all(name in table.columns for name in several):
            return _one_hot(table, several, [*several])
        if _is_file(asked, folder):
            return _joined(table, columns, Path(asked), folder, ids)
        if columns.labels_needed:
            table.require(asked, "labels")
        return Truth(None)
    name = asked or _by_name(table, columns)
    if name is None:
        pairs = _one_hot_pairs(table)
        if pairs:
            return _one_hot(table, list(pairs), list(pairs.values()))
        return Truth(None)
    return _column(table, name, columns)


def _column(table: Table, name: str, columns: Columns) -> Truth:
    values = table.texts(name)
    listed = table.class_lists.get(name)
    if listed:
        codes = [int(value) if value.isdecimal() else -1 for value in values.tolist()]
        values = np.asarray(
            [listed[c] if 0 <= c < len(listed) else "" for c in codes], dtype=np.str_
        )
    empty = _empty(values, table)
    where = f'column "{name}"'
    if not empty.any():
        return Truth(values, where, (name,))
    if not columns.labels_needed:
        return Truth(
            None, f"{where} is empty in {int(empty.sum())} rows, so it is not used", (name,)
        )
    raise DataError(
        f"{where} is empty in {int(empty.sum())} rows, first in data row {int(empty.argmax()) + 1}"
    )


def _empty(values: StrArray, table: Table) -> BoolArray:
    empty: BoolArray = values == ""
    if empty.any() or len(values) == 0:
        return empty
    unique, places = np.unique(values, return_inverse=True)
    blank = [
        word not in table.columns and (word == "None" or word.casefold() in _BLANK)
        for word in unique.tolist()
    ]
    return np.asarray(blank, dtype=np.bool_)[places]


def _by_name(table: Table, columns: Columns) -> str | None:
    if "label" in table.columns:
        return "label"
    known = [
        name
        for name in table.names
        if joined(name) in LABEL_NAMES and name not in columns.exclude and _discrete(table, name)
    ]
    if len(known) > 1:
        raise DataError(
            f"several columns may hold the labels: {', '.join(known)}; name one with labels=NAME (--labels)"
        )
    return known[0] if known else None


def _discrete(table: Table, name: str) -> bool:
    numbers = table.numbers(name)
    values = numbers.values[np.isfinite(numbers.values)]
    return bool(numbers.bad.size) or bool((values == np.round(values)).all())


def refuse_answers(table: Table) -> None:
    """Refuse rows of lm-eval, VLMEvalKit and the like, which hold answers and no scores of classes.

    Raises:
        DataError: Names the verb that reads them.
    """
    names = {joined(name.partition(".")[0]) for name in table.names}
    harness = {"resps", "docid"} <= names or {"filteredresps", "docid"} <= names
    if harness or {"question", "answer", "prediction"} <= names:
        raise DataError(
            "these are answers of a language model, not class scores: read them with vlmcal vqa import FILE "
            "-o FOLDER, which knows the logs of lm-eval and VLMEvalKit; of other tables --answer COLUMN and "
            "--gold COLUMN name the columns"
        )


def refuse_absent(table: Table) -> NoReturn:
    """Refuse a table without labels.

    Raises:
        DataError: Names the nearest column, the option for a second file, or what else the table is.
    """
    hint = nearest("label", table.names)
    raise DataError(
        f'no column "label"; rename a column or pass labels=NAME: {hint}. Labels in a second file: '
        "labels_file=FILE (--labels-file FILE), joined by --ids"
    )


def _is_file(text: str, folder: Path) -> bool:
    file = Path(text).expanduser()
    return bool(ending_of(file)) and (file.is_file() or (folder / file).is_file())


def _joined(table: Table, columns: Columns, path: Path, folder: Path, ids: str | None) -> Truth:
    file = second_file(path, folder)
    if ending_of(file) == ".npy":
        refuse_column(columns, file.name)
        return _in_order(table, read_npy(file), file.name)
    with located(file):
        other = read_table(file)
    keys = [ids] if ids is not None and columns.ids is not None else table.names
    found = join(
        {n: table.texts(n) for n in keys if n not in columns.exclude}, other, columns.ids, file.name
    )
    return from_joined(other, found, columns, file.name)


def refuse_column(columns: Columns, file: str) -> None:
    """Refuse the name of a column of labels where the file of the labels is one array.

    Raises:
        DataError: ``labels`` and ``labels_file`` are both given.
    """
    if columns.labels_file is not None:
        columns.refuse(f"names a column, but {file} is one array of labels; drop it", "labels")


def _in_order(table: Table, values: NDArray[Any], file: str) -> Truth:
    """Labels of an NPY file, which are in the order of the rows."""
    if values.shape != (table.rows,):
        raise DataError(
            f"{file}: expected one label for each of the {table.rows} rows, in their order; got shape "
            f"{values.shape}"
        )
    return Truth(values.astype(np.str_), f"{file}, in the order of the rows")


def from_joined(other: Table, found: Joined, columns: Columns, file: str) -> Truth:
    """The labels of a second file in the order of the rows that were found in it.

    Raises:
        DataError: No labels there, or two for one row that differ.
    """
    asked = columns.labels if columns.labels in other.columns else None
    if asked is None and columns.labels is not None and columns.labels_file is not None:
        raise DataError(
            f'{file}: no column "{columns.labels}"; {nearest(columns.labels, other.names)}'
        )
    left = [name for name in other.names if name != found.theirs]
    name = asked or _by_name(other, Columns()) or (left[0] if len(left) == 1 else None)
    if name is not None:
        truth = _column(other, name, Columns())
    else:
        zeros_and_ones = [name for name in left if _binary(other, name)]
        truth = _one_hot(other, zeros_and_ones, zeros_and_ones)
    assert truth.values is not None
    _require_one_label(other.texts(found.theirs), truth.values, file, found.theirs)
    how = f" {found.how}" if found.how else ""
    by = found.key if found.key == found.theirs else f'{found.key}" and "{found.theirs}'
    return Truth(truth.values[found.places], f'{file}, {truth.where}, joined by "{by}"{how}')


def _require_one_label(names: StrArray, values: StrArray, file: str, key: str) -> None:
    labels: dict[str, str] = {}
    for name, value in zip(names.tolist(), values.tolist(), strict=True):
        if labels.setdefault(name, value) != value:
            raise DataError(
                f'{file}: column "{key}" names rows twice with two labels, first "{name}": '
                f"{labels[name]} and {value}; keep the right one"
            )


def _binary(table: Table, name: str) -> bool:
    numbers = table.numbers(name)
    return not numbers.bad.size and bool(np.isin(numbers.values, (0, 1)).all())


def _one_hot(table: Table, used: Sequence[str], names: Sequence[str]) -> Truth:
    if len(used) < 2:
        raise DataError(
            f"no column with labels and no two columns of zeros and ones; {nearest('label', table.names)}"
        )
    wrong = [name for name in used if not _binary(table, name)]
    if wrong:
        raise DataError(
            f'one column per class as truth: "{wrong[0]}" holds other values than 0 and 1'
        )
    marks = np.stack([table.numbers(name).values for name in used], axis=1).astype(np.int64)
    counts = marks.sum(axis=1)
    if (counts == 0).any() and counts.max() == 1:
        empty = np.flatnonzero(counts == 0)
        raise DataError(
            f"{empty.size} of {len(counts)} rows mark no class ({', '.join(used[:4])}; first data row "
            f"{int(empty[0]) + 1}). If these are one class more, give it a column of the truth and one of the"
            " scores; if their truth is unknown, leave the rows out. If findings may all be absent, read one "
            "at a time: --labels FINDING --positive ITS_SCORE_COLUMN"
        )
    if (counts != 1).any():
        wrong_rows = int((counts != 1).sum())
        raise DataError(
            f"{wrong_rows} of {len(counts)} rows have another number of classes marked than one (data row "
            f"{int((counts != 1).argmax()) + 1}: {int(counts[(counts != 1).argmax()])}): {_MULTI}"
        )
    values: StrArray = np.asarray(list(names), dtype=np.str_)[marks.argmax(axis=1)]
    return Truth(values, f"columns {few(used, 4)} (one-hot)", tuple(used))


def _one_hot_pairs(table: Table) -> dict[str, str]:
    """Columns of zeros and ones whose names, less a word for truth, are in those of other columns."""
    marks = {name: words(name) for name in table.names if _binary(table, name)}
    if len(marks) < 2:
        return {}
    rest = {n: words(n) for n in table.names if n not in marks and not table.numbers(n).bad.size}
    truth = {"true", "truth", "label", "gt", "target", "y", "onehot"}
    pairs = {}
    for name, parts in marks.items():
        inner = "".join(part for part in parts if part not in truth)
        if inner and any("".join(other).find(inner) >= 0 for other in rest.values()):
            inside = [at for at, part in enumerate(parts) if part not in truth]
            place = Place(parts[: inside[0]], parts[inside[-1] + 1 :])
            pairs[name] = rest_of(name, place)
    return pairs if len(pairs) > 1 else {}


def refuse_multi_label(labels: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse label cells that name several classes at once, such as ``Atelectasis|Effusion``.

    Raises:
        DataError: Names the path for such tables.
    """
    known = {joined(name) for name in columns}
    for mark in ("|", ";", ","):
        for label in labels:
            parts = [part.strip() for part in label.split(mark)]
            if len(parts) > 1 and all(any(joined(p) in name for name in known) for p in parts):
                raise DataError(f'label "{label}" names {len(parts)} classes: {_MULTI}')
