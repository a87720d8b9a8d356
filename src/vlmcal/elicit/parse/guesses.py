"""Several guesses with a probability each, as prompts for the k best guesses ask for."""

import re
from collections.abc import Iterator

from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.fields import ANSWER_NAMES, CONFIDENCE_NAMES, json_objects
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.numbers import Scale, parse_confidence
from vlmcal.elicit.parse.plain import bare, before_last_word, plain
from vlmcal.types.question import Question

# "G1: ..." and "P1: ...", in lines of their own or one behind the other.
_LETTERED = re.compile(
    r"(?<![\w])(?P<kind>g|p|guess|probability|confidence)[ _]?#?(?P<number>\d{1,2})[*\"']*[ ]*[:=]",
    re.I,
)
# "1. left lung - 80%", "2) no (0.7)", "- yes: 0.8"; what follows the separator has to begin as a number.
_LISTED = re.compile(
    r"[ \t*_>]*(?:\d{1,2}[.):]|[-•*+])[ \t*_]+(?P<answer>[^\n]*?\S)"
    r"(?:[ \t*_]+-|[ \t*_]*[:=|,(])[ \t*_]*"
    r"(?P<probability>(?:(?:about|probability|confidence)[ :=]+)?[~<>≈]?[ ]?[\d.][^:=|()\n]{0,30})\)?"
    r"[ \t*_.;,]*"
)
_NUMBERED = re.compile(r"[ \t*_>]*\d{1,2}[.):][ \t*_]+(?=\S)")
_LONGEST_LINE = 500


def parse_guesses(
    text: str, question: Question, scale: Scale, *, cut: bool = False
) -> list[tuple[str, float]]:
    r"""Answers with their stated probabilities, in the order of the text; not made to sum to one.

    Read are "G1: ... P1: ...", numbered or bulleted lines that end in a probability, and JSON objects
    with an answer and a probability each. Lines that are no guess are passed over, and a last guess without
    probability (an answer cut off). Any other guess that cannot be read, or the same answer or number
    twice, leaves nothing: with one guess missing another would pass for the best.

    Args:
        text: What the model wrote.
        question: Its type and options decide how each answer is read.
        scale: Scale that the probabilities were asked for on.
        cut: Whether the text was cut at its longest length; then its last word is not read.

    Source: Tian et al., "Just Ask for Calibration", EMNLP 2023, arXiv 2305.14975 (k best guesses).

    Example:
        >>> side = Question(id="1", question="Side?", answer_type="choice", options=("left", "right"))
        >>> parse_guesses("G1: B\nP1: 0.7\nG2: A\nP2: 0.2", side, "unit")
        [('right', 0.7), ('left', 0.2)]
    """
    text = before_last_word(plain(text)) if cut else plain(text)
    # Each way of writing is tried alone: a text that mixes two of them is read by the first that fits.
    pairs = [pair for _, _, told in json_objects(text) for pair in _of_object(told)]
    pairs = pairs or list(_lettered(text)) or list(_listed(text))
    if pairs and not pairs[-1][1].strip():
        pairs.pop()
    guesses = []
    for answer, probability in pairs:
        parsed = parse_answer(answer, question)
        value = parse_confidence(f"probability: {probability}", scale)
        if parsed.answer is None or value is None:
            return []
        guesses.append((parsed.answer, value))
    distinct = {normalise(answer) for answer, _ in guesses}
    return guesses if len(distinct) == len(guesses) else []


def _of_object(pairs: list[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    told = {key.lower(): str(value) for key, value in pairs}
    answer = next((told[name] for name in ANSWER_NAMES if name in told), None)
    if answer is not None:
        yield answer, next((told[name] for name in CONFIDENCE_NAMES if name in told), "")
    elif any(_LETTERED.fullmatch(f"{key}:") for key in told):
        yield from _lettered("\n".join(f"{key}: {value}" for key, value in told.items()))
    for _, value in pairs:
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "pairs"):
                yield from _of_object(inner.pairs)


def _lettered(text: str) -> Iterator[tuple[str, str]]:
    found = list(_LETTERED.finditer(text))
    stops = [*(label.start() for label in found[1:]), len(text)]
    answers: dict[int, str] = {}
    probabilities: dict[int, str] = {}
    for label, stop in zip(found, stops, strict=False):
        into = answers if label["kind"].lower() in ("g", "guess") else probabilities
        number = int(label["number"])
        lines = text[label.end() : stop].strip().splitlines()
        value = bare(lines[0]) if lines else ""
        # A number told twice with two values is made unreadable, so that nothing is read.
        into[number] = value if into.get(number, value) == value else "?"
    for number, answer in sorted(answers.items()):
        yield answer, probabilities.get(number, "")


def _listed(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = _LISTED.fullmatch(line) if len(line) < _LONGEST_LINE else None
        if found:
            yield found["answer"], found["probability"]
        elif number := _NUMBERED.match(line):
            yield line[number.end() :], ""
