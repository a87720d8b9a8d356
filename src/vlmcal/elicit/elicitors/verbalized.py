"""Stated confidence: the answer and a number, or a phrase, in one reply."""

from typing import Literal

from vlmcal.elicit.ask import read_answer
from vlmcal.elicit.base import ELICITORS, Elicitor, Plan
from vlmcal.elicit.parse.fields import CONFIDENCE_NAMES, find_fields
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.elicit.parse.phrases import PHRASES, parse_phrase
from vlmcal.elicit.parse.plain import bare, plain
from vlmcal.elicit.parse.thoughts import said
from vlmcal.elicit.prompts import answer_form, conversation
from vlmcal.types.chat import ImageRef, Request, Response
from vlmcal.types.question import Question
from vlmcal.types.reading import ConfidenceStatus, Reading

Style = Literal["percent", "unit", "ten", "words"]

# How the confidence is asked for; the reader is told the same scale and guesses nothing.
SCALES = {
    "percent": "how likely {} is to be correct, as a percentage from 0% to 100%",
    "unit": "the probability that {} is correct, as a decimal number between 0 and 1",
    "ten": "how likely {} is to be correct, as x/10 with x from 0 to 10",
    "words": "how likely {} is to be correct, as one of: " + "; ".join(PHRASES),
}
_PENALTY = "You lose points for a high confidence in a wrong answer, and for a low one in a right answer.\n"


def stated_form(style: Style, whose: str = "your answer") -> str:
    """How a confidence in ``whose`` answer is asked for.

    Example:
        >>> stated_form("ten", "the proposed answer")
        'how likely the proposed answer is to be correct, as x/10 with x from 0 to 10'
    """
    return SCALES[style].format(whose)


@ELICITORS.register("verbalized")
class Verbalized(Elicitor):
    """Ask for the answer and for how likely it is to be right.

    Attributes:
        style: How the confidence is stated: "percent" (0 to 100), "unit" (0 to 1), "ten" (0 to 10) or
            "words" (a phrase from an ordered list).
        cot: Let the model reason before it answers.
        punish: Warn that misplaced confidence costs points.

    Source: Tian et al., "Just Ask for Calibration", EMNLP 2023, arXiv 2305.14975 (one stage); Xiong et al.,
    ICLR 2024, arXiv 2306.13063 (with chain of thought, and with a warning).

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> reply = Response(text="Answer: Yes, Confidence: 90%")
        >>> reading = play(Verbalized().plan(question), lambda request: reply)
        >>> reading.answer, reading.confidence
        ('yes', 0.9)
    """

    style: Style = "percent"
    cot: bool = False
    punish: bool = False

    def plan(self, question: Question) -> Plan:
        """One request for two lines."""
        (response,) = yield [self.request(question)]
        return self.read(response, question)

    def request(
        self,
        question: Question,
        *,
        temperature: float = 0.0,
        sample: int = 0,
        images: tuple[ImageRef, ...] | None = None,
    ) -> Request:
        """The request; for draws at a temperature, or about other images."""
        return Request(
            messages=conversation(question, self.instruction(question), images=images),
            temperature=temperature,
            max_tokens=768 if self.cot else 96,
            sample=sample,
        )

    def read(self, response: Response, question: Question) -> Reading:
        """Answer and confidence in a response to :meth:`request`."""
        parsed = read_answer(response, question)
        confidence, state = read_stated(response, self.style)
        if parsed.answer is not None and bare(plain(response.text)) == bare(plain(parsed.answer)):
            # "2" to "How many?" is the answer, and says nothing of how sure it is.
            confidence, state = None, "missing"
        return Reading(
            status=parsed.status,
            answer=parsed.answer,
            confidence=confidence,
            confidence_status=state,
            note=parsed.note,
        )

    def instruction(self, question: Question) -> str:
        """What the model is told about the form of its reply."""
        first = "Think step by step first, then end" if self.cot else "Reply"
        return (
            f"{_PENALTY if self.punish else ''}{first} with exactly two lines:\n"
            f"Answer: {answer_form(question)}\nConfidence: {stated_form(self.style)}"
        )


def read_stated(response: Response, style: Style) -> tuple[float | None, ConfidenceStatus]:
    r"""The confidence that a response states in the form it was asked for, or why there is none.

    Example:
        >>> read_stated(Response(text="Confidence: 7"), "ten"), read_stated(Response(text="Yes."), "ten")
        ((0.7, 'given'), (None, 'missing'))
        >>> read_stated(Response(text="Confidence: 70%\nConfidence: 20%"), "percent")
        (None, 'unparsed')
    """
    if response.status == "failed":
        return None, "failed"
    if said(response.text).unfinished:
        return None, "cut"
    found = (
        parse_phrase(response.text)
        if style == "words"
        else parse_confidence(response.text, style, cut=response.cut)
    )
    if found is not None:
        return found, "given"
    if response.cut:
        return None, "cut"
    named = find_fields(plain(response.text), CONFIDENCE_NAMES)
    return None, "unparsed" if named else "missing"
