"""The bytes of an image that lies inside a tar archive or a Parquet file."""

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from vlmcal.errors import DataError
from vlmcal.types.picture import Cell, Picture

# Row groups of Parquet files in memory: neighbours are read one after the other.
_GROUPS_KEPT: Final = 2
_groups: OrderedDict[tuple[str, int, str, int], tuple[int, list[Any]]] = OrderedDict()
_lock = threading.Lock()


def picture_bytes(picture: Picture) -> bytes:
    """What a picture's part of its file holds, or the whole file.

    Raises:
        DataError: The part is not there.
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> from vlmcal.types.picture import Bytes
        >>> file = Path(tempfile.mkdtemp(), "a.tar")
        >>> _ = file.write_bytes(b"head and body")
        >>> picture_bytes(Picture(file, part=Bytes(9, 4, "body.txt")))
        b'body'
    """
    if picture.part is None:
        return picture.file.read_bytes()
    if isinstance(picture.part, Cell):
        return _cell(picture.file, picture.part)
    with picture.file.open("rb") as stream:
        stream.seek(picture.part.start)
        content = stream.read(picture.part.length)
    if len(content) < picture.part.length:
        raise DataError(f"{picture}: the file ends inside the image; fetch it again")
    return content


def picture_stream(picture: Picture) -> Path | io.BytesIO:
    """What Pillow opens: the file of a picture, or the bytes of its part."""
    return picture.file if picture.part is None else io.BytesIO(picture_bytes(picture))


def image_cell(value: Any) -> bytes | None:
    """Bytes in a cell of Hugging Face's image feature, ``{"bytes": ..., "path": ...}``, or bytes alone."""
    inside = value.get("bytes") if isinstance(value, dict) else value
    return bytes(inside) if isinstance(inside, bytes | bytearray) else None


def _cell(file: Path, cell: Cell) -> bytes:
    import pyarrow.parquet as pq

    stamp = file.stat().st_mtime_ns
    with _lock:
        for key, (first, values) in _groups.items():
            inside = first <= cell.row < first + len(values)
            if key[:3] == (str(file), stamp, cell.column) and inside:
                _groups.move_to_end(key)
                return _bytes_of(values[cell.row - first], file, cell)
        with pq.ParquetFile(file) as table:
            first = 0
            for number in range(table.num_row_groups):
                rows = table.metadata.row_group(number).num_rows
                if cell.row < first + rows:
                    values = table.read_row_group(number, columns=[cell.column])[0].to_pylist()
                    _groups[str(file), stamp, cell.column, number] = (first, values)
                    while len(_groups) > _GROUPS_KEPT:
                        _groups.popitem(last=False)
                    return _bytes_of(values[cell.row - first], file, cell)
                first += rows
    raise DataError(f"{file}: no row {cell.row}; it has {first}")


def _bytes_of(value: Any, file: Path, cell: Cell) -> bytes:
    found = image_cell(value)
    if found is None:
        raise DataError(f"{file}: {cell.name} holds no image")
    return found
