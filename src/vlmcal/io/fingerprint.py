"""What a data set is, in 64 digits: hashes of its images, ids, labels and class names."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vlmcal.errors import DataError, StoreError
from vlmcal.hashing import digest, digest_array, digest_file
from vlmcal.io.atomic import atomic_write
from vlmcal.io.images import require_readable
from vlmcal.io.parts import picture_bytes
from vlmcal.io.shown import corrections
from vlmcal.io.state_files import SEAL, is_intact, sealed
from vlmcal.types.dataset import Dataset
from vlmcal.types.picture import Picture, View

_MEMO = "file_hashes_3.json"


def dataset_fingerprint(
    dataset: Dataset, *, cache_dir: Path | None = None, known: dict[str, Any] | None = None
) -> str:
    """SHA-256 over ids, labels, class names and the content of every image.

    Args:
        dataset: Any data set.
        cache_dir: Folder that remembers the hash of a file by path, size and modification time, so
            that large data sets are read once; None hashes every file anew.
        known: The same in memory, for the parts of one data set; added to.

    Raises:
        DataError: Files are missing; lists every image that cannot be read.

    Example:
        >>> data = Dataset(name="d", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1],
        ...                splits=["train", "test"], class_names=("a", "b"))
        >>> dataset_fingerprint(data)[:12]
        'c1c7ebb94ef4'
    """
    return digest(
        {
            "images": content_of(dataset, image_hashes(dataset, cache_dir, known)),
            "labels": digest_array(dataset.labels),
            "class_names": dataset.class_names,
        }
    )


def content_fingerprint(dataset: Dataset, *, cache_dir: Path | None = None) -> str:
    """SHA-256 over ids and image content alone: all that image features depend on.

    Raises:
        DataError: As :func:`dataset_fingerprint`.
    """
    return content_of(dataset, image_hashes(dataset, cache_dir))


def content_of(dataset: Dataset, hashes: Sequence[str]) -> str:
    """The same, from the hashes of the images."""
    return digest({"ids": dataset.ids.tolist(), "images": list(hashes)})


def image_hashes(
    dataset: Dataset, cache_dir: Path | None = None, known: dict[str, Any] | None = None
) -> list[str]:
    """SHA-256 of each image: of its bytes for files, of dtype, shape and values for arrays.

    A picture that is a part of a file is hashed by its own bytes; how it is shown (window, frame) counts.
    Files that are not seen as they are stored (:func:`vlmcal.io.shown.corrections`) have this in their hash,
    so that features of the stored pixels are never taken for theirs.

    Raises:
        DataError: As :func:`dataset_fingerprint`.
    """
    if isinstance(dataset.images, np.ndarray):
        return [digest_array(image) for image in dataset.images]
    memo = _read_memo(cache_dir)
    known = dict(memo) if known is None else known
    try:
        hashes = [_file_hash(source, known) for source in dataset.images]
    except OSError as error:
        require_readable(dataset.images)
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    if cache_dir is not None and known != memo:
        _write_memo(cache_dir, known)
    return hashes


def _file_hash(source: Path | Picture, known: dict[str, Any]) -> str:
    picture = source if isinstance(source, Picture) else Picture(Path(source))
    stat = picture.file.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    key = str(picture.file.absolute())
    if picture.part is not None:
        key += f"[{picture.part}]"
    entry = known.get(key)
    if entry is None or entry[:2] != stamp:
        content, corrected = _content(picture), corrections(picture)
        entry = known[key] = [*stamp, digest([content, *corrected]) if corrected else content]
    plain = picture.view == View()
    return str(entry[2]) if plain else digest([str(entry[2]), picture.view])


def _content(picture: Picture) -> str:
    if picture.part is None:
        return digest_file(picture.file)
    return hashlib.sha256(picture_bytes(picture)).hexdigest()


def _read_memo(cache_dir: Path | None) -> dict[str, Any]:
    if cache_dir is None:
        return {}
    path = cache_dir / _MEMO
    try:
        memo = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(memo, dict) and is_intact(memo):
            return {file: entry for file, entry in memo.items() if file != SEAL}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        pass
    # It only saves time.
    warnings.warn(f"cache file {path} is damaged; every file is hashed again", stacklevel=3)
    return {}


def _write_memo(cache_dir: Path, memo: dict[str, Any]) -> None:
    # A cache that somebody else keeps may be read only: then every file is hashed anew.
    with suppress(StoreError):
        atomic_write(cache_dir / _MEMO, json.dumps(sealed(memo)))
