"""AugMix: a picture mixed with short chains of mild distortions of itself."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

WIDTH, DEPTH = 3, 3
SEVERITY = 1.0
_MOST = 10.0  # level at which a distortion has its full strength
_LEAST = 0.1

Pixels = NDArray[np.float32]
Operation = Callable[[Image.Image, float, float], Image.Image]


def augmix(
    image: Image.Image,
    normalise: Callable[[Image.Image], Pixels],
    draw: np.random.Generator,
    severity: float = SEVERITY,
) -> Pixels:
    r"""Normalised pixels of a mixture.

    .. math:: m \, n(x) + (1 - m) \sum_{i=1}^{3} w_i \, n(chain_i(x))

    with n the normalisation, m from Beta(1, 1), w from Dirichlet(1, 1, 1), and chains of 1 to 3 operations
    out of autocontrast, equalize, posterize, rotate, solarize, shear and translate along x or y. The strength
    of each is uniform in [0.1, ``severity``] tenths of its full one (30 degrees, a shear of 0.3, a third of
    the side), the sense random. At severity 1, as in test-time tuning, a rotation is at most 3 degrees.

    Args:
        image: RGB, already cropped to its final size.
        normalise: From an image to pixels (3, H, W).
        draw: Where the random numbers come from.
        severity: From 0.1 to 10.

    Source: Hendrycks et al., AugMix: a simple data processing method to improve robustness and uncertainty,
    ICLR 2020, arXiv 1912.02781; mixed after normalising, as test-time prompt tuning does.

    Example:
        >>> grey = Image.new("RGB", (8, 8), (128, 128, 128))
        >>> pixels = augmix(grey, lambda shown: np.asarray(shown, np.float32) / 255, np.random.default_rng(0))
        >>> pixels.shape, bool(0 <= pixels.min() <= pixels.max() <= 1)
        ((8, 8, 3), True)
    """
    weights = draw.dirichlet(np.ones(WIDTH))
    kept = draw.beta(1.0, 1.0)
    mixed = kept * normalise(image)
    for weight in weights:
        shown = image
        for _ in range(int(draw.integers(1, DEPTH + 1))):
            operation = OPERATIONS[int(draw.integers(len(OPERATIONS)))]
            strength = draw.uniform(_LEAST, severity) / _MOST
            shown = operation(shown, strength, 1.0 if draw.random() < 0.5 else -1.0)
        mixed = mixed + (1 - kept) * weight * normalise(shown)
    return mixed.astype(np.float32)


def _affine(image: Image.Image, *numbers: float) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, numbers, resample=Image.Resampling.BILINEAR
    )


OPERATIONS: tuple[Operation, ...] = (
    lambda image, strength, sense: ImageOps.autocontrast(image),
    lambda image, strength, sense: ImageOps.equalize(image),
    lambda image, strength, sense: ImageOps.posterize(image, max(1, 4 - int(4 * strength))),
    lambda image, strength, sense: image.rotate(
        sense * int(30 * strength), resample=Image.Resampling.BILINEAR
    ),
    lambda image, strength, sense: ImageOps.solarize(image, 256 - int(256 * strength)),
    # shear and translate, along x and y
    lambda image, strength, sense: _affine(image, 1, sense * 0.3 * strength, 0, 0, 1, 0),
    lambda image, strength, sense: _affine(image, 1, 0, 0, sense * 0.3 * strength, 1, 0),
    lambda image, strength, sense: _affine(
        image, 1, 0, sense * int(image.width / 3 * strength), 0, 1, 0
    ),
    lambda image, strength, sense: _affine(
        image, 1, 0, 0, 0, 1, sense * int(image.height / 3 * strength)
    ),
)
