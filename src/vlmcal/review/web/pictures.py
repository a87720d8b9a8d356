"""Images of cases for the page: from the folders of the source only, and nothing of them but the pixels."""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vlmcal.errors import DataError, MissingExtraError
from vlmcal.io.dicom import is_dicom, read_header
from vlmcal.io.images import grey_range, read_image
from vlmcal.io.nifti import is_nifti, n_slices
from vlmcal.types.picture import EACH, PLANES, Picture, View

KEPT_BYTES: Final = 64 * 1024 * 1024  # of encoded images in memory
MIDDLE: Final = -1


@dataclass(frozen=True)
class Look:
    """What the page must know of an image to show it.

    Attributes:
        view: How it is shown; chosen here where neither the reader nor the file says so.
        reason: Why it cannot be shown; "" where it can.
        low, high: Smallest and largest value; None where no window can be set.
        frames: Frames of a series or slices of a volume.
        planes: Planes that can be chosen.
        chosen: Whether the window is the range of the image, because nobody stated one.
    """

    view: View
    reason: str = ""
    low: float | None = None
    high: float | None = None
    frames: int = 1
    planes: tuple[str, ...] = ()
    chosen: bool = False


def inside(path: Path, folders: Sequence[Path]) -> Path:
    """A file, links followed, that lies in one of the folders.

    Args:
        path: As the source names it; relative ones are looked for in each folder.
        folders: Those that may be read from.

    Raises:
        DataError: It lies elsewhere, or is not there. The message holds no folder.

    Example:
        >>> inside(Path("../../etc/passwd"), [Path(".")])
        Traceback (most recent call last):
        ...
        vlmcal.errors.DataError: the image lies outside the folders of the source; ...
    """
    roots = [Path(os.path.realpath(folder)) for folder in folders]
    places = [path] if path.is_absolute() else [root / path for root in roots]
    found = [Path(os.path.realpath(place)) for place in places]
    allowed = [place for place in found if any(place.is_relative_to(root) for root in roots)]
    if not allowed:
        raise DataError(
            "the image lies outside the folders of the source; add its folder: --images FOLDER"
        )
    existing = next((place for place in allowed if os.path.isfile(place)), None)
    if existing is None:
        raise DataError("the image file is missing")
    return existing


def look(picture: Picture) -> Look:
    """How an image can be shown, with a window, frame and plane where none was stated.

    Never raises for what is wrong with the image: ``reason`` says it.
    """
    view = picture.view
    try:
        frames, planes = 1, tuple[str, ...]()
        if picture.part is None and is_nifti(picture.name):
            view = replace(view, plane=view.plane or PLANES[0])
            frames, planes = n_slices(picture.file, view.plane), PLANES
        elif picture.part is None and is_dicom(picture.file):
            frames = read_header(picture.file).frames
        if frames > 1 or planes:
            wanted = MIDDLE if view.frame is None else min(view.frame, frames - 1)
            view = replace(view, frame=frames // 2 if wanted == MIDDLE else wanted)
        else:
            view = replace(view, frame=None)
        values = grey_range(replace(picture, view=view))
        low, high = values or (None, None)
        chosen = False
        if values is not None and not view.window and not _says_window(replace(picture, view=view)):
            view, chosen = replace(view, window=EACH), True
        return Look(view, "", low, high, frames, planes, chosen)
    except (DataError, MissingExtraError) as error:
        return Look(view, _reason(error, picture))


def _says_window(picture: Picture) -> bool:
    try:
        read_image(picture)
    except DataError:
        return False
    return True


def _reason(error: Exception, picture: Picture) -> str:
    """What is wrong, without the folder: paths may name people."""
    return (
        str(error)
        .replace(str(picture.file), picture.file.name)
        .removeprefix(f"{picture.file.name}: ")
    )


class Shelf:
    """Encoded images that were asked for lately.

    Args:
        limit: Bytes kept.

    Attributes:
        size: Bytes that are kept now.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit, self.size = limit, 0
        self._kept: OrderedDict[tuple[Picture, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def png(self, picture: Picture) -> bytes:
        """The image as PNG; nothing but its pixels is in it.

        Raises:
            DataError: It cannot be read.
            MissingExtraError: A package for its format is missing.
        """
        try:
            key = (picture, picture.file.stat().st_mtime_ns)
        except OSError as error:
            raise DataError(f"{picture.file.name}: the image file is missing") from error
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        buffer = io.BytesIO()
        image = read_image(picture)
        grey = image.getchannel(0) if _is_grey(image) else image
        grey.save(buffer, "PNG", compress_level=1)
        content = buffer.getvalue()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self.size += len(content)
            while self.size > self._limit and len(self._kept) > 1:
                self.size -= len(self._kept.popitem(last=False)[1])
        return content


def _is_grey(image: object) -> bool:
    import numpy as np

    values = np.asarray(image)
    return bool((values[..., :1] == values[..., 1:]).all())
