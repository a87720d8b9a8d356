"""Words outside a task: a list, and which of them name one of the task's own classes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np

from vlmcal.data.wordnet import nouns, singulars
from vlmcal.errors import DataError
from vlmcal.hashing import digest
from vlmcal.io.packed import content
from vlmcal.io.unicode_text import not_utf8, unmarked
from vlmcal.types.arrays import BoolArray

WORDNET = "wordnet"
_GAPS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, eq=False)
class OutlierVocabulary:
    """A list of distinct names that outliers are drawn from.

    Attributes:
        words: V names, without underscores.
        source: "wordnet", or the file they come from.

    Example:
        >>> words = OutlierVocabulary(("cat", "mouse", "polar bear"), "test")
        >>> words.apart_from(["mice", "Polar_Bears"]).tolist()
        [True, False, False]
    """

    words: tuple[str, ...]
    source: str

    @classmethod
    def load(cls, source: str = WORDNET) -> "OutlierVocabulary":
        """The nouns of WordNet, or a text file (.gz too) with one name per line.

        Blank lines and repeated names are left out; underscores are read as spaces.

        Raises:
            DataError: The file cannot be read, is not UTF-8 text, or holds no name.
        """
        return _wordnet() if source == WORDNET else cls(_names(Path(source)), source)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the words in order."""
        return digest(list(self.words))

    def apart_from(self, class_names: Iterable[str]) -> BoolArray:
        """Which words name none of the classes, (V,): no :func:`name_forms` in common with any."""
        taken = frozenset().union(*(name_forms(name) for name in class_names))
        return np.array([taken.isdisjoint(forms) for forms in self._forms])

    @cached_property
    def _forms(self) -> list[frozenset[str]]:
        return [name_forms(word) for word in self.words]


def name_forms(name: str) -> frozenset[str]:
    """The spellings by which a name is compared: lower case, gaps as one space, plurals as singulars.

    Underscores and hyphens are gaps. Every word of a compound may be a plural; a form holds each word as
    it is or as one of its :func:`~vlmcal.data.wordnet.singulars`. Two names overlap when they share a
    form: "Polar_Bears" and "polar bear" do, "tiger cat" and "cat" do not, nor do synonyms.

    Example:
        >>> sorted(name_forms("Polar_Bears"))
        ['polar bear', 'polar bears']
    """
    plain = _GAPS.sub(" ", name.lower()).strip()
    options = [(word, *singulars(word)) for word in plain.split(" ")]
    return frozenset(" ".join(words) for words in product(*options)) | set(singulars(plain))


@cache
def _wordnet() -> OutlierVocabulary:
    return OutlierVocabulary(nouns(), WORDNET)


def _names(path: Path) -> tuple[str, ...]:
    try:
        text = unmarked(content(path.expanduser()).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f'outlier vocabulary "{path}": {not_utf8(error)}') from error
    except (OSError, DataError) as error:
        raise DataError(
            f'outlier vocabulary "{path}" cannot be read ({error}); expected "{WORDNET}" or a UTF-8 text '
            "file with one name per line"
        ) from error
    names = _distinct(text.splitlines())
    if not names:
        raise DataError(f'outlier vocabulary "{path}" holds no name; write one per line')
    return names


def _distinct(lines: Sequence[str]) -> tuple[str, ...]:
    cleaned = (" ".join(line.replace("_", " ").split()) for line in lines)
    return tuple(dict.fromkeys(name for name in cleaned if name))
