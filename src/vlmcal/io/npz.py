"""Reading and writing NPZ files without pickled objects, whose loading may run anybody's code."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.io.atomic import atomic_write


def read_npz(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an NPZ file; pickled objects are refused, because loading them can run any code.

    Raises:
        DataError: Missing, truncated or no NPZ file, or it holds pickled Python objects.

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
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{file}: a single array, not an NPZ file; save it with numpy.savez")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{file}: holds pickled Python objects, which are not loaded because they can run any "
                "code; save plain arrays of numbers and strings (dtype object is what gets pickled)"
            ) from error
        raise DataError(
            f"{file}: not a readable NPZ file ({error}); it may be truncated, fetch or save it again"
        ) from error


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
