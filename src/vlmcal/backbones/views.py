"""Views of an image: the centre crop, and seeded random crops that can be drawn again at any time."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vlmcal.backbones.augmix import augmix
from vlmcal.backbones.preprocess import FILTERS, Preprocess
from vlmcal.errors import SpecError
from vlmcal.seeding import numpy_generator

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
FLIP_PROBABILITY = 0.5
_ATTEMPTS = 10


class View(NamedTuple):
    """A crop box as fractions of the image's width and height, and whether it is mirrored."""

    left: float
    top: float
    right: float
    bottom: float
    flip: bool


@dataclass(frozen=True)
class Draw:
    """How the views of an image are drawn.

    Attributes:
        count: 1 for the centre view; V > 1 for V random views.
        seed: Of the random views.
        flip: Whether half of them are mirrored.
        interpolation: PIL filter that random views are resized with; None for that of the evaluation view.
        augmix: Mix every random view with distortions of itself, see :mod:`vlmcal.backbones.augmix`.
    """

    count: int = 1
    seed: int = 0
    flip: bool = True
    interpolation: str | None = None
    augmix: bool = False


def centre_view(size: tuple[int, int], preprocess: Preprocess) -> View:
    """The part of an image of ``size`` (width, height) that the evaluation transform shows.

    Example:
        >>> centre_view((200, 100), Preprocess(size=32, resize=32))
        View(left=0.25, top=0.0, right=0.75, bottom=1.0, flip=False)
    """
    width, height = preprocess.resized_size(*size)
    left, top, right, bottom = preprocess.crop_box(*size)
    return View(left / width, top / height, right / width, bottom / height, False)


def random_view(
    size: tuple[int, int], *, seed: int, item_id: str, index: int, flip: bool = True
) -> View:
    """Random-resized crop number ``index`` of an item, mirrored with probability 0.5.

    Area is uniform in 8 to 100 percent of the image, aspect ratio log-uniform in 3/4 to 4/3; after
    ten draws that do not fit, the largest centred box of a valid ratio. The draw depends on (seed,
    item id, index) and the image's size only, so neither order nor number of views matters, and
    ``flip=False`` gives the same boxes unmirrored.

    Args:
        size: Width and height of the image, in pixels.
        seed: Seed of the bank of views.
        item_id: The item's id in its data set.
        index: Number of the view, from 0.
        flip: False where mirroring changes the meaning (digits, letters, sides of a body).

    Example:
        >>> view = random_view((100, 80), seed=1, item_id="a", index=0)
        >>> [round(x, 4) for x in view[:4]], view.flip
        ([0.09, 0.025, 1.0, 0.925], False)
    """
    draw = numpy_generator(seed, "views", item_id, index)
    mirrored = bool(draw.random() < FLIP_PROBABILITY) and flip
    width, height = size
    for _ in range(_ATTEMPTS):
        area = width * height * draw.uniform(*SCALE)
        ratio = math.exp(draw.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draw.integers(width - w + 1)), int(draw.integers(height - h + 1))
            return _fractions(size, left, top, w, h, mirrored)
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    return _fractions(size, (width - w) // 2, (height - h) // 2, w, h, mirrored)


def _fractions(size: tuple[int, int], left: int, top: int, w: int, h: int, flip: bool) -> View:
    width, height = size
    return View(left / width, top / height, (left + w) / width, (top + h) / height, flip)


def image_views(
    size: tuple[int, int],
    preprocess: Preprocess,
    *,
    views: int,
    seed: int,
    item_id: str,
    flip: bool = True,
) -> list[View]:
    """The views of one item: the centre view alone for 1, else that many random views.

    Raises:
        SpecError: ``views`` is below 1.

    Example:
        >>> recipe = Preprocess(size=32, resize=32)
        >>> len(image_views((64, 48), recipe, views=20, seed=1, item_id="a"))
        20
    """
    if views < 1:
        raise SpecError(f"views: expected 1 (the centre crop) or more random crops, got {views}")
    if views == 1:
        return [centre_view(size, preprocess)]
    return [
        random_view(size, seed=seed, item_id=item_id, index=index, flip=flip)
        for index in range(views)
    ]


def draw_views(
    image: Image.Image, draw: Draw, preprocess: Preprocess, item_id: str
) -> tuple[NDArray[np.float32], list[View]]:
    """Pixels (V, 3, size, size) of the views of one item, and their boxes; the same ones each time.

    Example:
        >>> pixels, boxes = draw_views(Image.new("RGB", (9, 9)), Draw(3), Preprocess(size=4, resize=4), "a")
        >>> pixels.shape, len(boxes)
        ((3, 3, 4, 4), 3)
    """
    boxes = image_views(
        image.size, preprocess, views=draw.count, seed=draw.seed, item_id=item_id, flip=draw.flip
    )
    random = draw.count > 1
    pixels = []
    for index, box in enumerate(boxes):
        shown = _shown(image, box, preprocess, draw.interpolation if random else None)
        if draw.augmix and random:
            stream = numpy_generator(draw.seed, "augmix", item_id, index)
            pixels.append(augmix(shown, preprocess.normalise, stream))
        else:
            pixels.append(preprocess.normalise(shown))
    return np.stack(pixels), boxes


def render_view(image: Image.Image, view: View, preprocess: Preprocess) -> NDArray[np.float32]:
    """Normalised pixels (3, size, size) of a view; the same ones each time.

    The box of the centre view means the evaluation transform (resize, then crop); any other box is
    cut out and then resized to the square, as random-resized crops are.

    Example:
        >>> recipe = Preprocess(size=1, resize=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        >>> image = Image.fromarray(np.array([[0, 255]], np.uint8))
        >>> render_view(image, View(0.5, 0.0, 1.0, 1.0, False), recipe).ravel().tolist()
        [1.0, 1.0, 1.0]
    """
    return preprocess.normalise(_shown(image, view, preprocess, None))


def _shown(
    image: Image.Image, view: View, preprocess: Preprocess, interpolation: str | None
) -> Image.Image:
    left, top, right, bottom = map(float, view[:4])
    box = View(left, top, right, bottom, False)
    if box == centre_view(image.size, preprocess):
        shown = preprocess.crop(image)
    else:
        width, height = image.size
        corners = (
            round(box.left * width),
            round(box.top * height),
            round(box.right * width),
            round(box.bottom * height),
        )
        side = (preprocess.size, preprocess.size)
        resample = FILTERS[interpolation] if interpolation else preprocess.resample
        shown = preprocess.rgb(image).crop(corners).resize(side, resample)
    if view[4]:
        shown = ImageOps.mirror(shown)
    return shown
