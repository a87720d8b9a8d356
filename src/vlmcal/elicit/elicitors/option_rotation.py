"""Option rotation: whether the same option is chosen wherever it stands in the list."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request, read_answer
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import AGREEMENT, conclude, unread
from vlmcal.types.question import Question
from vlmcal.types.reading import Signal


def rotations(question: Question) -> list[Question]:
    """The question with its options shifted by 1, 2, ... places, so that each has stood at each letter.

    Example:
        >>> q = Question(id="1", question="Side?", answer_type="choice", options=("left", "right", "both"))
        >>> [each.options for each in rotations(q)]
        [('right', 'both', 'left'), ('both', 'left', 'right')]
    """
    options = question.options
    return [replace(question, options=options[n:] + options[:n]) for n in range(1, len(options))]


@ELICITORS.register("option_rotation")
class OptionRotation(AfterAnswer):
    """Ask once for every rotation of the options; the confidence is the share of equal answers.

    All K orders count, the given one included. ``circular`` is 1 where all of them choose the same option:
    accuracy by CircularEval is the share of rows that are right with ``circular`` 1. ``same_letter`` is
    the share of the most frequent letter; 1 is a model that looks at places, not at options, and a model
    that follows an option has 1 / K.

    Source: Liu et al., "MMBench: is your multi-modal model an all-around player?", ECCV 2024, arXiv
    2307.06281 (CircularEval); Zheng et al., "Large language models are not robust multiple choice selectors",
    ICLR 2024, arXiv 2309.03882.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> q = Question(id="1", question="Side?", answer_type="choice", options=("left", "right", "both"))
        >>> replies = iter(["A", "C", "A"])                             # left, left, both
        >>> reading = play(OptionRotation().plan(q), lambda request: Response(text=next(replies)))
        >>> reading.answer, round(reading.confidence, 4), reading.signals["circular"]
        ('left', 0.6667, 0.0)
    """

    signals: ClassVar[Mapping[str, Signal]] = {
        **AGREEMENT,
        "circular": Signal("1 when every order of the options gives the same option, else 0."),
        "same_letter": Signal(
            "Share of the most frequent letter over all orders.", higher_is_better=False
        ),
    }

    def calls(self, question: Question) -> int:
        """One for every option."""
        return max(1, len(question.options))

    def skips(self, question: Question) -> str:
        """Only a choice has options to rotate."""
        return "" if question.answer_type == "choice" else "only a choice has options to rotate"

    def after(self, direct: Answered, question: Question) -> Plan:
        """The options as they stand, then all rotations at once."""
        answer = direct.answer
        turned = rotations(question)
        responses = yield [direct_request(each) for each in turned]
        parsed = [read_answer(*pair) for pair in zip(responses, turned, strict=True)]
        read = [(question, answer)] + [
            (q, each.answer)
            for q, each in zip(turned, parsed, strict=True)
            if each.answer is not None
        ]
        signals = {"n_parsed": float(len(read) - 1)}
        if len(read) == 1:
            return conclude(direct.parsed, (None, unread(parsed)), signals=signals)
        equal = sum(each == answer for _, each in read)
        places = [q.options.index(each) for q, each in read]
        signals |= {
            "agreement": (equal - 1) / (len(read) - 1),
            "circular": float(equal == len(turned) + 1),
            "same_letter": max(map(places.count, places)) / len(places),
        }
        return conclude(direct.parsed, (equal / len(read), "given"), signals=signals)
