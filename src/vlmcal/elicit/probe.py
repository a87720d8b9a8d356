"""Asking about a proposed answer: for a number, or whether it is true."""

from vlmcal.elicit.ask import spoken
from vlmcal.elicit.conclude import Stated
from vlmcal.elicit.elicitors.verbalized import Style, stated_form
from vlmcal.elicit.prompts import conversation
from vlmcal.elicit.tokens import TOP, word_confidence, word_token
from vlmcal.types.chat import Request, Response, Speaker
from vlmcal.types.question import Question

TRUTH = ("true", "false")


def number_request(
    question: Question, answer: str, style: Style, speaker: Speaker = "subject"
) -> Request:
    """Shows a proposed answer and asks how likely it is to be right."""
    instruction = (
        f"Proposed answer: {spoken(answer, question)}\n\nReply with exactly one line:\n"
        f"Confidence: {stated_form(style, 'the proposed answer')}"
    )
    return Request(messages=conversation(question, instruction), max_tokens=64, speaker=speaker)


def truth_request(question: Question, answer: str, speaker: Speaker = "subject") -> Request:
    """Shows a proposed answer and asks whether it is true, with log-probabilities."""
    instruction = (
        f"Proposed answer: {spoken(answer, question)}\n\n"
        "Is the proposed answer true or false? Answer with True or False only."
    )
    return Request(
        messages=conversation(question, instruction), max_tokens=16, logprobs=TOP, speaker=speaker
    )


def read_truth(response: Response, *, normalise: bool = True) -> tuple[Stated, dict[str, float]]:
    """Probability of "true" at the token that says true or false, or why there is none, and its signals.

    Example:
        >>> import math
        >>> from vlmcal.types.chat import Alternative, Token
        >>> top = (Alternative("True", math.log(0.6)), Alternative("False", math.log(0.2)))
        >>> said = Response(text="True", tokens=(Token("True", math.log(0.6), top),))
        >>> round(read_truth(said)[0].confidence, 4)
        0.75
    """
    if response.status == "failed":
        return Stated(None, "failed"), {}
    if response.status == "filtered" or not response.text.strip():
        return Stated(None, "cut" if response.cut else "missing"), {}
    if not response.tokens:
        return Stated(None, "unsupported"), {}
    return word_confidence(word_token(response, TRUTH), TRUTH, "true", normalise=normalise)
