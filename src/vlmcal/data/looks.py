"""One look at every image: what an audit compares, kept so that an interrupted audit goes on where it was."""

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vlmcal.data.perceptual_hash import perceptual_hash, thumbnail_of
from vlmcal.errors import DataError
from vlmcal.io.images import ImageSource, read_image
from vlmcal.io.shown import corrections
from vlmcal.types.picture import Picture

_BATCH: Final = 512
_VERSION: Final = 1
_MAKERS: Final = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software)
_TABLE = (
    f"CREATE TABLE IF NOT EXISTS looks_{_VERSION} (image TEXT PRIMARY KEY, stamp TEXT, width INT, "
    "height INT, digest TEXT, code INT, small BLOB, mode TEXT, maker TEXT, corrected TEXT)"
)


@dataclass(frozen=True)
class Look:
    """What was decoded, or why nothing was.

    Attributes:
        size: Width and height as shown.
        digest: SHA-256 of size and pixels.
        code: Perceptual hash; None of an image without contrast.
        small: Grey values of the smallest version, row by row.
        mode: As the file stores it ("L", "RGB", "P", ...).
        maker: Camera or program that the EXIF names; "" where it names none.
        corrected: What a viewer does to the stored pixels.
        reason: Why it cannot be read, or "".
    """

    size: tuple[int, int] = (0, 0)
    digest: str = ""
    code: int | None = None
    small: bytes = b""
    mode: str = ""
    maker: str = ""
    corrected: tuple[str, ...] = ()
    reason: str = ""


def look(source: ImageSource) -> Look:
    """Decode one image and note what an audit needs; the image itself is forgotten.

    Example:
        >>> found = look(np.arange(12, dtype=np.uint8).reshape(3, 4))
        >>> found.size, found.mode, found.reason
        ((4, 3), 'L', '')
    """
    try:
        image = read_image(source)
    except DataError as error:
        return Look(reason=str(error))
    digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    small = thumbnail_of(image)
    code = perceptual_hash(image)
    if isinstance(source, np.ndarray):
        mode, maker, corrected = ("RGB" if source.ndim == 3 else "L"), "", tuple[str, ...]()
    else:
        (mode, maker), corrected = _stored(source), corrections(source)
    return Look(image.size, digest, code, small.tobytes(), mode, maker, corrected)


def _stored(source: Any) -> tuple[str, str]:
    """Mode and maker by the header of a file."""
    if isinstance(source, Picture):
        if source.part is not None:
            return "", ""
        source = source.file
    try:
        with Image.open(source) as image:
            exif = image.getexif()
            found = (str(exif.get(tag, "")).strip("\0 ") for tag in _MAKERS)
            return image.mode, " ".join(dict.fromkeys(filter(None, found)))
    except Exception:  # what is no picture to Pillow (DICOM, NIfTI) has no mode and no EXIF
        return "", ""


def look_at(
    images: Sequence[Any] | NDArray[np.uint8],
    rows: Sequence[int],
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Look]]:
    """Look at some images of a data set, in order; files that were looked at before are not read again.

    Memory does not grow with their number, apart from what the caller keeps. Every 512 images what was seen
    is written down, so that whoever was interrupted goes on from there.

    Args:
        images: Of the data set.
        rows: Which to look at.
        cache_dir: Folder that remembers; None for no memory.
        progress: Called with (images done, all).

    Yields:
        Row and look.
    """
    memory = None if cache_dir is None or isinstance(images, np.ndarray) else _Memory(cache_dir)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            keys = [_key(images[row]) for row in part] if memory else [("", "")] * len(part)
            known = memory.recall(keys) if memory else {}
            fresh = [place for place, key in enumerate(keys) if key[0] not in known]
            seen = dict(zip(fresh, pool.map(look, (images[part[p]] for p in fresh)), strict=True))
            if memory:
                memory.keep({keys[place]: found for place, found in seen.items()})
            for place, row in enumerate(part):
                yield row, seen[place] if place in seen else known[keys[place][0]]
            if progress is not None:
                progress(start + len(part), len(rows))


def _key(source: Any) -> tuple[str, str]:
    """What names an image, and what changes when it does."""
    picture = source if isinstance(source, Picture) else Picture(Path(source))
    name = f"{picture.file.absolute()}[{picture.part}]{picture.view}"
    try:
        stat = picture.file.stat()
    except OSError:
        return name, ""
    return name, f"{stat.st_size} {stat.st_mtime_ns}"


def _stamped(stamp: str, seen: Sequence[Any]) -> str:
    """The state of a file with the checksum of what was seen of it, so that a damaged look is taken anew."""
    return f"{stamp} {zlib.crc32(repr(seen).encode()):08x}"


class _Memory:
    """Looks in a file of the cache; one that cannot be used is done without, since it only saves time."""

    def __init__(self, folder: Path) -> None:
        self._base: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(folder / "looks.sqlite", timeout=30)
            self._base.execute(_TABLE)
        except (OSError, sqlite3.Error):
            self._base = None

    def recall(self, keys: Sequence[tuple[str, str]]) -> dict[str, Look]:
        """What was seen of unchanged files, by name."""
        if self._base is None:
            return {}
        names = [name for name, _ in keys]
        marks = ",".join("?" * len(names))
        stamps = dict(keys)
        try:
            rows = self._base.execute(
                f"SELECT * FROM looks_{_VERSION} WHERE image IN ({marks})", names
            ).fetchall()
        except sqlite3.Error:
            return {}
        return {
            name: Look((width, height), digest, code, small, mode, maker, tuple(corrected.split()))
            for name, stamp, *rest in rows
            if stamps[name] and stamp == _stamped(stamps[name], rest)
            for width, height, digest, code, small, mode, maker, corrected in [rest]
        }

    def keep(self, found: dict[tuple[str, str], Look]) -> None:
        """Write down what was read; what cannot be read is looked at again next time."""
        rows = []
        for (name, stamp), seen in found.items():
            if not seen.reason:
                rest = [
                    *seen.size, seen.digest, seen.code, seen.small, seen.mode, seen.maker,
                    " ".join(seen.corrected),
                ]  # fmt: skip
                rows.append((name, _stamped(stamp, rest), *rest))
        if self._base is None or not rows:
            return
        try:
            with self._base:
                self._base.executemany(
                    f"INSERT OR REPLACE INTO looks_{_VERSION} VALUES ({','.join('?' * 10)})", rows
                )
        except sqlite3.Error:
            self._base = None
