"""Handwritten digits: 1,797 real images that ship with scikit-learn."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from vlmcal.data.assemble import as_templates
from vlmcal.data.base import DATASETS
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.dataset import Dataset

CLASS_NAMES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
TEMPLATE: Final = "a photo of the number {}."
# First row of each of the 14 forms: where the sequence 0 1 2 ... 9 0 1 2 ... starts anew.
FORM_STARTS: Final = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)
_SPLIT_OF_FORM: Final = ("train",) * 5 + ("val",) * 2 + ("test",) * 7


@DATASETS.register("digits")
def digits(templates: str | tuple[str, ...] = TEMPLATE) -> Dataset:
    """Load scikit-learn's digits: 8 x 8 grey images of handwritten digits, uint8.

    Pixels are round(x * 255 / 16) of the original counts x in 0 .. 16.

    The rows are not in random order: they are 14 filled-in forms of 122 to 130 digits, one after the
    other (8 of them have the very same sequence of 130 labels, the others lack a few; the original
    documentation speaks of 13 writers). Handwriting is alike within a form: the nearest neighbour of 54 % of
    the images lies in their own form, where chance would give 7 %, and a 1-nearest-neighbour classifier
    errs on 1.2 % of the images with and on 3.6 % without their own form.

    So the form is the ``group`` and the split, which has nothing random about it, keeps forms whole:
    forms 0-4 train (646 images), 5-6 val (260), 7-13 test (891). All forms ask for the same digits,
    which makes the split stratified: 64 to 66 training images per class.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, test part.

    Args:
        templates: Zero-shot prompts with one ``{}``.

    Example:
        >>> data = digits()
        >>> len(data), data.images.shape, data.class_names[3]
        (1797, (1797, 8, 8), 'three')
        >>> {split: len(data.of_split(split)) for split in ("train", "val", "test")}
        {'train': 646, 'val': 260, 'test': 891}
    """
    return _digits(as_templates(templates))


@cache
def _digits(templates: tuple[str, ...]) -> Dataset:
    levels, labels = _read()
    pixels = np.rint(levels * 255 / 16).astype(np.uint8)
    pixels.flags.writeable = False
    forms = np.searchsorted(FORM_STARTS, np.arange(len(pixels)), side="right") - 1
    return Dataset(
        name="digits",
        images=pixels,
        labels=labels,
        splits=np.asarray(_SPLIT_OF_FORM)[forms],
        class_names=CLASS_NAMES,
        templates=templates,
        groups=np.asarray([f"form-{form:02d}" for form in forms]),
    )


def _read() -> tuple[FloatArray, IntArray]:
    """Levels (N, 8, 8) of ink from 0 to 16, and digits, from the file of scikit-learn without its import."""
    found = find_spec("sklearn")
    places = () if found is None else found.submodule_search_locations or ()
    files = [Path(place, "datasets", "data", "digits.csv.gz") for place in places]
    if not files or not files[0].is_file():  # somewhere else in this version
        from sklearn.datasets import load_digits

        source = load_digits()
        return source.images, source.target
    with gzip.open(files[0], "rt") as stream:
        rows = np.loadtxt(stream, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
