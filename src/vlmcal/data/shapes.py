"""Generated images with compositional class names, such as "striped red circle"."""

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from vlmcal.data.base import DATASETS
from vlmcal.data.render import COLOURS, SHAPES, TEXTURES, render_shape
from vlmcal.errors import DataError
from vlmcal.seeding import numpy_generator
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed, Share

N_COMBINATIONS: Final = len(SHAPES) * len(COLOURS) * len(TEXTURES)
_PerClass = Annotated[int, Field(le=10_000)]
_SIZES: Final = (0.5, 0.95)


@DATASETS.register("shapes")
def shapes(
    n_classes: int = 40,
    *,
    n_train: _PerClass = 20,
    n_val: _PerClass = 8,
    n_test: _PerClass = 20,
    shift: Share = 0.0,
    image_size: Annotated[int, Field(ge=8, le=1024)] = 32,
    seed: Seed = 0,
    called: str = "",
) -> Dataset:
    """Draw a data set of textured, coloured shapes whose right names are known.

    A class is a texture, a colour and a shape ("striped red circle"). The first classes use every shape,
    colour and texture about equally often, in no sorted order, so that base and new halves
    share all words but no combination. Every image has its own random stream, named by seed, split, class
    and number: asking for more classes or images does not change the others. The result is kept in memory;
    nothing is written.

    Args:
        n_classes: K, 2 to 256.
        n_train: Training images per class.
        n_val: Validation images per class.
        n_test: Test images per class.
        shift: Strength of the distribution shift of all images, in [0, 1]; see
            :func:`vlmcal.data.render.render_shape`.
        image_size: Side in pixels.
        seed: Which images; class names do not depend on it.
        called: Name for reports, where several are used at once; default: shapes.

    Raises:
        DataError: A number is out of range.

    Example:
        >>> data = shapes(n_classes=40, n_train=1, n_val=0, n_test=1)
        >>> data.images.shape, data.class_names[:2]
        ((80, 32, 32, 3), ('plain red circle', 'plain orange square'))
    """
    counts = {"train": n_train, "val": n_val, "test": n_test}
    if not 2 <= n_classes <= N_COMBINATIONS:
        raise DataError(f"shapes: expected 2 to {N_COMBINATIONS} classes, got {n_classes}")
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise DataError(f"shapes: expected counts of at least 0, not all 0, got {counts}")
    made = _shapes(n_classes, tuple(counts.items()), shift, image_size, seed)
    return replace(made, name=called) if called else made


def combination(index: int) -> tuple[str, str, str]:
    """Texture, colour and shape of class ``index``; all 256 indices give different ones.

    With index = a + 8 b + 64 c: shape a, colour (a + b) mod 8, texture (b + c) mod 4.

    Example:
        >>> combination(9)
        ('striped', 'yellow', 'square')
    """
    a, rest = index % len(SHAPES), index // len(SHAPES)
    b, c = rest % len(COLOURS), rest // len(COLOURS)
    return (
        TEXTURES[(b + c) % len(TEXTURES)],
        COLOURS[(a + b) % len(COLOURS)],
        SHAPES[a],
    )


@lru_cache(maxsize=4)
def _shapes(
    n_classes: int, counts: tuple[tuple[str, int], ...], shift: float, image_size: int, seed: int
) -> Dataset:
    names = [combination(index) for index in range(n_classes)]
    rows = [
        (split, label, number)
        for split, count in counts
        for label in range(n_classes)
        for number in range(count)
    ]
    pixels = np.empty((len(rows), image_size, image_size, 3), dtype=np.uint8)
    for place, (split, label, number) in enumerate(rows):
        rng = numpy_generator(seed, "shapes", split, label, number)
        texture, colour, shape = names[label]
        pixels[place] = render_shape(
            rng,
            shape=shape,
            colour=colour,
            texture=texture,
            size=float(rng.uniform(*_SIZES)),
            shift=shift,
            image_size=image_size,
        )
    pixels.flags.writeable = False
    return Dataset(
        name="shapes",
        images=pixels,
        labels=np.asarray([label for _, label, _ in rows], dtype=np.int64),
        splits=np.asarray([split for split, _, _ in rows]),
        class_names=tuple(" ".join(words) for words in names),
        ids=np.asarray([f"{split}/{label}/{number}" for split, label, number in rows]),
    )
