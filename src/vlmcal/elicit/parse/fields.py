"""Labelled fields in an answer: "Answer: no", JSON, tags, headings, and "the answer is no"."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from vlmcal.elicit.parse.plain import bare, plain

ANSWER_NAMES = ("answer", "choice", "guess")
CONFIDENCE_NAMES = ("confidence", "probability", "certainty", "likelihood")
_OTHERS = ("explanation", "reasoning", "rationale", "justification", "note")

_FENCE = re.compile(r"```\w*")
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
# "Confidence: \\boxed{85}": the box belongs to its label.
_BOX_BEHIND = re.compile(
    rf"(?P<label>\b(?:{'|'.join(CONFIDENCE_NAMES)})\b[^:=\n]{{0,20}}[:=][ \t*$]*)"
    r"\\boxed\s*\{([^{}\n]*)\}",
    re.I,
)
_ROW = re.compile(
    r"^[ \t]*\|[ \t*_]*(?P<name>[A-Za-z ]{3,20}?)[ \t*_:]*\|(?P<value>[^|\n]+)\|[ \t]*$", re.M
)
# A head, a rule and one row; with more rows there is no telling which one is meant.
_TABLE = re.compile(
    r"^[ \t]*\|(?P<head>[^\n]{1,200})\|[ \t]*\n[ \t]*\|[ \t:|-]{3,200}\|[ \t]*\n"
    r"[ \t]*\|(?P<row>[^\n]{1,500})\|[ \t]*$"
    r"(?!\n[ \t]*\|)",
    re.M,
)
_OBJECT = re.compile(r"\{\s*\"")
_MOST_OBJECTS = 50  # a bound on the work that unclosed braces can cause
# Words that may stand before a label; any other ("wrong answer:") makes it none.
_BEFORE = {
    *("", "the", "my", "our", "your", "final", "best", "correct", "overall", "short", "direct"),
    *("likely", "stated", "and", "so", "thus", "therefore", "hence", "with"),
}
# "No confidence: ...", "wrong answer: ..." are about something else even behind a value.
_DENIES = {
    "no",
    "not",
    "low",
    "high",
    "wrong",
    "incorrect",
    "other",
    "alternative",
    "second",
    "diagnostic",
}
_VALUE = re.compile(r"[\s*_\"']*[~≈]?\s*\.?\d")
_HEDGED = re.compile(r"\b(if|whether|unless|suppose|assuming|not|never|cannot|doubt)\b|n't\b", re.I)
# "no, and my confidence is 80%"
_CONNECTIVE = re.compile(r"^the$|[,;]?[ ](?:and|with|my|the|i)$", re.I)
_DENIED = re.compile(r"[\s*_\"']*not\b(?! (?:visible|seen|present|clear)\b)", re.I)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


class Field(NamedTuple):
    """One labelled value.

    Attributes:
        value: Its text, without markup around it.
        final: Whether it is called final.
        end: Where it ends in the text.
    """

    value: str
    final: bool
    end: int


def find_fields(text: str, names: Sequence[str]) -> dict[str, list[Field]]:
    r"""Every value of every named field; where one is called final ("Final answer", \boxed), only those.

    A label is a line of its own ("### Answer"), a name before a colon or an equals sign, a name before a
    dash at the start of a line, a JSON key, a tag, or "the answer is" in a sentence without condition or
    negation. A value ends at the end of its line, at the next label, or (after "is") with its sentence.
    Text from :func:`plain` is expected.

    Example:
        >>> find_fields("Answer: no\nFinal answer: yes", ["answer"])
        {'answer': [Field(value='yes', final=True, end=28)]}
    """
    # Same lengths where possible, so that the ends of fields hold for the text that was given.
    text = _FENCE.sub(lambda m: " " * len(m.group()), text)
    found: dict[str, list[Field]] = {}
    wanted = {_key(name)[0]: name for name in names}
    for label, field in _all(text, tuple(names)):
        if label in wanted and field.value:
            found.setdefault(wanted[label], []).append(field)
    return {
        name: [field for field in fields if field.final] or fields for name, fields in found.items()
    }


def read_fields(text: str, names: Sequence[str]) -> dict[str, str]:
    r"""The named fields with one value each; a field with two different values is left out.

    The strict rule: neither the first nor the last of two different values wins, unless one of them is
    called final. Values that differ only in case or markup are the same.

    Args:
        text: What a model wrote.
        names: Labels, matched whatever their case; keys of the result.

    Example:
        >>> read_fields("**Answer:** No\n**Confidence:** 90%", ["answer", "confidence"])
        {'answer': 'No', 'confidence': '90%'}
        >>> read_fields("Answer: no\nAnswer: yes", ["answer"])
        {}
    """
    found = find_fields(plain(text), names)
    return {
        name: fields[-1].value
        for name, fields in found.items()
        if len({field.value.casefold() for field in fields}) == 1
    }


def _all(text: str, names: tuple[str, ...]) -> Iterator[tuple[str, Field]]:
    """Fields of JSON objects and tags, then, with those blanked, fields of labels; (key, field) each."""
    for start, end, pairs in json_objects(text):
        for key, value in _inner(pairs, names):
            written = _written(value)
            if written is not None:
                name, final = _key(key)
                yield name, Field(bare(written), final, end)
        text = text[:start] + " " * (end - start) + text[end:]
    labels, tags, headings = _patterns(names)
    for found in tags.finditer(text):
        name, final = _key(found["name"])
        yield name, Field(bare(found["value"]), final, found.end())
    text = tags.sub(lambda m: " " * len(m.group()), text)
    text = _BOX_BEHIND.sub(lambda m: f"{m['label']}{m[2]}".ljust(len(m.group())), text)
    for found in _TABLE.finditer(text):
        head, row = found["head"].split("|"), found["row"].split("|")
        if len(head) == len(row):
            for name, value in zip(head, row, strict=True):
                yield _key(bare(name))[0], Field(bare(value), False, found.end())
    text = _TABLE.sub(lambda m: " " * len(m.group()), text)
    for found in _ROW.finditer(text):
        if _key(found["name"])[0] in (*ANSWER_NAMES, *CONFIDENCE_NAMES):
            name, final = _key(found["name"])
            yield name, Field(bare(found["value"]), final, found.end())
    for found in _BOXED.finditer(text):
        yield "answer", Field(bare(found[1]), True, found.end())
    text = _BOXED.sub(lambda m: " " * len(m.group()), text)
    # A heading is made a label by a colon in the place of its line's end.
    text = headings.sub(lambda m: m.group()[:-1] + ":", text)
    matches: list[re.Match[str]] = []
    starts: list[int] = []
    for found in labels.finditer(text):
        start = found.start()
        if not _is_label(text, found):
            if not (starts and _follows(text, found, matches[-1].end())):
                continue
            start = found.start("name")
        matches.append(found)
        starts.append(start)
    for found, stop in zip(matches, [*starts[1:], len(text)], strict=False):
        yield _labelled(text, found, stop)


def _inner(pairs: list[tuple[str, Any]], names: Sequence[str]) -> list[tuple[str, Any]]:
    """The pairs that hold the fields: those of the only object inside where the outer one has none."""
    known = {_key(name)[0] for name in (*names, *ANSWER_NAMES, *CONFIDENCE_NAMES)}
    while not any(_key(key)[0] in known for key, _ in pairs):
        inside = [value for _, value in pairs if isinstance(value, _Pairs)]
        if len(inside) != 1:
            break
        pairs = inside[0].pairs
    return pairs


def _written(value: Any) -> str | None:
    """A JSON value as text: a list as its entries with commas; None for what holds no answer."""
    if isinstance(value, list):
        entries = [_written(entry) for entry in value]
        return (
            ", ".join(e for e in entries if e is not None)
            if entries and None not in entries
            else None
        )
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or isinstance(value, dict) else str(value)


def _follows(text: str, found: re.Match[str], since: int) -> bool:
    """Whether a label ends the value of the one before: "Answer: left lung Confidence: 85"."""
    told = text[since : found.start("name")]
    before = (found["before"] or "").strip(" \t_").lower()
    return (
        found["sep"] in (":", "=")
        and "\n" not in told.strip()
        and bool(bare(told))
        # "Answer: no Confidence: 80": the word is all of the value.
        and (before not in _DENIES or (before == "no" and bare(told).lower() == "no"))
        and (found["name"][0].isupper() or bool(_VALUE.match(text, found.end())))
    )


def _labelled(text: str, found: re.Match[str], stop: int) -> tuple[str, Field]:
    start = found.end()
    while start < stop and text[start] in " \t\n*_#":
        start += 1
    line_end = text.find("\n", start, stop)
    end = stop if line_end < 0 else line_end
    stated = True
    if found["sep"][0].isalpha():
        # "The answer is B? No, C.", "the answer is not B": nothing is stated.
        stated = not _DENIED.match(text, start, end)
        if sentence := _SENTENCE_END.search(text, start, end):
            stated = stated and sentence.group() != "?"
            end = sentence.start()
    final = (found["before"] or "").strip(" \t_").lower() == "final"
    value = _CONNECTIVE.sub("", bare(text[start:end])) if stated else ""
    return _key(found["name"])[0], Field(value, final, end)


def _is_label(text: str, found: re.Match[str]) -> bool:
    before = (found["before"] or "").strip(" \t_").lower()
    if before not in _BEFORE:
        return False
    start = found.start()
    if found["sep"].startswith("-"):
        line = text[max(0, start - 20) : start].rpartition("\n")[2]
        return before in ("", "final") and not bare(line) and len(line) < 20
    if found["sep"][0].isalpha():
        lead = text[max(0, start - 200) : start]
        sentence = re.split(r"[.!?\n]", lead)[-1]
        # "Answer is B" only where a sentence begins.
        return (bool(before) or not bare(sentence)) and not _HEDGED.search(sentence)
    return True


@cache
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Patterns of labels, tags and headings. Possessive quantifiers keep them linear in the text."""
    known = dict.fromkeys([*names, *ANSWER_NAMES, *CONFIDENCE_NAMES, *_OTHERS])
    ordered = sorted(map(str, known), key=len, reverse=True)
    spelled = "|".join("[ _-]".join(map(re.escape, re.split(r"[ _-]", n))) for n in ordered)
    name = f"(?P<name>{spelled})"
    labels = (
        r"(?<![^\W_])(?=[^\W_])(?P<before>[^\W\d_]++[ \t_]++)?" + name + r"(?![^\W_])"
        r"(?:[ \t_]++(?:level|score|rating|value|estimate)\b)?"
        r"[ \t]*+(?:\([^()\n]{0,40}\)[ \t]*+)?[*_\"']*+[ \t]*+"
        r"(?:(?:to|in|for)[ ](?:this|the|your|my|that)[ ](?:question|answer)[ \t]*+)?"
        r"(?:on a scale (?:of|from) [\d.]{1,4} ?(?:to|-) ?[\d.]{1,4}[ \t]*+)?"
        r"(?P<sep>[:=]|-+(?=[ \t])|(?:is|should be|would be)(?=[ \t:*\"'])[ \t]*+:?)"
    )
    tags = rf"<(?P<name>(?:final[ _-])?(?:{spelled}))>"
    return (
        re.compile(labels, re.I),
        re.compile(tags + r"(?P<value>[^<]*)</(?P=name)>", re.I),
        re.compile(
            r"^[ \t]*(?:#+[ \t]*+|\*\*)(?:final[ ])?" + name + r"[ \t]*(?:\*\*)?[ \t]*\n",
            re.I | re.M,
        ),
    )


def _key(label: str) -> tuple[str, bool]:
    """A label in one spelling without "final", and whether it had it."""
    words = re.split(r"[\s_-]+", label.strip().lower())
    final = words[0] == "final" and len(words) > 1
    return " ".join(words[1:] if final else words), final


def json_objects(text: str) -> Iterator[tuple[int, int, list[tuple[str, Any]]]]:
    """Top-level JSON objects anywhere in ``text``: start, end and all their pairs, repeated keys too.

    Numbers come as they are written, as text, so that "90" and "90.0" are not the same.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str)
    end = tried = 0
    for found in _OBJECT.finditer(text):
        if found.start() < end:
            continue
        tried += 1
        if tried > _MOST_OBJECTS:
            return
        try:
            value, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        yield found.start(), end, value.pairs


class _Pairs(dict[str, Any]):
    """An object as a mapping that remembers repeated keys."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs
