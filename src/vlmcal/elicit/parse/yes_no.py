"""Yes or no, or neither: words are read, never prefixes, and nothing is concluded from prose."""

import re
from typing import cast

from vlmcal.data.vqa.words import YesNo
from vlmcal.elicit.parse.fields import ANSWER_NAMES, Field, find_fields
from vlmcal.elicit.parse.languages import foreign_yes_no
from vlmcal.elicit.parse.plain import plain

# How JSON says it; only as the value of a field.
_TRUTH: dict[str, YesNo] = {"true": "yes", "false": "no"}
# "yes or no" asks or explains; it answers nothing.
_EITHER = re.compile(
    r"[\"']?\b(?:yes|no)\b[\"']?(?: or | and/or |[ ]?[/|\\][ ]?|-or-|-)[\"']?\b(?:yes|no)\b[\"']?",
    re.I,
)
_LEAD_IN = (
    r"(?:(?:so|well|overall|therefore|thus|hence|ok(?:ay)?|in (?:this|the) \w+|"
    r"(?:based on|according to|from) (?:this|the)(?: \w+){1,4}),? )?"
    r"(?:(?:i (?:would |'d )?|i'd )(?:say|think|believe)[,:]? )?"
    r"(?:(?:definitely|probably|most likely|likely|clearly|certainly|absolutely),? )?"
)
# After "yes" anything may follow; "no" before a noun is a determiner ("no effusion is seen"), which answers
# some questions with no and others with yes. So it counts only before punctuation or a new clause.
_CLAUSE = (
    r"(?:there|it|this|that|the|these|those|its|i|we|he|she|they|you|because|since|as|from|based|"
    r"according)\b"
)
_OPENING = re.compile(
    rf"{_LEAD_IN}[*_\"'(\[]*(?P<word>yes|no)(?![^\W_]|[-/|\\_'][^\W_])"
    rf"(?:[*_\"')\]]*(?:[ \t]*(?:$|[.,;:!?\n(-](?!\d))|[ \t]+(?:{_CLAUSE})|(?P<other>)))",
    re.I,
)
# The word as an answer in running text: at the end of a clause, and not the abbreviation of a number.
_DIRECT = re.compile(
    r"(?<![\w-])(?:(?P<yes>yes)(?![\w-])|(?P<no>no)[*_\"')\]]*(?=[ \t]*(?:$|[,;:!?\n]|\.(?![ ]?\d))))",
    re.I,
)
_ABOUT_THE_WORD = re.compile(
    r"[\"'*_]*[ \t]+(?:is|was|would|seems|isn't|cannot|and|nor|or|but|if|unless)\b", re.I
)
# Characters that may stand before an answer; another symbol (a cross, "≠") may turn it round.
_BEFORE_ANSWER = re.compile(r"[\s*_#>~`'\"(\[{.,:;$|•·-]*")


def parse_yes_no(text: str) -> YesNo | None:
    """Read "yes" or "no" out of a model's answer; None when it is neither, both, negated or only implied.

    Read are, in this order: an answer field ("Answer: No", JSON, "the answer is no"), the opening of the
    text ("Yes, there is ..."), a line that is nothing but the word. The readings must agree, and what
    follows must not take the answer back ("no, wait, yes"). Free text without the word ("there is no
    evidence of effusion") is not interpreted, nor are other words ("nope", "true" outside a field). Other
    languages are read by the table of :mod:`vlmcal.data.vqa.words`, where the word stands alone or opens
    the text before a comma or full stop.

    Example:
        >>> parse_yes_no("**Answer:** No"), parse_yes_no("Yes, there is a mass."), parse_yes_no("normal")
        ('no', 'yes', None)
        >>> parse_yes_no("no, wait, yes"), parse_yes_no("No evidence of mass."), parse_yes_no("yes or no?")
        (None, None, None)
        >>> parse_yes_no("是的。"), parse_yes_no("Nein, nichts."), parse_yes_no('{"answer": true}')
        ('yes', 'no', 'yes')
    """
    text = plain(text)
    fields = [f for found in find_fields(text, ANSWER_NAMES).values() for f in found]
    return _from_fields(text, fields) if fields else _from_text(text)


def _from_fields(text: str, fields: list[Field]) -> YesNo | None:
    readings = {_TRUTH.get(field.value.lower()) or _opening(field.value) for field in fields}
    if len(readings) != 1 or (answer := readings.pop()) is None:
        return None
    if _first_word(text)[0] not in (None, answer):
        return None
    last = max(field.end for field in fields)
    return None if _taken_back(answer, text[last:]) else answer


def _from_text(text: str) -> YesNo | None:
    if answer := _opening(text):
        return answer
    lines = [line for line in text.splitlines() if line.strip()]
    alone = {_alone(line) for line in lines} - {None}
    if len(alone) != 1:
        return None
    answer = alone.pop()
    assert answer is not None
    return None if _taken_back(answer, text) else answer


def _alone(line: str) -> YesNo | None:
    found = re.fullmatch(r"[\s*_#>\"'(\[-]*(yes|no)[\s*_\"'.)\]!]*", line, re.I)
    return cast(YesNo, found[1].lower()) if found else None


def _opening(text: str) -> YesNo | None:
    """The word that ``text`` opens with, if the rest does not take it back."""
    word, rest = _first_word(text)
    if word is None:
        return foreign_yes_no(text)
    return None if _taken_back(word, rest) else word


def _first_word(text: str) -> tuple[YesNo | None, str]:
    """The word that ``text`` opens with, if it stands as an answer, and the rest."""
    start = _BEFORE_ANSWER.match(text)
    body = text[start.end() if start else 0 :]
    found = _OPENING.match(body)
    if found is None or _EITHER.match(body):
        return None, ""
    word = cast(YesNo, found["word"].lower())
    rest = body[found.end("word") :]
    determiner = word == "no" and found["other"] is not None
    questioned = re.match(r"[\s*_\"')]*\?", rest)
    return (None if determiner or questioned or _ABOUT_THE_WORD.match(rest) else word), rest


def _taken_back(answer: YesNo, rest: str) -> bool:
    opposite = "no" if answer == "yes" else "yes"
    rest = _EITHER.sub(" ", rest)
    return any(found[opposite] for found in _DIRECT.finditer(rest))
