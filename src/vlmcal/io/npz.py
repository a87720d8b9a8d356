"""Reading and writing NPZ and NPY files without running anybody's code or believing their headers."""

import io
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.packed import content

# What numpy and zipfile raise for files that are cut, encrypted, packed otherwise, or no such files.
_DAMAGE: Final = (
    *(ValueError, OSError, EOFError, MemoryError, RuntimeError, SyntaxError, LookupError),
    *(TypeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, OverflowError),
    struct.error,
)


def read_npz(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an NPZ file; pickled objects are refused, because loading them can run any code.

    Raises:
        DataError: Missing, truncated or no NPZ file, arrays that claim more than the file holds or than fits
            into memory, or pickled Python objects.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.npz")
        >>> np.savez(file, labels=np.arange(3))
        >>> {name: array.tolist() for name, array in read_npz(file).items()}
        {'labels': [0, 1, 2]}
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        held: Path | io.BytesIO = file
        if file.suffix.lower() == ".gz":
            held = io.BytesIO(content(file))
        _require_honest(file, held)
        if isinstance(held, io.BytesIO):
            held.seek(0)
        archive = np.load(held, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{file}: a single array, not an NPZ file; save it with numpy.savez")
        with archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise _unreadable(file, error, "NPZ") from error


def read_npy(file: Path) -> NDArray[Any]:
    """The array of an NPY file, under the same rules.

    Raises:
        DataError: As :func:`read_npz`.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        with file.open("rb") as stream:
            _require_size(file, file.name, stream, file.stat().st_size)
        array = np.load(file, allow_pickle=False)
    except _DAMAGE as error:
        raise _unreadable(file, error, "NPY") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file}: several arrays, not an NPY file; call it .npz")
    return array


def array_names(file: Path) -> list[str]:
    """Names of the arrays of an NPZ file, without reading them; none for other files."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return []


def _unreadable(file: Path, error: Exception, kind: str) -> DataError:
    if "pickle" in str(error).lower():
        return DataError(
            f"{file}: holds pickled Python objects, which are not loaded because they can run any "
            "code; save plain arrays of numbers and strings (dtype object is what gets pickled)"
        )
    return DataError(
        f"{file}: not a readable {kind} file ({error}); it may be truncated, fetch or save it again"
    )


def _require_honest(file: Path, held: Path | io.BytesIO) -> None:
    """Refuse arrays whose headers claim more than is there, before memory is asked for."""
    if not zipfile.is_zipfile(held):
        return  # numpy says what it is
    memory, total = _memory(), 0
    with zipfile.ZipFile(held) as archive:
        for entry in archive.infolist():
            total += entry.file_size
            if total > memory:
                raise DataError(
                    f"{file}: unpacks to more than {total / 2**30:.1f} GiB, which does not fit into memory"
                )
            if entry.filename.endswith(".npy"):
                with archive.open(entry) as stream:
                    _require_size(file, entry.filename, stream, entry.file_size)


def _require_size(file: Path, name: str, stream: IO[bytes], held: int) -> None:
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(stream)
    else:
        return
    claimed = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
    if not dtype.hasobject and claimed > held:
        raise DataError(
            f"{file}: {name} claims {claimed:,} bytes (shape {shape}), but holds {held:,}; it is truncated "
            "or was made to exhaust memory"
        )


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 1 << 36


def write_npz(file: Path, arrays: Mapping[str, Any], *, compress: bool = False) -> None:
    """Write arrays as an NPZ file, the same bytes for the same arrays.

    ``numpy.savez`` cannot refuse objects before NumPy 2.2: it files ``allow_pickle`` itself as an array.

    Args:
        file: Where.
        arrays: Arrays of numbers, truth values or text by name.
        compress: Smaller, and slower.

    Raises:
        ValueError: An array holds Python objects.
        StoreError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.npz")
        >>> write_npz(file, {"labels": np.arange(3), "split": "test"})
        >>> {name: array.tolist() for name, array in read_npz(file).items()}
        {'labels': [0, 1, 2], 'split': 'test'}
    """
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
    atomic_write(file, buffer.getvalue())
