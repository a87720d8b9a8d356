"""A picture as a viewer shows it: turned by its EXIF orientation, transparent parts on white."""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from PIL import ExifTags, Image

from vlmcal.errors import DataError
from vlmcal.io.parts import picture_stream
from vlmcal.types.picture import Picture

BACKGROUND: Final = "white"
MOST_PIXELS: Final = 178_956_970
"""Pixels of an image above which it is refused by its header: twice ``PIL.Image.MAX_IMAGE_PIXELS``."""
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGED: Final = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, LookupError, struct.error),
    *(OverflowError, MemoryError, Image.DecompressionBombError),
)
"""What Pillow raises on damaged pictures, and on those that their header says are too large."""


def require_pixels(width: int, height: int, name: str) -> None:
    """Refuse an image by its header that is larger than Pillow decodes, whatever format it has.

    Raises:
        DataError: More than :data:`MOST_PIXELS`.

    Example:
        >>> require_pixels(60_000, 60_000, "a.dcm")
        Traceback (most recent call last):
        vlmcal.errors.DataError: a.dcm: 60,000 x 60,000 pixels, more than 178,956,970; make it smaller
    """
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{name}: {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}; make it smaller"
        )


@contextmanager
def explained(name: object, kind: str, more: Callable[[str], str] | None = None) -> Iterator[None]:
    """What a package raises that reads files of a kind, as one of our errors that starts with the file.

    Args:
        name: Of the file.
        kind: What it is read as.
        more: Advice, by what the package says.

    Raises:
        DataError: Instead of whatever a damaged header leads to.

    Example:
        >>> with explained("a.dcm", "DICOM"):
        ...     raise KeyError("Rows")
        Traceback (most recent call last):
        vlmcal.errors.DataError: a.dcm: not readable as DICOM ('Rows')
    """
    try:
        yield
    except (DataError, ModuleNotFoundError, FileNotFoundError):
        raise
    except Exception as error:
        text = str(error)
        first = text.splitlines()[0] if text else type(error).__name__
        advice = more(text) if more else ""
        raise DataError(f"{name}: not readable as {kind} ({first}){advice}") from error


def turned(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says; the same object where it says nothing.

    Example:
        >>> picture = Image.new("RGB", (4, 2))
        >>> picture.getexif()[ExifTags.Base.Orientation] = 6
        >>> turned(picture).size
        (2, 4)
    """
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def flattened(image: Image.Image) -> Image.Image:
    """The picture in 8-bit RGB, with :data:`BACKGROUND` behind transparent parts.

    Example:
        >>> flattened(Image.new("RGBA", (1, 1), (0, 0, 0, 51))).getpixel((0, 0))
        (204, 204, 204)
    """
    if not _see_through(image):
        return image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, BACKGROUND)
    return Image.alpha_composite(ground, image).convert("RGB")


def corrections(source: str | os.PathLike[str] | Picture) -> tuple[str, ...]:
    """What a viewer does to the stored pixels of an image: "turned", "flattened", both or nothing.

    Files that are no pictures need nothing here; whoever reads them says so.
    """
    try:
        opened = picture_stream(source) if isinstance(source, Picture) else source
        with Image.open(opened) as image:
            turn = _orientation(image) in _TURNS
            return ("turned",) * turn + ("flattened",) * _see_through(image)
    except DAMAGED:
        return ()


def _orientation(image: Image.Image) -> int:
    # Pillow turns TIFF by itself, and would decode a whole PNG to look for EXIF behind the pixels.
    if image.format == "TIFF" or (image.format == "PNG" and not _says_exif(image)):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGED:  # EXIF that cannot be read says nothing
        return 1


def _says_exif(image: Image.Image) -> bool:
    return "exif" in image.info or "Raw profile type exif" in image.info


def _see_through(image: Image.Image) -> bool:
    """Whether a pixel is transparent; an alpha channel that is opaque everywhere changes nothing."""
    if not image.has_transparency_data:
        return False
    alpha = image.convert("RGBA").getchannel("A").getextrema()
    return alpha != (255, 255)
