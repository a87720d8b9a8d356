"""The fifteen corruptions of ImageNet-C, and its Gaussian blur, of one image at one strength."""

import io
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from vlmcal.types.arrays import FloatArray

Kind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
]
SIDE: Final = 224
# By severity 1 to 5, for images of 224 pixels, as released (hendrycks/robustness, ImageNet-C).
STRENGTHS: Final[Mapping[Kind, tuple[Any, ...]]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    # radius
    "defocus_blur": (3, 4, 6, 8, 10),
    # deviation, furthest swap, rounds
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    # radius, deviation
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    # largest zoom, step
    "zoom_blur": ((1.1, 0.01), (1.15, 0.01), (1.2, 0.02), (1.25, 0.02), (1.3, 0.03)),
    # mean, deviation, zoom, threshold, radius, deviation of the motion, share of the image
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    # share of the image, share of the ice
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    # thickness, decay of the cloud's detail
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    # size, smoothness and tilt of the shifts, in units of 244 pixels as released
    "elastic_transform": (
        (2, 0.7, 0.1),
        (2, 0.08, 0.2),
        (0.05, 0.01, 0.02),
        (0.07, 0.01, 0.02),
        (0.12, 0.01, 0.02),
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
    "gaussian_blur": (1, 2, 3, 4, 6),
}
_GREY = np.array([0.299, 0.587, 0.114])
_ICE = np.array([0.82, 0.92, 1.0])


def corrupt(image: Image.Image, kind: Kind, severity: int, draw: np.random.Generator) -> Any:
    """Pixels (H, W, 3) uint8 of an RGB image under a corruption of severity 1 to 5.

    Strengths are the released ones for 224 pixels; lengths of blurs and shifts go with the size of the
    image. Deviations: the disk of ``defocus_blur`` weighs each pixel by the area that it covers;
    ``glass_blur`` swaps pixels (the released program copies one over the other, as both are views of one
    array); ``motion_blur`` and the motion of ``snow`` put their weights on the nearest pixels, where
    ImageMagick was used; ``zoom_blur`` crops without rounding; ``elastic_transform`` resamples once, not
    twice; ``frost`` needs photographs of frost, instead of which ice is generated: its numbers are not
    comparable with published ones.

    Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
    perturbations", ICLR 2019, arXiv 1903.12261; constants of github.com/hendrycks/robustness, commit 20caed9.

    Args:
        image: In mode RGB.
        kind: One of :data:`STRENGTHS`.
        severity: 1 to 5.
        draw: Where random numbers come from.

    Example:
        >>> grey = Image.new("RGB", (64, 64), (100, 100, 100))
        >>> corrupt(grey, "brightness", 1, np.random.default_rng(0))[0, 0].tolist()
        [126, 126, 126]
    """
    return _EDITS[kind](image, STRENGTHS[kind][severity - 1], draw)


def _pixels(values: FloatArray) -> Any:
    return np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)


def _unit(image: Image.Image) -> FloatArray:
    return np.asarray(image, dtype=np.float64) / 255


def _scale(image: Image.Image) -> float:
    """Of lengths; less would not blur tiny images at all."""
    return max(64, min(image.size)) / SIDE


def _gaussian_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    x = _unit(image)
    return _pixels(x + c * draw.normal(size=x.shape))


def _shot_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    return _pixels(draw.poisson(_unit(image) * c) / c)


def _impulse_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    x = _unit(image)
    hit = draw.random(x.shape) < c
    return _pixels(np.where(hit, draw.integers(0, 2, x.shape), x))


