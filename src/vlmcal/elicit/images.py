"""The bytes that are sent for an image: the file's own, or those of a mild edit named in plain text."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.shown import DAMAGED, flattened, turned
from vlmcal.seeding import numpy_generator
from vlmcal.types.chat import ImageRef

# A PIL format whose name is not what servers call it: several JPEGs in one file, as telephones write them.
_MIME = {"MPO": "image/jpeg"}


def image_bytes(ref: ImageRef) -> tuple[bytes, str]:
    """Bytes and MIME type of an image as it is sent.

    Without an edit these are the file's own bytes, never encoded anew, and the type that its content
    shows (the name's suffix is not trusted). With an edit: a PNG of the edited first frame, upright by its
    EXIF orientation, in 8-bit RGB (see :func:`upright`). The same file and edit give the same pixels.

    Args:
        ref: File and edit; edits are joined by "+" and done from left to right ("rotate:5+noise:0.02,7").

    Raises:
        DataError: The file is missing or is no readable image.
        SpecError: No such edit, or a parameter out of its range.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        ...     Image.new("L", (4, 2), 9).save(file, "PNG")
        ...     _ = file.flush()
        ...     image_bytes(ImageRef(file.name))[1], len(image_bytes(ImageRef(file.name, "blank"))[0]) > 0
        ('image/png', True)
    """
    path = Path(ref.path)
    steps = [_parse(part) for part in ref.edit.split("+")] if ref.edit else []
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if not steps:
                return content, _MIME.get(image.format or "") or Image.MIME[image.format or ""]
            shown = upright(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable image (of no known format, or damaged)") from None
    except DAMAGED as error:
        raise DataError(
            f"{path}: not a readable image ({type(error).__name__}: {error})"
        ) from error
    for edit, values in steps:
        shown = edit.apply(shown, *values)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return buffer.getvalue(), "image/png"


def upright(image: Image.Image) -> Image.Image:
    """An 8-bit RGB image, turned as its EXIF orientation says.

    More than 8 bits per channel are mapped linearly so that the smallest value becomes 0 and the largest
    255; transparent parts become white; CMYK and palettes become RGB.

    Example:
        >>> upright(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    image = turned(image)
    if image.mode[0] in "IF":
        deep = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = float(deep.min()), float(deep.max())
        image = Image.fromarray(
            np.rint((deep - low) * (255 / ((high - low) or 1))).astype(np.uint8)
        )
    return flattened(image)


class Edit(NamedTuple):
    """An edit: what it does to an RGB image, and the bounds of its parameters."""

    apply: Callable[..., Image.Image]
    bounds: tuple[tuple[float, float], ...]


def _blank(image: Image.Image) -> Image.Image:
    mean = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
    red, green, blue = (int(x) for x in np.rint(mean))
    return Image.new("RGB", image.size, (red, green, blue))


def _frame(image: Image.Image) -> tuple[int, ...]:
    # What comes in from outside looks like the margin: black around an X-ray, white around a plot.
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(x) for x in np.median(edge, axis=0))


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=_frame(image),
    )


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=_frame(image))


def _shift(image: Image.Image, right: float, down: float) -> Image.Image:
    return _affine(image, (1, 0, -right * image.width, 0, 1, -down * image.height))


def _zoom(image: Image.Image, factor: float) -> Image.Image:
    x, y = image.width / 2, image.height / 2
    return _affine(image, (1 / factor, 0, x - x / factor, 0, 1 / factor, y - y / factor))


def _noise(image: Image.Image, deviation: float, seed: float) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float64)
    drawn = numpy_generator(int(seed), "noise").normal(0.0, 255 * deviation, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + drawn), 0, 255).astype(np.uint8))


# Degrees anticlockwise; fractions of width (to the right) and height (down); factors; standard deviation of
# the noise as a fraction of the range, and its seed. None of them mirrors the image.
EDITS = {
    "blank": Edit(_blank, ()),
    "rotate": Edit(_rotate, ((-180, 180),)),
    "shift": Edit(_shift, ((-1, 1), (-1, 1))),
    "zoom": Edit(_zoom, ((0.1, 10),)),
    "brightness": Edit(lambda image, x: ImageEnhance.Brightness(image).enhance(x), ((0, 10),)),
    "contrast": Edit(lambda image, x: ImageEnhance.Contrast(image).enhance(x), ((0, 10),)),
    "noise": Edit(_noise, ((0, 1), (0, 2**53))),
}


def _parse(text: str) -> tuple[Edit, list[float]]:
    name, _, inside = text.partition(":")
    if name not in EDITS:
        raise SpecError(f'image edit "{text}": unknown name; {nearest(name, EDITS)}')
    bounds = EDITS[name].bounds
    expected = ", ".join(f"{low:g} to {high:g}" for low, high in bounds) or "nothing"
    try:
        values = [float(value) for value in inside.split(",")] if inside else []
    except ValueError:
        values = [math.nan]
    within = [low <= value <= high for value, (low, high) in zip(values, bounds, strict=False)]
    if len(values) != len(bounds) or not all(within):
        raise SpecError(f'image edit "{text}": expected {expected} after "{name}:"')
    return EDITS[name], values


def mild_edit(question: str, number: int, *, geometry: bool = True) -> str:
    """A random edit that leaves the answer to most questions as it is; never a flip.

    Brightness and contrast 0.85 to 1.15, noise with standard deviation 0.01 to 0.05 of the range; with
    ``geometry`` also a rotation by up to 10 degrees, a shift by up to 10 % of each side, and a zoom by 0.9 to
    1.1. The draw depends on the question's id and ``number`` alone.

    Args:
        question: Id of the question.
        number: Of the edit; other numbers give other edits.
        geometry: False where the answer may be a place or a side.

    Example:
        >>> mild_edit("q1", 0, geometry=False)
        'brightness:1.106+contrast:1.109+noise:0.016,2369'
    """
    draw = numpy_generator(0, "mild_edit", question, number)
    turned = (
        f"rotate:{draw.uniform(-10, 10):.1f}+shift:{draw.uniform(-0.1, 0.1):.3f},"
        f"{draw.uniform(-0.1, 0.1):.3f}+zoom:{draw.uniform(0.9, 1.1):.3f}+"
    )
    return (turned if geometry else "") + (
        f"brightness:{draw.uniform(0.85, 1.15):.3f}+contrast:{draw.uniform(0.85, 1.15):.3f}+"
        f"noise:{draw.uniform(0.01, 0.05):.3f},{draw.integers(100_000)}"
    )
