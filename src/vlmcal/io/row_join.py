"""Rows of two files brought together by their names, with or without folders and endings."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, nearest
from vlmcal.io.column_names import joined
from vlmcal.io.table_files import Table
from vlmcal.types.arrays import IntArray, StrArray

_ID_NAMES: Final = (
    *("id", "ids", "image", "imageid", "imagename", "imagepath", "filename", "file", "filepath"),
    *("path", "name", "uid", "uuid", "rowid", "sampleid", "caseid", "key", "index", "isicid"),
    *("img", "imgid", "studyid", "sopinstanceuid", "slideid", "docid"),
)
# Endings that a name of a picture may have in one file and not in the other.
_ENDING: Final = re.compile(
    r"\.(jpe?g|png|bmp|tiff?|gif|webp|dcm|dicom|nii(\.gz)?|npy|npz|svs|mha|mhd|jp2|txt)$",
    re.IGNORECASE,
)


class Joined(NamedTuple):
    """Where the rows are in the other file.

    Attributes:
        places: (N,) row of the other file for each row.
        key: Column that names the rows.
        theirs: The same column of the other file.
        how: How names were compared, where that is not letter by letter, or "".
    """

    places: IntArray
    key: str
    theirs: str
    how: str = ""


def second_file(asked: Path, folder: Path) -> Path:
    """A file with the labels, as it is named or from the folder of the first.

    Raises:
        DataError: There is none.
    """
    file = asked.expanduser()
    file = file if file.is_file() else folder / file
    if not file.is_file():
        raise DataError(f"{asked}: no such file (labels)")
    return file


def join(names: Mapping[str, StrArray], other: Table, asked: str | None, file: str) -> Joined:
    """Find each row in another table.

    Args:
        names: Columns that may name the rows; only ``asked`` where it is given.
        other: The other table.
        asked: Column that names the rows, as the user says it.
        file: Name of the other file.

    Raises:
        DataError: No column of both names the rows, several do, or rows are absent.
    """
    pairs, sure = _pairs(names, other, asked), asked is not None
    found = [(a, b, match) for a, b in pairs if (match := _match(names[a], other.texts(b), sure))]
    complete = [(a, b, m) for a, b, m in found if not (m.places < 0).any()]
    if len(complete) > 1:
        alike = [hit for hit in complete if hit[0] == hit[1]] or complete
        usual = [hit for hit in alike if joined(hit[0]) in _ID_NAMES] or alike
        same = all(np.array_equal(usual[0][2].places, hit[2].places) for hit in usual)
        complete = usual[:1] if same else usual
    if len(complete) == 1:
        key, theirs, match = complete[0]
        return Joined(match.places, key, theirs, match.how)
    if complete:
        raise DataError(
            f"{file}: say by which column its labels are joined, with ids=NAME (--ids NAME): "
            f"{', '.join(dict.fromkeys(a for a, _, _ in complete))}"
        )
    if found and (asked is not None or len(found) == 1):
        key, theirs, match = max(found, key=lambda hit: int((hit[2].places >= 0).sum()))
        absent = np.flatnonzero(match.places < 0)
        raise DataError(
            f"{file}: {absent.size} of {len(match.places)} rows have no label there, first "
            f'"{names[key][absent[0]]}" (joined by "{key}" and "{theirs}", which holds '
            f'"{other.texts(theirs)[0]}", ...). Leave these rows out, or complete the file'
        )
    if asked is not None:
        raise DataError(
            f'{file}: no column "{asked}" to join the labels by; {nearest(asked, other.names)}'
        )
    raise DataError(
        f"{file}: no column of it names the rows ({', '.join(other.names[:6])}), so its labels cannot be "
        "joined: give both files a column of one name that names each row, and pass it as ids=NAME "
        "(--ids NAME); or put the labels into the table of the scores"
    )


def _pairs(names: Mapping[str, StrArray], other: Table, asked: str | None) -> list[tuple[str, str]]:
    theirs = [name for name in other.names if joined(name) in _ID_NAMES]
    if asked is not None:
        if asked in other.columns:
            return [(asked, asked)]
        alike = [name for name in other.names if joined(name) == joined(asked)]
        return [(asked, name) for name in alike or theirs]
    shared = [(name, name) for name in names if name in other.columns]
    usual = [(a, b) for a in names if joined(a) in _ID_NAMES for b in theirs]
    return list(dict.fromkeys([*shared, *usual]))


class _Match(NamedTuple):
    places: IntArray
    how: str


def _match(ours: StrArray, theirs: StrArray, sure: bool) -> _Match | None:
    """Places of our names among theirs, -1 where absent; None where it is not sure that they are names.

    Names are compared letter by letter; if none or not all are found so, without folders and endings, where
    these are then still distinct.
    """
    best = None
    for how, plain in (("", str), ("without folders and endings", _stem)):
        mine, other = [plain(n) for n in ours.tolist()], [plain(n) for n in theirs.tolist()]
        if how and (_repeats(mine, ours) or _repeats(other, theirs)):
            continue
        index = {name: at for at, name in reversed(list(enumerate(other)))}
        places = np.asarray([index.get(name, -1) for name in mine], dtype=np.int64)
        if best is None or (places >= 0).sum() > (best.places >= 0).sum():
            best = _Match(places, how)
        if (places >= 0).all():
            break
    if best is None or not (sure or _names_rows(ours)):
        return None
    return best


def _repeats(plain: Sequence[str], names: StrArray) -> bool:
    """Whether names that differ become the same."""
    return len(set(plain)) < len(np.unique(names))


def _names_rows(names: StrArray) -> bool:
    """Whether a column tells rows apart: most of its values occur once, and it is no measurement."""
    values = set(names.tolist())
    decimals = sum("." in value and value.replace(".", "", 1).isdecimal() for value in values)
    return 2 * len(values) > len(names) and 2 * decimals < len(values)


def _stem(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    plain = _ENDING.sub("", last)
    if re.fullmatch(r"\d+\.0", plain):
        plain = plain[:-2]
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain
