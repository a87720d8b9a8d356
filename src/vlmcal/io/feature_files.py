"""Features that someone else encoded: an NPZ file, or a folder of arrays, with images, labels and texts."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.io.npz import array_names, read_npy, read_npz
from vlmcal.io.unicode_text import read_text

KEY = "image_features"


def holds_features(path: Path) -> bool:
    """Whether a file or folder holds image features (key, or file, ``image_features``).

    Example:
        >>> holds_features(Path("no such file"))
        False
    """
    if path.is_dir():
        return (path / f"{KEY}.npy").is_file()
    return path.suffix == ".npz" and KEY in array_names(path)


def read_features(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name from an NPZ file, or from the ``.npy`` and ``.txt`` files (one text a line) of a folder.

    Raises:
        DataError: Unreadable, or without image features of shape (N, D).
    """
    if path.is_dir():
        content: dict[str, NDArray[Any]] = {}
        for file in sorted(path.iterdir()):
            if file.suffix == ".npy":
                content[file.stem] = read_npy(file)
            elif file.suffix == ".txt":
                content[file.stem] = np.asarray(read_text(file).splitlines())
    else:
        content = read_npz(path)
    features = content.get(KEY)
    if features is None or features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        got = sorted(content) if features is None else f"{features.dtype} of shape {features.shape}"
        raise DataError(f"{path}: expected {KEY}, floats of shape (N, D), got {got}")
    if not np.isfinite(features).all():
        raise DataError(f"{path}: {KEY} holds values that are not finite")
    return content
