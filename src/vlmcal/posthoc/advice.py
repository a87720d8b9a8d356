"""One line for every question that was asked: what was said, how probable it is, and what to do with it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from vlmcal.elicit.answers import Answer
from vlmcal.posthoc.decisions import Decisions
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import QuestionSet

ASK = "ask a human"
RELY = "rely"


@dataclass(frozen=True)
class Advised:
    """What a reader of one answer is told.

    Attributes:
        id, group, question: Of the question.
        answer: As it was read; None where none was.
        gold: Accepted answers, joined by "|".
        correct: Verdict; None without one.
        status: "answered", "refused", "unparsed", "empty", "failed" or "cut".
        stated: Confidence as stated, in [0, 1]; None where there is none.
        probability: Calibrated; None where answer, verdict or confidence are missing.
        low, high: Interval of the probability; None likewise, or where none was computed.
        similar_right, similar_n: Share of right ones among similar past answers, and their number.
        action: "rely" or "ask a human"; always the latter without a probability.
    """

    id: str
    group: str
    question: str
    answer: str | None
    gold: str
    correct: bool | None
    status: str
    stated: float | None
    probability: float | None
    low: float | None
    high: float | None
    similar_right: float | None
    similar_n: int | None
    action: str


def advised(
    questions: QuestionSet,
    answers: Sequence[Answer],
    elicitor: str,
    decisions: Decisions | None = None,
    calibrated: Confidences | None = None,
) -> list[Advised]:
    """A line for every question put to one elicitor, in the order of the answers; none is left out.

    Args:
        questions: What was asked.
        answers: Of all elicitors.
        elicitor: Label of the one that is told about.
        decisions: Of :func:`~vlmcal.posthoc.decisions.decide`; without them every answer is for a human.
        calibrated: Probabilities where there are no decisions.

    Example:
        >>> from vlmcal.types.question import Question
        >>> from vlmcal.types.reading import Reading
        >>> asked = QuestionSet(name="q", questions=(Question(id="1", question="Is it?", gold=("yes",)),))
        >>> refused = Answer("1", "verbalized", Reading(status="refused"))
        >>> [(line.status, line.action) for line in advised(asked, [refused], "verbalized")]
        [('refused', 'ask a human')]
    """
    rows = calibrated if decisions is None else decisions.rows
    place = {} if rows is None else {name: i for i, name in enumerate(rows.ids.tolist())}
    by_id = {question.id: question for question in questions}
    lines = []
    for answer in answers:
        if answer.elicitor != elicitor:
            continue
        question, i = by_id[answer.question], place.get(answer.question)
        probability = None if i is None or rows is None else float(rows.confidence[i])
        low = high = share = None
        count, action = None, ASK
        if decisions is not None and i is not None:
            similar = decisions.similar[i]
            low, high = _known(decisions.low[i]), _known(decisions.high[i])
            share, count = _known(similar.value), similar.n
            action = RELY if decisions.accepted[i] else ASK
        lines.append(
            Advised(
                id=question.id,
                group=question.group,
                question=question.question,
                answer=answer.reading.answer,
                gold="|".join(question.gold),
                correct=answer.correct,
                status=answer.reading.status,
                stated=answer.reading.confidence,
                probability=probability,
                low=low,
                high=high,
                similar_right=share,
                similar_n=count,
                action=action,
            )
        )
    return lines


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def to_columns(lines: Sequence[Advised]) -> dict[str, list[Any]]:
    """The lines as columns of a table; what is not there is an empty cell.

    Example:
        >>> list(to_columns([]))[:3]
        ['id', 'group', 'question']
    """
    return {
        field.name: [
            round(cell, 6) if isinstance(cell, float) else cell
            for cell in (getattr(line, field.name) for line in lines)
        ]
        for field in fields(Advised)
    }
