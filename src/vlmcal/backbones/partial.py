"""Rows that were finished before the work was interrupted, so that it goes on from there."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmcal.backbones.entries import Arrays
from vlmcal.errors import DataError
from vlmcal.io.npz import read_npz, write_npz
from vlmcal.types.arrays import IntArray

SECONDS = 15.0  # at most so much work is lost when the process is killed


class Partial:
    """Finished rows of arrays in a folder of small files, one per stretch of rows.

    Each file appears whole or not at all, and holds what its key says, so that several processes may write
    the same rows. A folder without a change for a day is removed by the cache.

    Args:
        folder: Where; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._pending: list[int] = []
        self._saved = time.monotonic()

    def restore(self, arrays: Arrays) -> NDArray[np.bool_]:
        """Put finished rows into ``arrays``; returns which they are, (N,)."""
        done = np.zeros(len(next(iter(arrays.values()))), dtype=bool)
        for file in sorted(self.folder.glob("*.npz")) if self.folder is not None else ():
            try:
                rows = read_npz(file)
                start, stop = (int(value) for value in file.stem.split("-"))
                for name, array in arrays.items():
                    array[start:stop] = rows[name]
            except (DataError, ValueError, KeyError):
                file.unlink(missing_ok=True)  # torn or of another shape: its rows are made again
                continue
            done[start:stop] = True
        return done

    def add(self, rows: IntArray, arrays: Arrays) -> None:
        """Rows that are finished; they are written from time to time."""
        self._pending += rows.tolist()
        if time.monotonic() - self._saved >= SECONDS:
            self.save(arrays)

    def save(self, arrays: Arrays) -> None:
        """Write what is finished and not yet written."""
        if self.folder is None or not self._pending:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for start, stop in _stretches(self._pending):
            rows = {name: array[start:stop] for name, array in arrays.items()}
            write_npz(self.folder / f"{start}-{stop}.npz", rows)
        self._pending, self._saved = [], time.monotonic()

    def remove(self) -> None:
        """Forget everything; the whole is elsewhere now."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _stretches(rows: Sequence[int]) -> list[tuple[int, int]]:
    """First and one behind the last of each stretch of neighbouring rows.

    Example:
        >>> _stretches([3, 0, 1, 2, 8])
        [(0, 4), (8, 9)]
    """
    ordered = np.unique(np.asarray(rows, dtype=np.int64))
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]
