"""Where the images of questions lie: beside the data, in a folder given, or inside a Parquet file."""

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vlmcal.data.problems import shown
from vlmcal.data.rows import WholeFileError
from vlmcal.errors import DataError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.shown import DAMAGED
from vlmcal.types.question import QuestionSet

_SUFFIXES: Final = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


class Pictures:
    """Finds the image that a record names, or writes out the one that it carries.

    Args:
        path: The file or folder of questions.
        images: Folder of the images, or None for the usual places of the layout.
        usual: Those places, relative to the folder of the questions; may hold * and "..".
        endings: Endings to try where a name has none.

    Attributes:
        folders: Where it looks, in order.

    Raises:
        DataError: ``images`` is not a folder.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None,
        usual: Sequence[str] = (),
        endings: Sequence[str] = (),
    ) -> None:
        if images is not None and images.suffix.lower() in (".zip", ".tar", ".gz", ".tgz"):
            raise DataError(
                f"{images}: packed images are not read; unpack them and give the folder"
            )
        if images is not None and images.exists() and not images.is_dir():
            raise DataError(f"{images}: expected the folder that holds the images, got a file")
        self.images = images
        self.path = path
        base = path if path.is_dir() else path.parent
        self.folders = _places(base, usual) if images is None else (images,)
        self._endings = ("", *endings)
        self._known: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The path of the image called ``name``: the first that exists, else where it should be."""
        if name not in self._known:
            endings = ("",) if Path(name).suffix else self._endings
            tried = [f / (name + ending) for f in self.folders for ending in endings]
            there = next((f for f in self.folders if f.is_dir()), self.folders[0])
            absent = there / (name + endings[:2][-1])
            self._known[name] = str(next((p for p in tried if os.path.isfile(p)), absent))
        return self._known[name]

    def take(self, cell: Any) -> tuple[str, str]:
        """Path and name of an image given by name, or as Hugging Face's ``{"bytes", "path"}``.

        Bytes are written once into ``images``, under a name made of their SHA-256, so that an image
        that several questions share is one file and one group.

        Raises:
            DataError: There are bytes but no folder for them, or they are no image, or no image at all.
        """
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if data:
            return self._unpack(bytes(data))
        name = str((cell.get("path") if isinstance(cell, dict) else cell) or "").strip()
        if not name:
            raise DataError("no image is named")
        return self.find(name), name

    def _unpack(self, data: bytes) -> tuple[str, str]:
        if self.images is None:
            raise WholeFileError(
                f"{self.path}: the images lie inside the file; give a folder to write them into, with "
                "images=FOLDER (--images FOLDER)"
            )
        try:
            with Image.open(io.BytesIO(data)) as image:
                kind = image.format or ""
        except DAMAGED as error:
            raise DataError(f"its {len(data)} bytes are not a readable image ({error})") from error
        name = hashlib.sha256(data).hexdigest()[:24] + _SUFFIXES.get(kind, f".{kind.lower()}")
        target = self.images / name
        if name not in self._known and not target.is_file():
            atomic_write(target, data)
        self._known[name] = str(target)
        return str(target), name


def require_images(questions: QuestionSet) -> None:
    """Refuse a set with missing image files, before anything is asked.

    Raises:
        DataError: Says how many are missing, the first three, where they were looked for, what to do.
    """
    missing = questions.missing_images()
    if not missing:
        return
    total = len({path for question in questions for path in question.images})
    folders = [str(f) for f in questions.provenance.get("image_folders", ())]
    packed = sorted({str(z) for f in folders for z in Path(f).glob("*.zip")})
    where = f"\n  looked in: {shown(map(_as_seen, folders))}" if folders else ""
    unpack = f"\n  not unpacked yet: {shown(packed)}; unpack them" if packed else ""
    raise DataError(
        f"{questions.name}: {len(missing)} of {total} images are missing: {shown(missing, 3)}{where}"
        f"{unpack}\n  give the folder that holds them with images=FOLDER (--images FOLDER)"
    )


def require_inside(questions: QuestionSet, folders: Iterable[Path]) -> None:
    """Refuse a set with images that lie elsewhere than under ``folders``.

    Links are followed first: neither ``..`` nor a link leads out of the folders.

    Raises:
        DataError: Says how many lie outside, the first three, and how to allow it.
    """
    roots = list(dict.fromkeys(map(_place, folders)))
    paths = dict.fromkeys(path for q in questions for path in (*q.images, *q.foil))
    outside = [p for p in paths if not any(_place(p).is_relative_to(r) for r in roots)]
    if outside:
        raise DataError(
            f"{questions.name}: {len(outside):,} of {len(paths):,} images lie outside "
            f"{shown(map(str, roots))}: {shown(outside, 3)}\n  give the folder that holds them with "
            "images=FOLDER (--images FOLDER), or "
            "allow any place with allow_outside=True (--allow-outside)"
        )


def _place(path: str | Path) -> Path:
    """Where a path leads, through links; a name that can be no file's stays where it says."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a zero in it
        return Path(os.path.abspath(path))


def _places(base: Path, usual: Iterable[str]) -> tuple[Path, ...]:
    found: list[Path] = []
    for place in usual:
        found += (
            sorted(p for p in base.glob(place) if p.is_dir()) if "*" in place else [base / place]
        )
    return tuple(dict.fromkeys(found)) or (base,)


def _as_seen(folder: str) -> str:
    return folder if Path(folder).is_dir() else f"{folder} (no such folder)"
