"""Seeded drawing of printed characters and of handwritten-looking digits."""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vlmcal.data.render import Pixels, degrade, require_fraction, require_member

DIGITS: Final = tuple("0123456789")
LETTERS: Final = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
DIGIT_WORDS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
SCAN_LEVELS: Final = 16
_BITMAP: Final = 32
_FONT_FILES: Final = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSerif-Italic.ttf",
    "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf", "cmr10.ttf", "cmss10.ttf",
)  # fmt: skip

_Floats = npt.NDArray[np.float64]


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def scan(coverage: _Floats, image_size: int = 32) -> _Floats:
    """Reduce a drawing to the 8 × 8 picture of 17 grey levels that a coarse scanner keeps.

    Every cell is the share of inked pixels in its block, rounded to sixteenths, as in the optical
    digits of Alpaydin and Kaynak (UCI repository, 1998); the picture is then enlarged to
    ``image_size`` by bicubic interpolation, the way an image processor enlarges it.

    Args:
        coverage: ``(32, 32)`` ink in [0, 1].
        image_size: side of the result in pixels.

    Returns:
        ``(image_size, image_size)`` grey levels in [0, 255].

    >>> scan(np.ones((32, 32))).min()
    np.float64(255.0)
    """
    cells = coverage.reshape(8, _BITMAP // 8, 8, _BITMAP // 8).mean(axis=(1, 3))
    levels = (np.rint(cells * SCAN_LEVELS) * 255 / SCAN_LEVELS).astype(np.uint8)
    enlarged = Image.fromarray(levels).resize((image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(enlarged, dtype=np.float64)


def render_glyph(
    rng: np.random.Generator,
    character: str,
    *,
    coarse: bool = False,
    shift: float = 0.0,
    image_size: int = 32,
) -> Pixels:
    """Draw one printed digit or letter with a random font, affine distortion and stroke weight.

    Args:
        rng: source of every random choice.
        character: one of ``DIGITS`` or ``LETTERS``.
        coarse: pass the drawing through ``scan`` (8 × 8 grey levels) first.
        shift: strength of noise, blur and loss of contrast in [0, 1].
        image_size: side of the image in pixels.

    Returns:
        ``(image_size, image_size, 3)`` array of ``uint8``.

    Raises:
        DataError: a character that cannot be drawn, or a shift outside [0, 1].

    >>> image = render_glyph(np.random.default_rng(0), "7", coarse=True)
    >>> image.shape, image.dtype.name
    ((32, 32, 3), 'uint8')
    """
    require_member(character, DIGITS + LETTERS, "character")
    require_fraction(shift, "shift")
    font = _font(str(rng.choice(_FONT_FILES)), int(rng.integers(40, 60)))
    canvas = Image.new("L", (64, 64))
    ImageDraw.Draw(canvas).text((32, 32), character, fill=255, font=font, anchor="mm")
    canvas = _fit(rng, _thicken(rng, canvas))
    ink = np.asarray(canvas, dtype=np.float64) / 255.0
    if coarse:
        return finish_grey(rng, scan(ink, image_size), shift, plain=rng.random() < 0.8)
    large = np.asarray(canvas.resize((image_size, image_size), Image.Resampling.BICUBIC))
    return finish_grey(rng, large.astype(np.float64), shift, plain=rng.random() < 0.4)


def _thicken(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    draw = rng.random()
    if draw < 0.35:
        canvas = canvas.filter(ImageFilter.MaxFilter(3))
    elif draw < 0.5:
        canvas = canvas.filter(ImageFilter.MaxFilter(5))
    return canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 1.0))))


def _fit(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """Scale the inked box to nearly the full height of the bitmap, then slant and turn it."""
    box = canvas.getbbox() or (0, 0, 64, 64)
    height = box[3] - box[1]
    scale = height / rng.uniform(22.0, 31.5)
    stretch = scale * np.exp(rng.uniform(-0.3, 0.2))
    angle, slant = rng.normal(0.0, 0.1), rng.normal(0.0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[stretch, slant * scale], [0.0, scale]])
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2.0 + rng.normal(0.0, 1.0, 2)
    offset = middle - matrix @ np.full(2, _BITMAP / 2.0)
    return canvas.transform(
        (_BITMAP, _BITMAP),
        Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BILINEAR,
    )


def finish_grey(rng: np.random.Generator, level: _Floats, shift: float, *, plain: bool) -> Pixels:
    """Colour a grey drawing: bright on dark when ``plain``, else two random contrasting greys."""
    share = level[..., None] / 255.0
    if plain:
        return degrade(rng, np.repeat(level[..., None], 3, axis=2), shift)
    paper, ink = rng.uniform(0.0, 80.0), rng.uniform(170.0, 255.0)
    if rng.random() < 0.5:
        paper, ink = ink, paper
    return degrade(rng, np.repeat(paper + (ink - paper) * share, 3, axis=2), shift)
