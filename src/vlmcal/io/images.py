"""Reading images: from a file or an array to an 8-bit RGB image, or a reason why not."""

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import DataError
from vlmcal.io.shown import flattened, turned
from vlmcal.types.dataset import Dataset

ImageSource = str | os.PathLike[str] | NDArray[np.uint8]
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class UnreadableImage(NamedTuple):
    """One image that cannot be used, and why."""

    row: int
    source: str
    reason: str


def read_image(source: ImageSource) -> Image.Image:
    """An RGB image from a file, or from a uint8 array (H, W), (H, W, 1) or (H, W, 3).

    Grey and palette images become RGB; a picture is turned as its EXIF orientation says, and transparent
    parts become white. Images of more than 8 bits per channel are refused, because cutting them to 8 bits
    needs a decision about the window.

    Raises:
        DataError: The file is missing, is no image or is damaged; the array has another shape or
            type. The message starts with the path, or with "array".

    Example:
        >>> read_image(np.full((2, 3), 7, dtype=np.uint8)).getpixel((2, 1))
        (7, 7, 7)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    path = os.fspath(source)
    try:
        with Image.open(path) as image:
            if image.mode in _DEEP_MODES:
                raise DataError(
                    f"{path}: more than 8 bits per channel (mode {image.mode}); convert it to "
                    "8 bits first, choosing the window that matters"
                )
            return flattened(turned(image))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # PIL reports damaged files with any of these; its own text names what is wrong.
        reason = str(error).replace(f"'{path}'", "file").replace(path, "file")
        raise DataError(f"{path}: not a readable image ({reason})") from error


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise DataError(f"array: expected uint8 values 0 to 255, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise DataError(f"array: expected shape (H, W) or (H, W, 3), got {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def unreadable(dataset: Dataset) -> list[UnreadableImage]:
    """Every image of a data set that :func:`read_image` refuses; decodes all of them."""
    problems = []
    for row, source in enumerate(dataset.images):
        try:
            read_image(source)
        except DataError as error:
            name = "array" if isinstance(source, np.ndarray) else os.fspath(source)
            problems.append(UnreadableImage(row, name, str(error).removeprefix(f"{name}: ")))
    return problems


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
