"""Seeded drawing of coloured, textured shapes: images whose right caption is known."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vlmcal.errors import DataError

SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent")
COLOURS: Final = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES: Final = ("plain", "striped", "dotted", "checked")
BACKGROUNDS: Final = ("black", "white", "grey")

_RGB: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 25, 30),
    "orange": (245, 135, 15),
    "yellow": (240, 225, 30),
    "green": (35, 160, 50),
    "cyan": (30, 205, 215),
    "blue": (30, 60, 215),
    "purple": (120, 35, 160),
    "pink": (250, 130, 185),
}
_GREY_LEVEL: Final = {"black": 12.0, "white": 243.0, "grey": 128.0}
_OVERSAMPLING: Final = 2

Pixels = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]


def require_member(value: str, allowed: tuple[str, ...], what: str) -> None:
    """Check that ``value`` is one of the drawable words.

    Raises:
        DataError: the word is unknown; the message lists the words that can be drawn.

    >>> require_member("ring", SHAPES, "shape")
    """
    if value not in allowed:
        raise DataError(f"unknown {what} {value!r}; choose one of {', '.join(allowed)}")


def require_fraction(value: float, what: str, *, above: float = 0.0) -> None:
    """Check that ``value`` lies in [``above``, 1].

    Raises:
        DataError: the number lies outside, or is not a number.

    >>> require_fraction(0.5, "shift")
    """
    if not above <= value <= 1.0:
        raise DataError(f"{what} must lie in [{above:g}, 1], got {value!r}")


def render_shape(
    rng: np.random.Generator,
    *,
    shape: str,
    colour: str,
    texture: str,
    size: float,
    shift: float = 0.0,
    background: str | None = None,
    image_size: int = 32,
) -> Pixels:
    """Draw one textured shape and return it as an RGB image.

    Place, turn, tint and texture phase are drawn from ``rng``, so equal generator states give
    equal images. ``shift`` moves the image away from the clean distribution: the background blends
    towards a random colour gradient, contrast falls to 45 %, a Gaussian blur grows to 1.2 pixels and
    additive noise to a standard deviation of 60 grey levels, all in proportion to ``shift``.

    Args:
        rng: source of every random choice.
        shape: one of ``SHAPES``.
        colour: one of ``COLOURS``.
        texture: one of ``TEXTURES``.
        size: diameter of the shape as a fraction of the image side, in [0.2, 1].
        shift: strength of the distribution shift in [0, 1].
        background: one of ``BACKGROUNDS``; ``None`` draws one.
        image_size: side of the image in pixels.

    Returns:
        ``(image_size, image_size, 3)`` array of ``uint8``.

    Raises:
        DataError: an unknown word, or a number outside its range.

    >>> rng = np.random.default_rng(0)
    >>> image = render_shape(rng, shape="ring", colour="red", texture="plain", size=0.8)
    >>> image.shape, image.dtype.name
    ((32, 32, 3), 'uint8')
    """
    require_member(shape, SHAPES, "shape")
    require_member(colour, COLOURS, "colour")
    require_member(texture, TEXTURES, "texture")
    require_fraction(size, "size", above=0.2)
    require_fraction(shift, "shift")
    chosen = str(rng.choice(BACKGROUNDS)) if background is None else background
    require_member(chosen, BACKGROUNDS, "background")

    side = image_size * _OVERSAMPLING
    x, y = _pixel_grid(side)
    u, v = _shape_frame(rng, x, y, size)
    inside = _inside(shape, u, v)[..., None]
    ground = np.full((side, side, 3), _GREY_LEVEL[chosen] + rng.normal(0.0, 6.0))
    ground = (1.0 - 0.6 * shift) * ground + 0.6 * shift * _gradient(rng, x, y)
    scene = np.where(inside, _paint(rng, x * image_size, y * image_size, colour, texture), ground)
    small = scene.reshape(image_size, _OVERSAMPLING, image_size, _OVERSAMPLING, 3).mean(axis=(1, 3))
    return degrade(rng, small, shift)


def degrade(rng: np.random.Generator, image: _Floats, shift: float) -> Pixels:
    """Lower the contrast, blur and add noise, in proportion to ``shift``.

    Args:
        rng: source of the noise.
        image: ``(H, W, 3)`` grey levels in [0, 255].
        shift: strength in [0, 1]; 0 only rounds to ``uint8``.

    Returns:
        ``(H, W, 3)`` array of ``uint8``.

    >>> flat = np.full((4, 4, 3), 100.0)
    >>> int(degrade(np.random.default_rng(0), flat, 0.0).max())
    100
    """
    require_fraction(shift, "shift")
    if shift == 0.0:
        return _to_pixels(image)
    level = 128.0 + (image - 128.0) * (1.0 - 0.55 * shift)
    blurred = Image.fromarray(_to_pixels(level)).filter(ImageFilter.GaussianBlur(1.2 * shift))
    noisy = np.asarray(blurred, dtype=np.float64) + rng.normal(0.0, 60.0 * shift, image.shape)
    return _to_pixels(noisy)


def _to_pixels(image: _Floats) -> Pixels:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _pixel_grid(side: int) -> tuple[_Floats, _Floats]:
    axis = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(axis, axis)
    return x, y


def _shape_frame(
    rng: np.random.Generator, x: _Floats, y: _Floats, size: float
) -> tuple[_Floats, _Floats]:
    slack = max(0.0, 1.0 - size) / 2.0
    centre = 0.5 + rng.uniform(-slack, slack, 2)
    angle = rng.uniform(-0.25, 0.25)
    aspect = np.exp(rng.uniform(-0.08, 0.08, 2))
    dx, dy = (x - centre[0]) * 2.0 / size, (y - centre[1]) * 2.0 / size
    u = (np.cos(angle) * dx + np.sin(angle) * dy) * aspect[0]
    v = (np.cos(angle) * dy - np.sin(angle) * dx) * aspect[1]
    return u, v


def _inside(shape: str, u: _Floats, v: _Floats) -> _Mask:
    """Membership of the point (u, v), v pointing down, in a shape that fills [-1, 1]²."""
    radius = np.hypot(u, v)
    if shape == "circle":
        return np.asarray(radius < 0.92)
    if shape == "ring":
        return np.asarray((radius < 0.97) & (radius > 0.52))
    if shape == "square":
        return np.asarray(np.maximum(abs(u), abs(v)) < 0.8)
    if shape == "triangle":
        return np.asarray((v < 0.75) & (abs(u) < 0.95 * (v + 0.95) / 1.7))
    if shape == "cross":
        return np.asarray((np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 0.95))
    if shape == "star":
        sector = 2.0 * np.pi / 5.0
        folded = abs((np.arctan2(v, u) + np.pi / 2.0) % sector - sector / 2.0) / (sector / 2.0)
        return np.asarray(radius < 1.0 / (folded / 1.0 + (1.0 - folded) / 0.4))
    if shape == "heart":
        a, b = 1.22 * u, 0.1 - 1.22 * v
        return np.asarray((a**2 + b**2 - 1.0) ** 3 < a**2 * b**3)
    return np.asarray((radius < 0.95) & (np.hypot(u - 0.45, v) > 0.72))


def _paint(rng: np.random.Generator, x: _Floats, y: _Floats, colour: str, texture: str) -> _Floats:
    tint = np.clip(np.asarray(_RGB[colour]) * rng.uniform(0.88, 1.05) + rng.normal(0, 8, 3), 0, 255)
    first = np.broadcast_to(tint, (*x.shape, 3))
    if texture == "plain":
        return np.asarray(first)
    second = tint * 0.25 if rng.random() < 0.5 else 255.0 - (255.0 - tint) * 0.2
    phase = rng.uniform(0.0, 10.0, 2)
    if texture == "striped":
        angle, period = rng.uniform(0.0, np.pi), rng.uniform(4.5, 7.0)
        wave = (np.cos(angle) * x + np.sin(angle) * y + phase[0]) % period
        marked = wave < period / 2.0
    elif texture == "dotted":
        period = rng.uniform(5.5, 7.0)
        dx, dy = (x + phase[0]) % period, (y + phase[1]) % period
        marked = np.hypot(dx - period / 2, dy - period / 2) < 0.32 * period
    else:
        period = rng.uniform(3.5, 5.0)
        column, row = (x + phase[0]) // period, (y + phase[1]) // period
        marked = (column + row) % 2 == 0
    return np.where(marked[..., None], second, first)


def _gradient(rng: np.random.Generator, x: _Floats, y: _Floats) -> _Floats:
    start, end = rng.uniform(0.0, 255.0, (2, 3))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ramp = np.clip(0.5 + np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5), 0.0, 1.0)[..., None]
    return np.asarray((1.0 - ramp) * start + ramp * end)
