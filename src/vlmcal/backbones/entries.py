"""Arrays in a folder per key: complete or absent, checked when read, safe with many writers."""

import errno
import json
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import StoreError
from vlmcal.hashing import digest_file
from vlmcal.io.locks import exclusive

Arrays = dict[str, NDArray[Any]]
Specs = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]  # shape and type by name
RECORD = "entry.json"
_STALE_SECONDS = 24 * 3600.0


class Entries:
    """A folder of entries, each a folder ``KEY/`` of ``NAME.npy`` files and one ``entry.json``.

    The record holds shape, size and SHA-256 of every array. An entry is written under a temporary
    name and published by one rename, so a crash leaves nothing that could be mistaken for it.

    Args:
        root: The folder; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(
        self,
        key: str,
        specs: Specs,
        fill: Callable[[Arrays], None],
        about: Mapping[str, Any],
        *,
        later: Collection[str] = (),
    ) -> Arrays:
        """The arrays of ``key``, memory-mapped; ``fill`` writes them when they are not there.

        Args:
            key: Content key, usable as a file name.
            specs: Shape and type of every array.
            fill: Writes into arrays of these shapes.
            about: Plain data stored beside the arrays.
            later: Names of arrays that entries of earlier versions lack, and which are then left out.

        Raises:
            StoreError: The folder cannot be written.
        """
        entry = self.root / key
        if entry.exists():
            found = damage(entry, specs, later)
            if found is None:
                return _open(entry, specs)
            warnings.warn(
                f"cache entry {entry} is damaged ({found}); it is made again", stacklevel=3
            )
            self._discard(entry)
        with self._alone(key):
            if not entry.exists():  # nobody made it meanwhile
                self._make(key, specs, fill, about)
        return _open(entry, specs)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Keep others from making the same entry at the same time: they wait, and find it."""
        lock = self.root / f".{key}.lock"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            held = exclusive(lock, wait=True)
            held.__enter__()
        except OSError as error:
            raise self._unwritable(error) from error
        except RuntimeError:  # held by this very thread, which would wait for itself
            yield
            return
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps the file while it is open
                lock.unlink(missing_ok=True)
            held.__exit__(None, None, None)

    def _make(
        self, key: str, specs: Specs, fill: Callable[[Arrays], None], about: Mapping[str, Any]
    ) -> None:
        try:
            self._remove_stale(key)
            temporary = self._temporary(f".{key}")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._write(temporary, specs, fill, about)
            self._publish(temporary, self.root / key, specs)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _write(
        self, folder: Path, specs: Specs, fill: Callable[[Arrays], None], about: Mapping[str, Any]
    ) -> None:
        try:
            arrays = {name: _create(folder / f"{name}.npy", *specs[name]) for name in specs}
        except OSError as error:
            raise self._unwritable(error) from error
        fill(dict(arrays))
        record: dict[str, Any] = {"about": dict(about), "arrays": {}}
        for name in specs:
            arrays.pop(name).flush()
            path = folder / f"{name}.npy"
            record["arrays"][name] = {"size": path.stat().st_size, "sha256": digest_file(path)}
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

    def _publish(self, temporary: Path, entry: Path, specs: Specs) -> None:
        try:
            os.rename(temporary, entry)
        except OSError as error:
            # Another process was first: its entry has the same key, hence the same content.
            if not entry.exists() or damage(entry, specs) is not None:
                raise self._unwritable(error) from error

    def _discard(self, entry: Path) -> None:
        trash = self._temporary(".trash")
        with suppress(FileNotFoundError):  # another process may have discarded it first
            os.rename(entry, trash / entry.name)
        shutil.rmtree(trash, ignore_errors=True)

    def _temporary(self, stem: str) -> Path:
        # Not tempfile.mkdtemp, whose folders are for one person whatever the umask says.
        folder = self.root / f"{stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        folder.mkdir()
        return folder

    def _remove_stale(self, key: str) -> None:
        """Remove what killed writers of this key left behind."""
        for left in self.root.glob(f".{key}.*"):
            try:
                old = time.time() - left.stat().st_mtime > _STALE_SECONDS
            except FileNotFoundError:
                continue
            if old:
                shutil.rmtree(left, ignore_errors=True)

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write the cache in {self.root} ({error.strerror or error}); choose another folder "
            "with VLMCAL_CACHE or cache_dir, or cache_dir=False for none"
        )


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(
        path, mode="w+", dtype=dtype, shape=shape
    )
    if hasattr(os, "posix_fallocate"):  # a full disk must be an error here, not a crash later
        with path.open("r+b") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:  # file system without it
                    raise
    return array


def damage(entry: Path, specs: Specs, later: Collection[str] = ()) -> str | None:
    """What is wrong with an entry, or None."""
    try:
        arrays = json.loads((entry / RECORD).read_text(encoding="utf-8"))["arrays"]
        for name, (shape, dtype) in specs.items():
            if name in later and name not in arrays:
                continue
            path = entry / f"{name}.npy"
            size, expected = path.stat().st_size, int(arrays[name]["size"])
            if size != expected:
                return f"{path.name} has {size} bytes instead of {expected}"
            if digest_file(path) != arrays[name]["sha256"]:
                return f"the content of {path.name} does not match its checksum"
            stored = np.load(path, mmap_mode="r")
            if stored.shape != shape or stored.dtype != dtype:
                return f"{path.name} holds {stored.dtype}{stored.shape}"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"unreadable: {error}"
    return None


def _open(entry: Path, specs: Specs) -> Arrays:
    files = {name: entry / f"{name}.npy" for name in specs}
    return {name: np.load(file, mmap_mode="r") for name, file in files.items() if file.exists()}
