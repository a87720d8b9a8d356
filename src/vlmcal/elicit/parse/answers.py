"""The answer to a question in the words of a model, or the state that stands for its absence."""

import re
from functools import lru_cache
from typing import NamedTuple

from vlmcal.elicit.parse.fields import ANSWER_NAMES, CONFIDENCE_NAMES, Field, find_fields
from vlmcal.elicit.parse.languages import abstains
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.options import parse_option
from vlmcal.elicit.parse.plain import LONGEST, READ_AGAIN, SHORT, bare, before_last_word, plain
from vlmcal.elicit.parse.refusal import is_refusal
from vlmcal.elicit.parse.thoughts import said
from vlmcal.elicit.parse.yes_no import parse_yes_no
from vlmcal.types.question import AnswerType, Question
from vlmcal.types.reading import AnswerStatus

_ABSTAINS = re.compile(
    r"\b(?:cannot|can't|can not|could not|couldn't|not possible to|impossible to|unable to|not able to) "
    r"(?:be )?(?:\w+ ){0,2}?(?:determin|tell|told|say|said|know|assess|evaluat|identif|confirm|decid)\w*"
    r"|\b(?:i )?(?:don't|do not) know\b|^\W*(?:unknown|unclear|uncertain|not sure|n/a|indeterminate)\W*$",
    re.I,
)
_REASONS = re.compile(
    r"\W*(?:step 1|step one|let's|let us|to (?:answer|determine)|first,|okay, so|we need to)\b",
    re.I,
)
# Every line of a choice is held against every option.
_LONGEST_CHOICE = 30_000
_LABELS = "|".join((*ANSWER_NAMES, *CONFIDENCE_NAMES, "explanation", "reasoning", "rationale"))
_OTHER_LABEL = re.compile(rf"\W*(?:{_LABELS})\b[*_\"']*\s*[:=]", re.I)
_INLINE = re.compile(
    rf"[\s,;|(\[*_-]+(?:my )?(?:{'|'.join(CONFIDENCE_NAMES)})\b[^:=\n]{{0,20}}[:=]\s*\W*\d", re.I
)
_TAIL = re.compile(
    r"[\s,;.(\[-]+(?:and )?(?:i am |i'm |with )?(?:an? )?(?:about |approximately |around |~)?"
    r"(?:(?:\d+(?:[.,]\d+)? ?%? ?(?:-|to|±) ?)?\d+(?:[.,]\d+)? ?(?:%|percent) (?:confiden\w+|certain\w*|sure)"
    r"|(?:confidence|certainty)(?: level| score)?(?: of| is| at)? ?\(?\d+(?:[.,]\d+)? ?%?)[)\].\s]*$",
    re.I,
)


# A confidence in brackets behind a closed answer: "B (confidence: 4/5)", "No (0.8)".
_BEHIND = re.compile(
    rf"[ \t]*[(\[{{][ \t]*(?P<label>(?:{'|'.join(CONFIDENCE_NAMES)})\b[ \t:=]*)?(?:about |around |~)?"
    r"(?:\d+(?:[.,]\d+)?|\.\d+)[ \t]*%?(?:[ \t]*(?:/|out of|of)[ \t]*\d+)?"
    r"(?:[ \t]*(?:confiden\w+|certain\w*|sure|sicher|sûre?|segur[oa]))?[ \t]*[)\]}](?=[ \t.*_]*$)",
    re.I | re.M,
)


class ParsedAnswer(NamedTuple):
    """What was read as the answer.

    Attributes:
        status: "answered", or why there is no answer.
        answer: "yes", "no", the text of an option, or free text; None unless answered.
        note: Why nothing was read.
    """

    status: AnswerStatus
    answer: str | None
    note: str