def _gaussian_blur(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    return np.asarray(image.filter(ImageFilter.GaussianBlur(c * _scale(image))))


def _defocus_blur(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    x, kernel = _unit(image), _disk(c * _scale(image))
    return _pixels(ndimage.convolve(x, kernel[..., None], mode="mirror"))


def _disk(radius: float, fine: int = 8) -> FloatArray:
    """Share of each pixel around the middle that a disk covers, summing to 1."""
    reach = int(np.ceil(radius + 0.5))
    side = 2 * reach + 1
    place = (np.arange(side * fine) + 0.5) / fine - side / 2
    inside = place[:, None] ** 2 + place**2 <= radius**2
    covered = inside.reshape(side, fine, side, fine).mean(axis=(1, 3))
    shares: FloatArray = covered / covered.sum()
    return shares


def _glass_blur(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    deviation, rounds = c[0] * _scale(image), c[2]
    furthest = int(np.ceil(c[1] * _scale(image)))
    x = _smooth(_unit(image), deviation)
    h, w = x.shape[:2]
    order = list(range(h * w))
    rows, columns = np.divmod(np.arange(h * w), w)
    for _ in range(rounds):
        down, right = draw.integers(-furthest, furthest, size=(2, h * w))
        others = np.clip(rows + down, 0, h - 1) * w + np.clip(columns + right, 0, w - 1)
        for one, other in reversed(list(enumerate(others.tolist()))):
            order[one], order[other] = order[other], order[one]
    return _pixels(_smooth(x.reshape(h * w, -1)[order].reshape(x.shape), deviation))


def _smooth(x: FloatArray, deviation: float) -> FloatArray:
    smooth: FloatArray = ndimage.gaussian_filter(x, (deviation, deviation, 0), mode="nearest")
    return smooth


def _motion_blur(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    return _pixels(_moved(_unit(image), c, _scale(image), draw.uniform(-45, 45)))


def _moved(x: FloatArray, c: Any, scale: float, angle: float) -> FloatArray:
    """Weighted mean of x (H, W, C) shifted along an angle in degrees, weights of half a Gaussian."""
    reach = 2 * int(np.ceil(c[0] * scale))
    steps = np.arange(reach + 1)
    weights = np.exp(-((steps / (c[1] * scale)) ** 2) / 2)
    turn = np.deg2rad(angle)
    down, right = (np.rint(steps * f(turn)).astype(int) + reach for f in (np.sin, np.cos))
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    h, w = x.shape[:2]
    total = np.zeros_like(x)
    for weight, i, j in zip(weights / weights.sum(), down, right, strict=True):
        total += weight * padded[i : i + h, j : j + w]
    return total


def _zoom_blur(image: Image.Image, c: Any, _: np.random.Generator) -> Any:
    factors = np.arange(1, c[0] + c[1] / 2, c[1])
    layers = [_unit(_zoomed(image, factor)) for factor in factors]
    return _pixels((_unit(image) + np.sum(layers, axis=0)) / (len(layers) + 1))


def _zoomed(image: Image.Image, factor: float) -> Image.Image:
    w, h = image.size
    left, top = (w - w / factor) / 2, (h - h / factor) / 2
    box = (left, top, w - left, h - top)
    return image.resize(image.size, Image.Resampling.BILINEAR, box=box)


def _snow(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    x = _unit(image)
    flakes = draw.normal(c[0], c[1], size=x.shape[:2]).astype(np.float32)
    layer: FloatArray = np.asarray(_zoomed(Image.fromarray(flakes), c[2]), dtype=np.float64)
    layer = np.clip(np.where(layer < c[3], 0.0, layer), 0, 1)[..., None]
    layer = _moved(layer, c[4:6], _scale(image), draw.uniform(-135, -45))
    white = np.maximum(x, (x @ _GREY)[..., None] * 1.5 + 0.5)
    return _pixels(c[6] * x + (1 - c[6]) * white + layer + np.rot90(layer, 2))


def _frost(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    x = _unit(image)
    # thin bright ridges where clouds cross their middle, at two sizes of detail
    clouds = [_cloud(x.shape[:2], decay, draw) for decay in (1.3, 1.7)]
    ridges = [1 - np.abs(2 * cloud - 1) for cloud in clouds]
    ice = np.maximum(ridges[0] ** 4, ridges[1] ** 2)[..., None] * _ICE
    return _pixels(c[0] * x + c[1] * ice)


def _fog(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    x = _unit(image)
    brightest = x.max()
    thick = x + c[0] * _cloud(x.shape[:2], c[1], draw)[..., None]
    return _pixels(thick * brightest / (brightest + c[0]))


def _cloud(shape: tuple[int, ...], decay: float, draw: np.random.Generator) -> FloatArray:
    """A plasma fractal from 0 to 1 by diamonds and squares; detail falls by decay squared each time."""
    side = 1 << (max(2, *shape) - 1).bit_length()
    grid, step, size = np.zeros((side, side)), side, 1.0

    def around(*four: FloatArray) -> FloatArray:
        mean: FloatArray = np.sum(four, axis=0) / 4
        return mean + size * draw.uniform(-1, 1, mean.shape)

    while step >= 2:
        half = step // 2
        a = grid[::step, ::step]
        b, c = np.roll(a, -1, axis=0), np.roll(a, -1, axis=1)
        middle = around(a, b, c, np.roll(b, -1, axis=1))
        grid[half::step, half::step] = middle
        grid[::step, half::step] = around(a, c, middle, np.roll(middle, 1, axis=0))
        grid[half::step, ::step] = around(a, b, middle, np.roll(middle, 1, axis=1))
        step, size = half, size / decay**2
    grid = grid - grid.min()
    cloud: FloatArray = (grid / grid.max())[: shape[0], : shape[1]]
    return cloud


def _brightness(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    x = _unit(image)
    # value of HSV up by c at equal hue and saturation: all channels times the same factor
    value = x.max(axis=-1, keepdims=True) if x.ndim == 3 else x
    lifted = np.clip(value + c, 0.0, 1.0)
    return _pixels(np.where(value > 0, x * lifted / np.where(value > 0, value, 1.0), lifted))


def _contrast(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    x = _unit(image)
    mean = x.mean(axis=(0, 1), keepdims=True)
    return _pixels((x - mean) * c + mean)


def _elastic_transform(image: Image.Image, c: Any, draw: np.random.Generator) -> Any:
    x = _unit(image)
    size, smoothness, tilt = np.array(c) * 244 * _scale(image)
    places = np.stack(np.meshgrid(*map(np.arange, x.shape[:2]), indexing="ij")).astype(np.float64)
    for axis in (0, 1):
        field = draw.uniform(-1, 1, size=x.shape[:2])
        places[axis] += size * ndimage.gaussian_filter(
            field, smoothness, mode="reflect", truncate=3
        )
    middle, third = np.array(x.shape[:2]) // 2, min(x.shape[:2]) // 3
    corners = middle + third * np.array([[1, 1], [-1, 1], [-1, -1]])
    moved = corners + draw.uniform(-tilt, tilt, size=(3, 2))
    ones = np.ones((3, 1))
    back = np.linalg.lstsq(np.hstack([moved, ones]), corners.astype(float), rcond=None)[0]
    source = np.einsum("ahw,ab->bhw", places, back[:2]) + back[2][:, None, None]
    channels = [
        ndimage.map_coordinates(channel, source, order=1, mode="mirror")
        for channel in np.moveaxis(x, -1, 0)
    ]
    return _pixels(np.stack(channels, axis=-1))


def _pixelate(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    small = tuple(max(1, int(side * c)) for side in image.size)
    coarse = image.resize((small[0], small[1]), Image.Resampling.BOX)
    return np.asarray(coarse.resize(image.size, Image.Resampling.BOX))


def _jpeg_compression(image: Image.Image, c: float, _: np.random.Generator) -> Any:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(c))
    with Image.open(stream) as again:
        return np.asarray(again.convert(image.mode))


_EDITS: Final[Mapping[Kind, Callable[[Image.Image, Any, np.random.Generator], Any]]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
    "gaussian_blur": _gaussian_blur,
}
