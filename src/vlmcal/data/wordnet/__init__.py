"""WordNet 3.0's nouns and the singulars of plurals, after WordNet's own rules; licence in LICENSE.txt."""

import gzip
from collections.abc import Mapping
from functools import cache
from importlib import resources

# Regular plural endings and what they stand for.
ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)


@cache
def nouns() -> tuple[str, ...]:
    """All 117 744 lemmas, lower case, words of a compound separated by spaces, sorted.

    Source:
        Miller, WordNet: a lexical database for English, Communications of the ACM 38(11), 1995;
        version 3.0, without lemmas that hold no letter.

    Example:
        >>> len(nouns()), nouns()[0], nouns()[-1]
        (117744, "'hood", 'zyrian')
    """
    return tuple(_lines("nouns.txt.gz"))


@cache
def _known() -> frozenset[str]:
    return frozenset(nouns())


@cache
def _irregular() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in _lines("irregular_plurals.txt.gz"):
        plural, *bases = (word.replace("_", " ") for word in line.split())
        found[plural] = (*found.get(plural, ()), *bases)
    return found


def singulars(noun: str) -> tuple[str, ...]:
    """What a lower-case noun, one word or a compound, may be the plural of; nothing for a singular.

    As WordNet looks words up: irregular plurals come from a list; otherwise each regular ending is
    replaced ("ches" by "ch", ...) and the result counts if WordNet has it. Words of one or two letters and
    words in "ss" stay; "ful" is set aside ("boxesful"). WordNet takes the first result, this returns all.

    Source:
        WordNet 3.0, morphy(7WN): rules of detachment for nouns, and the exception list noun.exc.

    Example:
        >>> singulars("mice"), singulars("axes"), singulars("boxesful"), singulars("glass")
        (('mouse',), ('ax', 'axis'), ('boxful',), ())
    """
    if noun in _irregular():
        return _irregular()[noun]
    stem, tail = (noun[:-3], "ful") if noun.endswith("ful") else (noun, "")
    if len(stem) <= 2 or stem.endswith("ss"):
        return ()
    ends = [(old, new) for old, new in ENDINGS if stem.endswith(old)]
    bases = (stem.removesuffix(old) + new for old, new in ends)
    return tuple(base + tail for base in bases if base in _known())


def _lines(name: str) -> list[str]:
    packed = (resources.files(__name__) / name).read_bytes()
    return gzip.decompress(packed).decode("ascii").splitlines()
