"""From an image to normalised pixels, with PIL and numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import BackboneError, nearest

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {name.lower(): Image.Resampling[name] for name in Image.Resampling.__members__}


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes pixels: resize, centre crop, scale to [0, 1], normalise.

    Sizes follow the transform of the original CLIP code: the longer side after resizing is
    ``int(resize * longer / shorter)``, and the crop starts at ``round((side - size) / 2)``.

    Attributes:
        size: Side of the square crop, in pixels.
        resize: Length of the shorter side after resizing, in pixels.
        mean, std: Per channel, for values in [0, 1].
        interpolation: PIL filter name ("bicubic", "bilinear", "lanczos", "nearest", ...).
        keep_aspect: False squeezes the whole image to ``resize`` x ``resize`` instead.

    Raises:
        BackboneError: Unknown filter, or a crop larger than the resized image.

    Example:
        >>> recipe = Preprocess(size=2, resize=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> recipe(Image.new("RGB", (6, 4), (255, 0, 51)))[:, 0, 0].astype(float).round(4).tolist()
        [1.0, -1.0, -0.6]
    """

    size: int
    resize: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    keep_aspect: bool = True

    def __post_init__(self) -> None:
        if self.interpolation not in FILTERS:
            raise BackboneError(
                f'unknown interpolation "{self.interpolation}"; '
                f"{nearest(self.interpolation, FILTERS)}"
            )
        if not 0 < self.size <= self.resize:
            raise BackboneError(
                f"preprocessing: a crop of {self.size} does not fit into {self.resize} pixels"
            )

    @property
    def resample(self) -> Image.Resampling:
        """The PIL filter."""
        return FILTERS[self.interpolation]

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, before the crop, in pixels.

        Example:
            >>> Preprocess(size=224, resize=224).resized_size(640, 480)
            (298, 224)
        """
        if not self.keep_aspect:
            return self.resize, self.resize
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the centre crop, in pixels of the resized image."""
        new_width, new_height = self.resized_size(width, height)
        left, top = round((new_width - self.size) / 2), round((new_height - self.size) / 2)
        return left, top, left + self.size, top + self.size

    def crop(self, image: Image.Image) -> Image.Image:
        """The evaluation view: resized and centre-cropped to ``size`` x ``size``, 8-bit RGB."""
        target = self.resized_size(*image.size)
        resized = image.convert("RGB").resize(target, self.resample)
        return resized.crop(self.crop_box(*image.size))

    def normalise(self, image: Image.Image) -> NDArray[np.float32]:
        """Pixels (3, H, W) of an RGB image: value / 255, minus mean, divided by std."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        values = np.asarray(image, dtype=np.float32) / np.float32(255)
        pixels: NDArray[np.float32] = np.ascontiguousarray(
            ((values - mean) / std).transpose(2, 0, 1)
        )
        return pixels

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """Pixels (3, size, size), float32, of the evaluation view."""
        return self.normalise(self.crop(image))


def from_settings(settings: Mapping[str, Any], where: str) -> Preprocess:
    """The recipe stated by an image-processor file of the transformers library.

    Args:
        settings: Content of ``preprocessor_config.json``; ``size`` and ``crop_size`` may be a number,
            ``{"shortest_edge": n}`` or ``{"height": n, "width": n}``; ``resample`` is a PIL code.
        where: File name for error messages.

    Raises:
        BackboneError: A step that this function does not know or that gives no square image.

    Example:
        >>> from_settings({"size": {"shortest_edge": 256}, "crop_size": 224}, "file").resize
        256
    """
    if not settings.get("do_resize", True) or not settings.get("do_rescale", True):
        raise BackboneError(f"{where}: do_resize and do_rescale must be true")
    factor = float(settings.get("rescale_factor", 1 / 255))
    if abs(factor * 255 - 1) > 1e-6:
        raise BackboneError(f"{where}: expected rescale_factor 1/255, got {factor}")
    resize, keep_aspect = _side(settings.get("size", 224), where)
    if settings.get("do_center_crop", True):
        size = _side(settings.get("crop_size", resize), where)[0]
    elif keep_aspect:
        raise BackboneError(f"{where}: without do_center_crop the images would not be square")
    else:
        size = resize
    normalised = settings.get("do_normalize", True)
    mean = tuple(map(float, settings.get("image_mean", CLIP_MEAN))) if normalised else (0.0,) * 3
    std = tuple(map(float, settings.get("image_std", CLIP_STD))) if normalised else (1.0,) * 3
    if len(mean) != 3 or len(std) != 3:
        raise BackboneError(f"{where}: expected three values of image_mean and image_std")
    return Preprocess(
        size=size,
        resize=resize,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=_filter_name(settings.get("resample", 3), where),
        keep_aspect=keep_aspect,
    )


def _side(value: Any, where: str) -> tuple[int, bool]:
    if isinstance(value, int):
        return value, True
    if isinstance(value, Mapping):
        if value.get("shortest_edge"):
            return int(value["shortest_edge"]), True
        height, width = value.get("height"), value.get("width")
        if height and height == width:
            return int(height), False
    raise BackboneError(
        f"{where}: expected a size such as 224, {{'shortest_edge': 224}} or "
        f"{{'height': 224, 'width': 224}} (square), got {value}"
    )


def _filter_name(code: Any, where: str) -> str:
    names = {int(value): name for name, value in FILTERS.items()}
    if code not in names:
        raise BackboneError(f"{where}: expected a resample code 0 to 5, got {code!r}")
    return names[code]
