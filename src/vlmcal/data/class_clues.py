"""What tells the class of an image without a look at it: ending, size, colour mode, camera, file name."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from vlmcal.types.arrays import IntArray

_GAIN: Final = 0.25  # of the way from chance to certainty
_FEWEST: Final = 20  # images below which nothing is said
_MOST: Final = 0.5  # distinct values per image above which a clue is a name, not a property


class Clue(NamedTuple):
    """A property that tells classes apart.

    Attributes:
        what: The property.
        accuracy: Balanced accuracy of guessing the class by it, on the half that the guesses are not from.
        chance: That of guessing without it.
        examples: Values and the class that each stands for, the most frequent first.
    """

    what: str
    accuracy: float
    chance: float
    examples: tuple[tuple[str, str], ...]


def name_pattern(name: str) -> str:
    """A file name without its folder and with all numbers as #.

    Example:
        >>> name_pattern("train/ill/IM-0042-0007.jpeg")
        'IM-#-#'
    """
    return re.sub(r"\d+", "#", PurePosixPath(name).stem)


def clues(
    values: Mapping[str, Sequence[str]], labels: IntArray, class_names: Sequence[str]
) -> list[Clue]:
    """Properties by which the class is guessed clearly better than by chance.

    For each value of a property the class with the largest share of its images there is noted on the rows of
    even number and tested on those of odd number; the mean over classes of the share that is guessed right is
    compared with 1 / K.

    Example:
        >>> found = clues({"size": ["9 x 9", "8 x 8"] * 20}, np.array([0, 1] * 20), ["ill", "well"])
        >>> [(c.what, c.accuracy) for c in found]
        []
        >>> found = clues({"size": ["9 x 9"] * 20 + ["8 x 8"] * 20}, np.arange(40) // 20, ["ill", "well"])
        >>> [(c.what, c.accuracy) for c in found]
        [('size', 1.0)]
    """
    found = []
    k = len(class_names)
    if len(labels) < _FEWEST or k < 2:
        return []
    for what, cells in values.items():
        distinct = set(cells)
        if len(distinct) < 2 or len(distinct) > _MOST * len(cells):
            continue
        codes = np.unique(np.asarray(cells), return_inverse=True)[1]
        table = np.zeros((len(distinct), k))
        np.add.at(table, (codes[::2], labels[::2]), 1)
        shares = table / np.maximum(table.sum(axis=0), 1)
        guess = np.where(shares.max(axis=1) > 0, shares.argmax(axis=1), -1)
        right = guess[codes[1::2]] == labels[1::2]
        per_class = [right[labels[1::2] == c].mean() for c in range(k) if (labels[1::2] == c).any()]
        accuracy, chance = float(np.mean(per_class)), 1 / k
        if accuracy >= chance + _GAIN * (1 - chance):
            found.append(Clue(what, accuracy, chance, _examples(cells, labels, class_names)))
    return found


def _examples(
    cells: Sequence[str], labels: IntArray, class_names: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    by_value: dict[str, Counter[int]] = defaultdict(Counter)
    for cell, label in zip(cells, labels.tolist(), strict=True):
        by_value[cell][label] += 1
    frequent = sorted(by_value.items(), key=lambda pair: (-pair[1].total(), pair[0]))[:4]
    told = []
    for cell, counts in frequent:
        label, n = counts.most_common(1)[0]
        told.append((cell or "none", f"{class_names[label]} ({n} of {counts.total()})"))
    return tuple(told)
