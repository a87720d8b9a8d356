"""Corruptions of test images by kind and severity: another distribution with the same classes."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from vlmcal.data.base import DATASETS, load_dataset
from vlmcal.errors import DataError
from vlmcal.io.images import read_image
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray
from vlmcal.types.dataset import Dataset

Kind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "gaussian_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
]
# By severity 1 to 5, for images of 224 pixels (Hendrycks and Dietterich).
STRENGTHS: Final[Mapping[Kind, tuple[float, ...]]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "gaussian_blur": (1, 2, 3, 4, 6),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
}
_SIDE = 224


@DATASETS.register("corrupted")
def corrupted(
    of: Any, *, kind: Kind = "gaussian_noise", severity: int = 1, seed: int = 0
) -> Dataset:
    """Another data set with its test images under a corruption: trained on clean images, tested on others.

    As a target of the protocols "domain-generalisation" and "cross-dataset", or by itself. Severity 0 leaves
    the images as they are. Files are brought to 224 pixels first (shorter side, centre), as in
    ImageNet-C, and only the test images of files are kept; arrays keep their size, and the blur goes with it.
    Noise is drawn for each image by its id. Eight of the fifteen kinds, with the published strengths.

    Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
    perturbations", ICLR 2019, arXiv 1903.12261.

    Args:
        of: The data set, as :func:`~vlmcal.data.base.load_dataset` takes it.
        kind: The corruption.
        severity: 0 to 5.
        seed: Of the noise.

    Raises:
        DataError: A severity out of range, or no test images.

    Example:
        >>> data = corrupted("digits", kind="contrast", severity=5)
        >>> data.name, len(data), bool((data.images[-1] > 200).any())
        ('digits-contrast-5', 1797, False)
    """
    if isinstance(severity, bool) or not 0 <= severity <= 5:
        raise DataError(f"corrupted: expected a severity from 0 to 5, got {severity}")
    clean = load_dataset(of)
    name = f"{clean.name}-{kind}-{severity}"
    if severity == 0:
        return replace(clean, name=name)
    if not (clean.splits == "test").any():
        raise DataError(f'corrupted: "{clean.name}" has no test images')
    files = not isinstance(clean.images, np.ndarray)
    kept = clean.of_split("test") if files else clean
    strength = STRENGTHS[kind][severity - 1]
    changed = []
    for place, row in enumerate(kept.ids.tolist()):
        image = read_image(kept.images[place])
        if files:
            image = ImageOps.fit(image, (_SIDE, _SIDE), Image.Resampling.BICUBIC)
        if kept.splits[place] != "test":
            changed.append(np.asarray(image))
            continue
        draw = numpy_generator(seed, "corrupted", kind, severity, row)
        changed.append(_EDITS[kind](image, strength, draw))
    return replace(kept, name=name, images=np.stack(changed))


def _pixels(values: FloatArray) -> Any:
    return np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)


def _unit(image: Image.Image) -> FloatArray:
    return np.asarray(image, dtype=np.float64) / 255


def _gaussian_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    x = _unit(image)
    return _pixels(x + c * draw.normal(size=x.shape))


def _shot_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    return _pixels(draw.poisson(_unit(image) * c) / c)


def _impulse_noise(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    x = _unit(image)
    hit = draw.random(x.shape) < c
    return _pixels(np.where(hit, draw.integers(0, 2, x.shape), x))


def _gaussian_blur(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    del draw
    radius = c * max(64, min(image.size)) / _SIDE  # less would not blur tiny images at all
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))


def _brightness(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    del draw
    x = _unit(image)
    # value of HSV up by c at equal hue and saturation: all channels times the same factor
    value = x.max(axis=-1, keepdims=True) if x.ndim == 3 else x
    lifted = np.clip(value + c, 0.0, 1.0)
    return _pixels(np.where(value > 0, x * lifted / np.where(value > 0, value, 1.0), lifted))


def _contrast(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    del draw
    x = _unit(image)
    mean = x.mean(axis=(0, 1), keepdims=True)
    return _pixels((x - mean) * c + mean)


def _pixelate(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    del draw
    small = tuple(max(1, int(side * c)) for side in image.size)
    coarse = image.resize((small[0], small[1]), Image.Resampling.BOX)
    return np.asarray(coarse.resize(image.size, Image.Resampling.BOX))


def _jpeg_compression(image: Image.Image, c: float, draw: np.random.Generator) -> Any:
    del draw
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(c))
    with Image.open(stream) as again:
        return np.asarray(again.convert(image.mode))


_EDITS: Final[Mapping[Kind, Callable[[Image.Image, float, np.random.Generator], Any]]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
