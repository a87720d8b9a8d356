"""Reading NPZ files without running anybody's code."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError


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
