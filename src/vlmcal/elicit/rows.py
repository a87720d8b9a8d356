"""From answers to confidences that can be measured and calibrated; nothing that is missing is made up."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, cast, get_args

import numpy as np

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.errors import DataError, nearest, require_known
from vlmcal.types.arrays import FloatArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import Question, QuestionSet

Stratum = Literal["answer_type", "kind"]
HALLUCINATION = "hallucination"
ALL_ROWS = (
    "Over all rows: what is missing claims nothing. A question without an answer counts as wrong, and a row "
    "without a confidence has the confidence 0."
)
PARSED_ROWS = "Over parsed rows: only rows with an answer, a verdict and a confidence."


@dataclass(frozen=True)
class States:
    """How the questions put to one elicitor ended.

    Attributes:
        asked: Questions.
        answers: Number of each answer status ("answered", "refused", ...).
        confidences: Number of each confidence status among the answered.
        judged: Answered questions with a verdict.
        right: Of these, right.
        judges: Names of the judges.
    """

    asked: int
    answers: Counter[str]
    confidences: Counter[str]
    judged: int
    right: int
    judges: tuple[str, ...]


@dataclass(frozen=True)
class ElicitorRows:
    """Everything about one elicitor's answers that evaluation needs.

    Attributes:
        elicitor: Its label.
        states: How the questions ended.
        parsed: Rows with answer, verdict and confidence; None where there is none.
        everything: All rows with a gold answer, the missing ones as :data:`ALL_ROWS` says; None likewise.
        answers: Answer of each parsed row.
        notes: What the reader should know.
    """

    elicitor: str
    states: States
    parsed: Confidences | None
    everything: Confidences | None
    answers: tuple[Answer, ...]
    notes: tuple[str, ...] = ()


def elicitor_labels(answers: Iterable[Answer]) -> list[str]:
    """Labels of the elicitors, in the order of their first answer."""
    return list(dict.fromkeys(answer.elicitor for answer in answers))


def chosen_elicitors(answers: Iterable[Answer], wanted: Sequence[str] | None = None) -> list[str]:
    """The wanted labels, or all of them.

    Raises:
        DataError: No answers of such an elicitor.
    """
    labels = elicitor_labels(answers)
    for label in wanted or ():
        require_known(label, labels, "no answers of the elicitor", DataError)
    return list(wanted or labels)


def as_stratum(name: str, where: str = "by") -> Stratum:
    """What rows are divided by, checked.

    Args:
        name: As it was given.
        where: What it was given to, for the message.

    Raises:
        SpecError: Neither "answer_type" nor "kind".

    Example:
        >>> as_stratum("kinds")
        Traceback (most recent call last):
        vlmcal.errors.SpecError: by: unknown stratum "kinds"; did you mean "kind"?
    """
    require_known(name, get_args(Stratum), f"{where}: unknown stratum")
    return cast("Stratum", name)


def elicitor_rows(
    questions: QuestionSet,
    answers: Sequence[Answer],
    elicitor: str,
    *,
    stratum: Stratum = "answer_type",
    signals: Sequence[str] | None = None,
    verdicts: bool = True,
) -> ElicitorRows:
    """The rows of one elicitor, with the signals of the others beside them.

    The parsed rows carry the extra ``hallucination`` (N,) where an elicitor, which is then named in the
    provenance, reports it for all of them, and
    ``signals`` (N, S): for every other elicitor its confidence where it gave the same answer, and whether
    its answer was the same, NaN where it says nothing. Their names are in the provenance.

    Args:
        questions: What was asked.
        answers: Of all elicitors.
        elicitor: Label of the one whose answers are judged.
        stratum: What the rows are divided by: type of answer, or the data set's own kind.
        signals: Names of the signals to carry, in this order, as the rows that a calibrator was fitted on
            have them in their provenance; None for all that tell rows apart.
        verdicts: False keeps answers without a verdict among the parsed rows, as wrong ones: for applying
            what was fitted, never for measuring.

    Raises:
        DataError: No answer of that elicitor, or none that gives one of the ``signals``.
    """
    chosen_elicitors(answers, [elicitor])
    labels = elicitor_labels(answers)
    by_id = {question.id: question for question in questions}
    own = [a for a in answers if a.elicitor == elicitor]
    states = _states(own)
    known = [a for a in own if by_id[a.question].gold or a.correct is not None]
    unjudged = [a for a in known if a.reading.status == "answered" and a.correct is None]
    notes = []
    if unjudged:
        notes.append(f"{len(unjudged):,} answers have no verdict and are left out of every number.")
    if len(known) < len(own):
        notes.append(f"{len(own) - len(known):,} questions have no gold answer and are left out.")
    judged = [a for a in known if a.reading.status != "answered" or a.correct is not None]
    usable = [a for a in judged if a.correct is not None] if verdicts else own
    parsed = [a for a in usable if a.reading.confidence is not None]
    others: dict[str, dict[str, Answer]] = {label: {} for label in labels if label != elicitor}
    for answer in answers:
        if answer.elicitor != elicitor:
            others[answer.elicitor][answer.question] = answer
    rows = _confidences(parsed, by_id, elicitor, stratum) if parsed else None
    if rows is not None:
        extras, names = _signals(parsed, others, signals)
        scored = _hallucination(parsed, answers)
        if scored is not None:
            rows.provenance[HALLUCINATION], extras[HALLUCINATION] = scored
        rows.provenance["signals"] = names
        rows = replace(rows, extras=extras)
    return ElicitorRows(
        elicitor=elicitor,
        states=states,
        parsed=rows,
        # Where no confidence was given at all there is none to measure.
        everything=_confidences(judged, by_id, elicitor, stratum) if parsed and judged else None,
        answers=tuple(parsed),
        notes=tuple(notes),
    )


def _states(answers: Sequence[Answer]) -> States:
    judged = [a for a in answers if a.correct is not None]
    answered = [a for a in answers if a.reading.status == "answered"]
    return States(
        asked=len(answers),
        answers=Counter(a.reading.status for a in answers),
        confidences=Counter(a.reading.confidence_status for a in answered),
        judged=len(judged),
        right=sum(bool(a.correct) for a in judged),
        judges=tuple(dict.fromkeys(a.judge for a in judged if a.judge)),
    )


def _confidences(
    answers: Sequence[Answer], by_id: dict[str, Question], elicitor: str, stratum: Stratum
) -> Confidences:
    asked = [by_id[a.question] for a in answers]
    strata = [getattr(q, stratum) or "none" for q in asked]
    return Confidences(
        confidence=np.array([a.reading.confidence or 0.0 for a in answers]),
        correct=np.array([bool(a.correct) for a in answers]),
        ids=np.array([a.question for a in answers]),
        groups=np.array([q.group for q in asked]),
        kinds=np.array(strata),
        provenance={"elicitor": elicitor},
    )


def _signals(
    parsed: Sequence[Answer], others: dict[str, dict[str, Answer]], wanted: Sequence[str] | None
) -> tuple[dict[str, FloatArray], list[str]]:
    columns: dict[str, FloatArray] = {}
    # Answers repeat across rows and elicitors.
    spelled = cache(normalise)
    for label, answers in others.items():
        value = np.full(len(parsed), np.nan)
        same = np.full(len(parsed), np.nan)
        for i, own in enumerate(parsed):
            other = answers.get(own.question)
            if other is None or other.reading.answer is None:
                continue
            assert own.reading.answer is not None
            agrees = spelled(own.reading.answer) == spelled(other.reading.answer)
            same[i] = float(agrees)
            if agrees and other.reading.confidence is not None:
                value[i] = other.reading.confidence
        for name, column in ((label, value), (f"{label}: same answer", same)):
            # A column that is empty or constant tells the rows apart by nothing.
            there = column[np.isfinite(column)]
            if wanted is not None or (
                there.size and (there.min() < there.max() or there.size < column.size)
            ):
                columns[name] = column
    names = list(columns) if wanted is None else list(wanted)
    absent = [name for name in names if name not in columns]
    if absent:
        raise DataError(
            f'no answers that give the signal "{absent[0]}"; {nearest(absent[0], columns)}; elicit the same '
            "for both folders, with the same options"
        )
    return ({"signals": np.stack([columns[n] for n in names], axis=1)} if names else {}), names


def _hallucination(
    parsed: Sequence[Answer], answers: Sequence[Answer]
) -> tuple[str, FloatArray] | None:
    """The first elicitor that reports a score for every row, the rows' own before all others."""
    scores: dict[str, dict[str, float]] = {}
    for answer in answers:
        if HALLUCINATION in answer.reading.signals:
            own = scores.setdefault(answer.elicitor, {})
            own[answer.question] = answer.reading.signals[HALLUCINATION]
    first = parsed[0].elicitor
    for label in sorted(scores, key=lambda label: label != first):
        own = scores[label]
        if all(a.question in own for a in parsed):
            return label, np.array([own[a.question] for a in parsed])
    return None
