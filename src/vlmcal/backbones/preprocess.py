"""From an image to normalised pixels, with PIL and numpy only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import BackboneError, nearest

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {name.lower(): Image.Resampling[name] for name in Image.Resampling.__members__}
# Fields that came later; left out of keys and files while they say what was meant before.
_LATER = {"fill": None, "convert_first": True}


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
        fill: Colour of the borders where the *longer* side is resized to ``resize`` and the rest of the
            square is filled, so that nothing is cut off; None crops.
        convert_first: Pictures with transparency or a palette become RGB before they are resized
            (transformers), or after, as they are stored (OpenAI's code, open_clip, CONCH).

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
    fill: tuple[int, int, int] | None = None
    convert_first: bool = True

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
        if self.fill is not None:
            ratio = max(width, height) / self.resize
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the centre crop, in pixels of the resized image."""
        new_width, new_height = self.resized_size(width, height)
        if self.fill is not None:
            left, top = -((self.size - new_width) // 2), -((self.size - new_height) // 2)
            return left, top, left + self.size, top + self.size
        left, top = round((new_width - self.size) / 2), round((new_height - self.size) / 2)
        return left, top, left + self.size, top + self.size

    def crop(self, image: Image.Image) -> Image.Image:
        """The evaluation view: resized and centre-cropped to ``size`` x ``size``, 8-bit RGB."""
        box = self.crop_box(*image.size)
        shown = self.rgb(image) if self.convert_first else image
        shown = shown.resize(self.resized_size(*image.size), self.resample)
        if self.fill is None:
            return self.rgb(shown.crop(box))
        square = Image.new("RGB", (self.size, self.size), self.fill)
        square.paste(self.rgb(shown), (-box[0], -box[1]))
        return square

    def rgb(self, image: Image.Image) -> Image.Image:
        """The image as 8-bit RGB."""
        return image.convert("RGB")

    def describe(self) -> dict[str, Any]:
        """The recipe as plain data, for keys and files."""
        values = asdict(self)
        return {k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]}

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


@dataclass(frozen=True)
class PaddedGrey(Preprocess):
    """MedCLIP's recipe: grey, on a black square of side max(size, width, height), then resized.

    Pictures smaller than ``size`` are padded, never enlarged. All three channels hold the grey value.

    Example:
        >>> recipe = PaddedGrey(size=4, resize=4, mean=(0.0,) * 3, std=(1.0,) * 3)
        >>> recipe(Image.new("RGB", (2, 4), (255, 255, 255)))[0, 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the picture inside the resized square."""
        ratio = self.size / max(self.size, width, height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The square, in pixels of the resized picture; it begins left of and above it."""
        new_width, new_height = self.resized_size(width, height)
        left, top = -((self.size - new_width) // 2), -((self.size - new_height) // 2)
        return left, top, left + self.size, top + self.size

    def crop(self, image: Image.Image) -> Image.Image:
        """The evaluation view: padded, resized to ``size`` x ``size``, 8-bit RGB."""
        side = max(self.size, *image.size)
        square = Image.new("L", (side, side), 0)
        at = (int((side - image.width) / 2), int((side - image.height) / 2))
        square.paste(image.convert("RGB").convert("L"), at)
        return square.resize((self.size, self.size), self.resample).convert("RGB")

    def rgb(self, image: Image.Image) -> Image.Image:
        """The grey image as 8-bit RGB."""
        return image.convert("RGB").convert("L").convert("RGB")

    def describe(self) -> dict[str, Any]:
        """The recipe as plain data, for keys and files."""
        return {"kind": "padded_grey", **super().describe()}


def from_open_clip(settings: Mapping[str, Any], size: int, where: str) -> Preprocess:
    """The recipe of an ``open_clip_config.json``.

    Args:
        settings: Its ``preprocess_cfg``: mean, std, interpolation, resize_mode, fill_color, size.
        size: Image size of the model, where the settings name none.
        where: File name for error messages.

    Raises:
        BackboneError: An interpolation or resize mode that is not known here.

    Example:
        >>> from_open_clip({"resize_mode": "squash"}, 32, "file").keep_aspect
        False
    """
    stated = settings.get("size", size)
    side = int(stated if isinstance(stated, int) else stated[0])
    mode, fill = settings.get("resize_mode", "shortest"), settings.get("fill_color", 0)
    if mode not in {"shortest", "squash", "longest"}:
        raise BackboneError(
            f'{where}: unknown resize_mode "{mode}"; valid: shortest, squash, longest'
        )
    colour = tuple(fill) if isinstance(fill, (list, tuple)) else (int(fill),) * 3
    mean, std = settings.get("mean", CLIP_MEAN), settings.get("std", CLIP_STD)
    return Preprocess(
        size=side,
        resize=side,
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        interpolation=str(settings.get("interpolation", "bicubic")),
        keep_aspect=mode != "squash",
        fill=(colour[0], colour[1], colour[2]) if mode == "longest" else None,
        convert_first=False,
    )


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
