"""Stated confidences: a number on the scale that was asked for, read to [0, 1]."""

import re
from functools import lru_cache
from typing import Literal

from vlmcal.data.vqa.words import YES_NO
from vlmcal.elicit.parse.fields import ANSWER_NAMES, CONFIDENCE_NAMES, find_fields
from vlmcal.elicit.parse.plain import LONGEST, READ_AGAIN, SHORT, before_last_word, plain

Scale = Literal["percent", "unit", "ten"]
TOPS = {"percent": 100.0, "unit": 1.0, "ten": 10.0}

_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS: dict[str, int] = {
    **{word: n for n, word in enumerate(["zero", *_UNITS, *_TEENS, "eighteen", "nineteen"])},
    **{word: 10 * n for n, word in enumerate(_TENS, 2)},
    **{
        f"{ten} {unit}": 10 * t + u
        for t, ten in enumerate(_TENS, 2)
        for u, unit in enumerate(_UNITS, 1)
    },
    "hundred": 100,
    "a hundred": 100,
    "one hundred": 100,
}
_WORD = "|".join(sorted((w.replace(" ", "[ -]") for w in _WORDS), key=len, reverse=True))
# Denominators that a share is stated with; "50/50" and the like are figures of speech.
_BASES = frozenset((1, 2, 3, 4, 5, 10, 20, 100))
# Words count as a number before a mark, at the end of the text, and as the base of "nine out of ten".
_SPELLED = re.compile(
    rf"(?<!\w)(?=[a-z])(?P<word>{_WORD})(?=\s*(?:%|per ?cent\b|out of\b)|\s*$)"
    r"|(?<=out of )(?P<base>ten|a hundred)\b",
    re.I,
)
_PERCENT = r"\\?%|(?:per ?cent|pct|prozent|procent|pour ?cent|por ?ciento|per ?cento)\b"
_NUMBER = re.compile(
    r"(?<![\w.,/^])(?<!\^[+-])(?P<lead>%\s?)?(?P<sign>-?)(?P<digits>(?:\d+(?:[.,]\d+)?|\.\d+)(?:e[+-]?\d{1,3})?)"
    # No number of its own: "90th", "1 x 10^-3", "85+".
    r"(?![^\W\d_]|\w|[.,]\d|\+|‰|\.\.|\s?[x×*·]\s?10\b|\^)"
    rf"(?:\s?(?P<percent>{_PERCENT})|\s?(?:/|\(?(?:out )?of|\(?von|\(?sur|\(?de)\s?"
    r"(?P<base>\d+)(?![\d/]|[.,]\d))?",
    re.I,
)
# A bound or a denial is not a number: "more than 90%", "> 90%", "up to 80", "not 90%".
_BOUND = re.compile(
    r"(?:[<>≤≥±]|\b(?:more|less|greater|higher|lower) than|\bat (?:least|most)|\b(?:over|under|above|below)|"
    r"\bup to|\+/-|\bnot|n't)\s*$",
    re.I,
)
# One end of a range: "80-90% confident", "between 70 and 80% sure".
_RANGE = r"(?:-|~|±|\+/-|\b(?:to|and|or|bis|und|à|a|et|y|o)\b|至|到)"
_ENDS_RANGE = re.compile(rf"\d\s*(?:{_PERCENT})?\s*{_RANGE}\s*$", re.I)
_BEGINS_RANGE = re.compile(rf"\s*{_RANGE}\s*\.?\d", re.I)
# "9.2 x 10^1", and "85 on a scale of 0 to 100" or "(0-100)".
_POWER = re.compile(r"(?<![\w.,^])(\d(?:[.,]\d+)?)\s?[x×*·]\s?10\s?\^\s?\{?([+-]?\d{1,3})\}?(?!\w)")
# The marks of the form that was asked for, copied: "<85>".
_COPIED = re.compile(r"<(\s*\d+(?:[.,]\d+)?\s*%?\s*)>")
_ON_SCALE = re.compile(
    r"(?<=\d)(?P<percent>\s?%)?\s*\(?(?:(?:on|auf|sur|en) (?:a|the|einer|une|una) (?:scale|skala|échelle|"
    r"escala)(?: (?:of|from|von|de))? )?\b[01] ?(?:-|to|bis|à|a) ?(?P<top>1|5|10|100)\b%?\)?",
    re.I,
)
# Bounds that stand behind a number: "80 or more", "90% at most".
_BOUND_AFTER = re.compile(
    r"\s*(?:%|per ?cent)?\s*(?:(?:or|and) (?:more|less|higher|lower|above|below|over|under)|"
    r"at (?:least|most)|(?:minimum|maximum|min|max)\b|upwards?\b|plus\b)",
    re.I,
)
# A number beside a word for sureness, anywhere: "left lung, 85% confident", "with a confidence of 85%".
_BESIDE = re.compile(
    r"(?P<after>confiden\w+|certainty|sure)\W+(?:(?:is|of|at|level|score|about|around|approximately)\W+){0,3}$"
    r"|^\W*(?P<before>(?:confiden|certain|(?:sure|sicher|sûre?|segur[oa])\b))",
    re.I,
)
# "yes (85%)", "B (85%)": a share in brackets behind a closed answer; behind free text it may be part of it.
_BRACKETED = re.compile(
    r"[\s*_\"']*(?:\[?(?:" + "|".join(sorted(YES_NO, key=len, reverse=True)) + r")\]?|"
    r"[(\[]?[A-Za-z][)\]]?[.)]?)[*_\"']*\s*[(\[{]"
    r"\s*(?P<number>[^()\[\]{}]*\d[^()\[\]{}]*)[)\]}][\s.*。]*",
    re.I,
)
# "Yes, 85%", "B, 85%": behind a colon it may be the text of an option.
_FOLLOWED = re.compile(
    r"[\s*_\"']*(?:(?:yes|no)[*_\"']*\s*[,;:-]|[A-Z][*_\"']*\s*,)\s*(?P<number>\d+(?:[.,]\d+)?\s?%)[\s.*]*",
    re.I,
)
_BOXED = re.compile(r"\s*\$?\\boxed\s*\{([^{}]*)\}\$?[\s.]*")
# Sureness of the speaker; "a 30% chance of malignancy" is about the image, not about the answer.
_CONFIDENT = re.compile(r"\b(?:confiden|certain|(?:sure|correct|sicher|sûre?|segur[oa])\b)", re.I)
_FILLER = re.compile(
    r"\b(?:about|around|approximately|approx|roughly|i'd say|i would say|i am|i'm)\b|[\W_]+", re.I
)