def parse_answer(text: str, question: Question, *, cut: bool = False) -> ParsedAnswer:
    r"""Read the answer to ``question`` in the strict way of its type.

    An answer field ("Answer: ...", JSON, tags, \boxed, "the answer is ...") goes before the rest of the
    text. Free text is the field or the first line that is not a label of something else, without markup;
    reasoning that reaches no answer, and "cannot be determined", are unparsed, not answers. A confidence
    stated behind it ("left lung, 85% confident") is no part of it.

    Args:
        text: What the model wrote.
        question: What it was asked.
        cut: Whether the reply was cut at its longest length. Then an answer that hangs on the last word,
            which may be half of one, is not read, and the status is "cut", as it is inside a thought.

    Example:
        >>> lungs = Question(id="1", question="Where?", answer_type="choice", options=("left", "right"))
        >>> parse_answer("B.", lungs).answer, parse_answer("left or right", lungs).status
        ('right', 'unparsed')
        >>> parse_answer("I'm sorry, I can't help with that.", lungs).status
        'refused'
        >>> parse_answer("<think>It may be the", lungs).status
        'cut'
    """
    if said(text).unfinished:
        return ParsedAnswer("cut", None, "the reply was cut while the model was thinking")
    text = plain(text)
    longest = _LONGEST_CHOICE if question.options else LONGEST
    if len(text) > longest:
        return ParsedAnswer(
            "unparsed", None, f"{len(text):,} letters; at most {longest:,} are read"
        )
    read = _parsed_again if len(text) <= SHORT else _parsed
    asked = question.answer_type, tuple(question.options)
    parsed = read(text, *asked)
    if not cut:
        return parsed
    shorter = read(before_last_word(text), *asked)
    if parsed.status in ("answered", "refused") and parsed[:2] == shorter[:2]:
        return parsed
    return ParsedAnswer("cut", None, f"the reply was cut: ...{' '.join(text.split())[-60:]!r}")


def _parsed(text: str, kind: AnswerType, options: tuple[str, ...]) -> ParsedAnswer:
    if not text.strip():
        return ParsedAnswer("empty", None, "the response is empty")
    fields = [f for found in find_fields(text, ANSWER_NAMES).values() for f in found]
    if is_refusal(fields[-1].value if fields else text):
        return ParsedAnswer("refused", None, "the model declined to answer")
    answer = _read(text, fields, kind, options)
    if answer is not None:
        return ParsedAnswer("answered", answer, "")
    if fields and is_refusal(text):
        return ParsedAnswer("refused", None, "the model declined to answer")
    return ParsedAnswer("unparsed", None, _why(text, fields, kind))


_parsed_again = lru_cache(maxsize=READ_AGAIN)(_parsed)


def _read(text: str, fields: list[Field], kind: AnswerType, options: tuple[str, ...]) -> str | None:
    if kind != "open" and not re.search(r"\d", " ".join(options)):
        text = _BEHIND.sub("", text)
    if kind == "yes_no":
        return parse_yes_no(text)
    if kind == "choice":
        return parse_option(text, options)
    return _free(text, fields)


def _free(text: str, fields: list[Field]) -> str | None:
    if fields:
        values = {normalise(field.value): field.value for field in fields}
        line = fields[-1].value if len(values) == 1 else ""
    else:
        lines = [line for line in text.splitlines() if bare(line) and not _OTHER_LABEL.match(line)]
        # "Here is the answer:" announces what stands in the next line.
        if len(lines) > 1 and re.search(r":[\s*_]*$", lines[0]):
            lines = lines[1:]
        line = lines[0] if lines else ""
        # "left lung (confidence: 85%)", "left lung Confidence: 85"
        if (label := _INLINE.search(line)) and bare(line[: label.start()]):
            line = line[: label.start()]
        if _REASONS.match(line) or line.lstrip().startswith(("{", "```")):
            return None
    answer = bare(_TAIL.sub("", line))
    if _ABSTAINS.search(answer) or abstains(answer) or not re.search(r"[^\W_]", answer):
        return None
    return answer


def _why(text: str, fields: list[Field], kind: AnswerType) -> str:
    told = fields[-1].value if fields else text
    if _ABSTAINS.search(told) or abstains(told):
        return "the model says that it cannot be determined"
    if len({normalise(field.value) for field in fields}) > 1:
        return f"different answers: {', '.join(sorted({repr(f.value[:40]) for f in fields}))}"
    expected = {
        "yes_no": 'neither clearly "yes" nor clearly "no"',
        "choice": "not clearly one of the options",
        "open": "no short answer found",
    }
    return f"{expected[kind]}: {' '.join(text.split())[:80]!r}"
