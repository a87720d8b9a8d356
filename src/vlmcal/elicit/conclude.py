"""How elicitors end: a reading from an answer, a confidence and signals; states stay states."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vlmcal.elicit.ask import read_answer
from vlmcal.elicit.clusters import same_answer
from vlmcal.elicit.parse.answers import ParsedAnswer
from vlmcal.errors import SpecError
from vlmcal.types.chat import Response
from vlmcal.types.question import Question
from vlmcal.types.reading import ConfidenceStatus, Reading, Signal


class Stated(NamedTuple):
    """A confidence, or why there is none."""

    confidence: float | None
    status: ConfidenceStatus


AGREEMENT = {
    "agreement": Signal("Share of the further answers that equal the plain answer."),
    "n_parsed": Signal(
        "Number of further answers that could be read.", high=None, higher_is_better=None
    ),
}
HALLUCINATION = {
    "hallucination": Signal(
        "1 - agreement: 0 when every further answer is the same.", higher_is_better=False
    )
}


MOST = 1000  # of anything that one question is asked


def at_least(least: int, value: int, name: str, option: str = "samples") -> None:
    """Refuse an option's value below ``least``, or above 1000: every one of them is paid for.

    Raises:
        SpecError: It is.
    """
    if value < least:
        raise SpecError(f'elicitor "{name}": expected {option} of {least} or more, got {value}')
    if value > MOST:
        raise SpecError(f'elicitor "{name}": expected {option} of at most {MOST:,}, got {value:,}')


def check_draws(least: int, samples: int, temperature: float, name: str) -> None:
    """Refuse fewer draws than ``least``, more than 1000, or draws that would all be the greedy answer.

    Raises:
        SpecError: They are, or would be.
    """
    at_least(least, samples, name)
    if not temperature > 0:
        raise SpecError(f'elicitor "{name}": expected temperature above 0, got {temperature}')


def conclude(
    parsed: ParsedAnswer,
    stated: tuple[float | None, ConfidenceStatus] = (None, "missing"),
    *,
    signals: Mapping[str, float] | None = None,
    note: str = "",
) -> Reading:
    """A reading; the confidence is cut to [0, 1] against rounding, and there is none without an answer.

    Example:
        >>> conclude(ParsedAnswer("answered", "no", ""), (1.0000001, "given")).confidence
        1.0
        >>> conclude(ParsedAnswer("failed", None, "time-out")).confidence_status
        'failed'
    """
    confidence, status = stated
    if parsed.status != "answered":
        confidence, status = None, "failed" if parsed.status == "failed" else "missing"
    return Reading(
        status=parsed.status,
        answer=parsed.answer,
        confidence=None if confidence is None else min(1.0, max(0.0, confidence)),
        confidence_status=status,
        signals=dict(signals or {}),
        note="; ".join(filter(None, (parsed.note, note))),
    )


def unread(parsed: Sequence[ParsedAnswer]) -> ConfidenceStatus:
    """Why nothing can be said from answers none of which could be read.

    Example:
        >>> unread([ParsedAnswer("failed", None, ""), ParsedAnswer("refused", None, "")])
        'missing'
    """
    states = {each.status for each in parsed}
    if states <= {"failed"}:
        return "failed"
    return next((s for s in ("unparsed", "cut") if s in states), "missing")


def agreement_reading(
    direct: ParsedAnswer,
    responses: Sequence[Response],
    question: Question,
    *,
    hallucination: bool = False,
) -> Reading:
    """Share of the readable further answers that equal the plain one, as its confidence.

    Args:
        direct: The plain answer.
        responses: To the same question asked again, or asked in another way.
        question: What was asked.
        hallucination: Whether 1 - agreement is a signal, too.

    Example:
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no")
        >>> again = [Response(text="yes"), Response(text="no"), Response(text=""), Response(text="yes")]
        >>> reading = agreement_reading(ParsedAnswer("answered", "yes", ""), again, question)
        >>> round(reading.confidence, 4), reading.signals["n_parsed"]
        (0.6667, 3.0)
    """
    parsed = [read_answer(response, question) for response in responses]
    answers = [each.answer for each in parsed if each.answer is not None]
    signals = {"n_parsed": float(len(answers))}
    if direct.answer is None or not answers:
        return conclude(direct, (None, unread(parsed)), signals=signals)
    share = sum(same_answer(direct.answer, each, question) for each in answers) / len(answers)
    signals["agreement"] = share
    if hallucination:
        signals["hallucination"] = 1.0 - share
    return conclude(direct, (share, "given"), signals=signals)