def parse_confidence(text: str, scale: Scale, *, cut: bool = False) -> float | None:
    r"""Read a confidence in [0, 1] from ``text``, which was asked for on ``scale``.

    A number without a mark is divided by the top of the declared scale (100, 1 or 10) and never guessed
    from its size. A mark wins over the declared scale: "90%" and "ninety percent" are 0.9, "9/10",
    "4/5" and "9 out of 10" are what they say (denominators 1 to 5, 10, 20 and 100, but not "50/50"), "1%"
    is 0.01, "1e-3" is 0.001. None for a number off its scale or negative; under "percent" and "ten" for an
    unmarked decimal fraction of at most 1 ("0.9" could be 0.9 or 0.9 %; a zero is a zero); for bounds
    ("over 90%"), ranges, and two different numbers.

    The number is looked for in the fields labelled confidence, probability, certainty or likelihood.
    Without one, it has to be all of the text but filler words, all of the second of two lines, in brackets
    behind a closed answer, beside a word for being sure ("85% confident"), or the only number of a text
    without an answer field that speaks of being sure or correct ("I am 90% sure").

    Args:
        text: What the model wrote.
        scale: That was asked for.
        cut: Whether the reply was cut at its longest length. Then a number that may go on behind the cut
            is not read: "Confidence: 8" may have become 85.

    Example:
        >>> parse_confidence("Confidence: 1%", "unit"), parse_confidence("95,5 %", "percent")
        (0.01, 0.955)
        >>> parse_confidence("7", "ten"), parse_confidence("0.9", "percent")
        (0.7, None)
        >>> parse_confidence("Confidence: 8", "percent", cut=True) is None
        True
    """
    if len(text) > LONGEST and len(plain(text)) > LONGEST:
        return None
    read = _confidence_again if len(text) <= SHORT else _confidence
    found = read(plain(text), scale)
    return found if not cut or found == _confidence(plain(before_last_word(text)), scale) else None


