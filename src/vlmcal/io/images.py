"""Reading images: from a file or an array to an 8-bit RGB image, or a reason why not."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import DataError
from vlmcal.io.dicom import dicom_image, dicom_range, is_dicom
from vlmcal.io.nifti import is_nifti, nifti_range, nifti_slice
from vlmcal.io.parts import picture_bytes, picture_stream
from vlmcal.io.shown import DAMAGED, flattened, turned
from vlmcal.io.windows import by_view
from vlmcal.types.picture import Picture

ImageSource = str | os.PathLike[str] | NDArray[np.uint8] | Picture
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class UnreadableImage(NamedTuple):
    """One image that cannot be used, and why."""

    row: int
    source: str
    reason: str


def read_image(source: ImageSource) -> Image.Image:
    """An RGB image from a file or a part of one, or from a uint8 array (H, W), (H, W, 1) or (H, W, 3).

    Grey and palette images become RGB; a picture is turned as its EXIF orientation says, and transparent
    parts become white. Grey images of more than 8 bits are cut to 8 bits through the window that is stated
    (:class:`vlmcal.types.picture.View`), or that a DICOM or NIfTI file states; else they are refused.

    Raises:
        DataError: The file is missing, is no image or is damaged, needs a window or a frame that nobody
            stated; the array has another shape or type. The message starts with the path, or with "array".
        MissingExtraError: A DICOM or NIfTI file, and the package that reads it is not installed.

    Example:
        >>> read_image(np.full((2, 3), 7, dtype=np.uint8)).getpixel((2, 1))
        (7, 7, 7)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    picture = source if isinstance(source, Picture) else Picture(Path(source))
    try:
        return _from_file(picture)
    except FileNotFoundError:
        raise DataError(f"{picture.file}: no such file") from None


def _from_file(picture: Picture) -> Image.Image:
    name = str(picture)
    if is_nifti(picture.name) and picture.part is None:
        return nifti_slice(picture.file, picture.view)
    kind = Path(picture.name) if picture.part else picture.file
    if is_dicom(kind):
        return dicom_image(picture_bytes(picture), picture.view, name)
    try:
        with Image.open(picture_stream(picture)) as image:
            if image.mode in _DEEP_MODES:
                what = f"more than 8 bits per channel (mode {image.mode})"
                grey = by_view(np.asarray(turned(image)), picture.view, name, what)
                return Image.fromarray(grey).convert("RGB")
            return flattened(turned(image))
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        # PIL reports damaged files with any of these; its own text names what is wrong.
        path = os.fspath(picture.file)
        reason = str(error).replace(f"'{path}'", "file").replace(path, "file")
        raise DataError(f"{name}: not a readable image ({reason})") from error


def grey_range(picture: Picture) -> tuple[float, float] | None:
    """Smallest and largest value of a grey image of more than 8 bits, DICOM or NIfTI; None of others.

    These are the values between which a window can be set.

    Raises:
        DataError: As :func:`read_image`.
        MissingExtraError: As :func:`read_image`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.png")
        >>> Image.fromarray(np.array([[7, 4095]], dtype=np.uint16)).save(file)
        >>> grey_range(Picture(file))
        (7.0, 4095.0)
    """
    if is_nifti(picture.name) and picture.part is None:
        return nifti_range(picture.file, picture.view)
    if is_dicom(Path(picture.name) if picture.part else picture.file):
        return dicom_range(picture_bytes(picture), picture.view, str(picture))
    try:
        with Image.open(picture_stream(picture)) as image:
            if image.mode not in _DEEP_MODES:
                return None
            values = np.asarray(image)
            return float(values.min()), float(values.max())
    except DAMAGED as error:
        raise DataError(f"{picture}: not a readable image ({error})") from error


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise DataError(f"array: expected uint8 values 0 to 255, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise DataError(f"array: expected shape (H, W) or (H, W, 3), got {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def tried(sources: Iterable[Any]) -> Iterator[Image.Image | UnreadableImage]:
    """Each image as :func:`read_image` reads it, or why it cannot; PIL images as a viewer shows them."""
    for row, source in enumerate(sources):
        try:
            pil = isinstance(source, Image.Image)
            yield flattened(turned(source)) if pil else read_image(source)
        except DataError as error:
            name = "array" if isinstance(source, np.ndarray) else str(source)
            yield UnreadableImage(row, name, str(error).removeprefix(f"{name}: "))


def unreadable(sources: Iterable[object]) -> list[UnreadableImage]:
    """Every image that :func:`read_image` refuses; decodes all of them and keeps none."""
    return [found for found in tried(sources) if isinstance(found, UnreadableImage)]


def require_readable(sources: Sequence[object]) -> None:
    """Nothing happens when all images can be read.

    Raises:
        DataError: Some cannot; lists all of them.
    """
    raise_unreadable(unreadable(sources), len(sources))


def raise_unreadable(problems: list[UnreadableImage], n_images: int) -> None:
    """One error that lists all unreadable images; nothing happens when there are none.

    Raises:
        DataError: There is at least one.
    """
    if problems:
        lines = "\n".join(f"  {p.source} (row {p.row}): {p.reason}" for p in problems)
        raise DataError(
            f"{len(problems)} of {n_images} images cannot be read; repair or remove them:\n{lines}"
        )