def _confidence(text: str, scale: Scale) -> float | None:
    # First of all, since the cross may be a star, which is markup elsewhere.
    text = _POWER.sub(lambda m: f"{m[1]}e{m[2]}", text)
    fields = find_fields(text, CONFIDENCE_NAMES)
    if fields:
        read = {_only(f.value, scale) for found in fields.values() for f in found}
        return read.pop() if len(read) == 1 else None
    if boxed := _BOXED.fullmatch(text):
        text = boxed[1]
    text = _spelled_out(text)
    answers = [f.value for found in find_fields(text, ANSWER_NAMES).values() for f in found]
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 2 and not _NUMBER.search(lines[0]) and _alone(lines[1]):
        return _only(lines[1], scale)
    behind = answers[-1] if answers else text
    bracketed = _BRACKETED.fullmatch(behind) or _FOLLOWED.fullmatch(behind)
    if bracketed and _alone(bracketed["number"]):
        return _only(bracketed["number"], scale)
    if _alone(text):
        return _only(text, scale)
    if _CONFIDENT.search(text) and not answers and (only := _only(text, scale)) is not None:
        return only
    beside = {
        None if _in_range(found, text) else _value(found, text, scale)
        for found in _NUMBER.finditer(text)
        if _is_beside(found, text)
    }
    return beside.pop() if len(beside) == 1 else None


_confidence_again = lru_cache(maxsize=READ_AGAIN)(_confidence)


def _alone(text: str) -> bool:
    return bool(_NUMBER.search(text)) and not _FILLER.sub("", _NUMBER.sub("", text))


def _is_beside(found: re.Match[str], text: str) -> bool:
    before, after = (
        text[max(0, found.start() - 60) : found.start()],
        text[found.end() : found.end() + 20],
    )
    told = _BESIDE.search(before), _BESIDE.search(after)
    return bool((told[0] and told[0]["after"]) or (told[1] and told[1]["before"]))


def _in_range(found: re.Match[str], text: str) -> bool:
    before = text[max(0, found.start() - 20) : found.start()]
    return bool(_ENDS_RANGE.search(before) or _BEGINS_RANGE.match(text, found.end()))


def _spelled_out(text: str) -> str:
    """``text`` with number words and scales as digits.

    Words count where they are marked as a share or end the text.
    """
    text = _SPELLED.sub(
        lambda m: str(_WORDS[re.sub(r"[\s-]+", " ", (m["word"] or m["base"]).lower())]), text
    )
    text = _COPIED.sub(r"\1", text)
    return _ON_SCALE.sub(lambda m: m["percent"] or f"/{m['top']}", text)


def _only(text: str, scale: Scale) -> float | None:
    """The value of the only number of ``text``, or of all if they are the same."""
    text = _spelled_out(text)
    numbers = list(_NUMBER.finditer(text))
    read = {_value(found, text, scale) for found in numbers}
    if len(read) == 2 and None in read:
        # "0.85 (85%)": a fraction that could not be read alone is what the marked number says.
        (known,) = read - {None}
        unread = [found for found in numbers if _value(found, text, scale) is None]
        if all(_fraction(found["digits"]) == known and not found["sign"] for found in unread):
            return known
    return read.pop() if len(read) == 1 else None


def _fraction(digits: str) -> float | None:
    number = float(digits.replace(",", "."))
    return number if 0 < number <= 1 and not digits.isdecimal() else None


def _value(found: re.Match[str], text: str, scale: Scale) -> float | None:
    digits = found["digits"]
    if found["sign"] or _BOUND.search(text[max(0, found.start() - 20) : found.start()]):
        return None
    if _BOUND_AFTER.match(text, found.end()):
        return None
    if re.fullmatch(r"[1-9]\d*,\d{3}", digits):
        return None  # a comma for thousands or for decimals: nobody can tell
    number = float(digits.replace(",", "."))
    if found["percent"] or found["lead"]:
        top = 100.0
    elif found["base"]:
        top = float(found["base"])
        if top not in _BASES:
            return None
    else:
        top = TOPS[scale]
        if top > 1 and _fraction(digits) is not None:
            return None
    return number / top if number <= top else None
