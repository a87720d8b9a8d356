"""Ask every question in every way, read and judge; any interruption can be resumed."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.base import Elicitor
from vlmcal.elicit.desk import ROOMS, Desk, Stopped, Tally
from vlmcal.elicit.judges.base import Verdict, judge_answer
from vlmcal.elicit.judges.model import judge_plan
from vlmcal.errors import DataError, VlmcalError
from vlmcal.types.chat import Request, Response
from vlmcal.types.question import Question, QuestionSet
from vlmcal.types.reading import Reading

MODEL_JUDGE = "model"
FEWEST_DRAWN = 20
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """Event: one more question was asked in one way."""

    done: int
    total: int
    tally: Tally


@dataclass
class Outcome:
    """What a run got.

    Attributes:
        answers: In the order of the questions, then of the elicitors.
        skipped: Reasons for pairs that were left out, with their number.
        stopped: Why the run ended early, or None.
    """

    answers: list[Answer]
    skipped: dict[str, int] = field(default_factory=dict)
    stopped: VlmcalError | Stopped | None = None


def estimate_calls(
    questions: QuestionSet, elicitors: Sequence[Elicitor], judge: str = "normalised"
) -> int:
    """The most requests that a run can make; shared ones are counted for each elicitor."""
    return sum(
        e.calls(q) + (judge == MODEL_JUDGE and q.answer_type == "open" and bool(q.gold))
        for q in questions
        for e in elicitors
        if not e.skips(q)
    )


def dead_draws(answers: Sequence[Answer], elicitors: Sequence[Elicitor]) -> list[str]:
    """Labels of elicitors whose draws never differed from the plain answer, on 20 questions or more.

    Some servers ignore the temperature; agreement then says nothing, and looks perfect.
    """
    found = []
    for elicitor in elicitors:
        own = [a.reading.signals for a in answers if a.elicitor == elicitor.label]
        shares = [signals["agreement"] for signals in own if "agreement" in signals]
        drawn = getattr(elicitor, "temperature", 0.0) > 0
        if drawn and len(shares) >= FEWEST_DRAWN and min(shares) == 1.0:
            found.append(elicitor.label)
    return found


async def ask_all(
    questions: QuestionSet,
    elicitors: Sequence[Elicitor],
    desk: Desk,
    *,
    judge: str = "normalised",
    listener: Callable[[Progress], None] = lambda event: None,
) -> Outcome:
    """Play every elicitor's plan for every question.

    When something ends the run (a budget, a dead server, ``desk.stopping``), calls under way are still
    awaited and recorded, and what is complete is returned with the reason.

    Args:
        questions: What is asked.
        elicitors: How it is asked.
        desk: Who answers.
        judge: Of answers to open questions: a registered judge, or "model" for the judge model.
        listener: Called after each finished pair.
    """
    pairs = [(q, e) for q in questions for e in elicitors]
    outcome = Outcome([])
    found: dict[int, Answer] = {}
    queue: Iterator[tuple[int, tuple[Question, Elicitor]]] = iter(enumerate(pairs))
    finished = 0

    async def work() -> None:
        nonlocal finished
        # Workers share one iterator, so only as many plans are open as there are workers.
        for place, (question, elicitor) in queue:
            if desk.stopping:
                return
            reason = elicitor.skips(question)
            if reason:
                told = f"{elicitor.label}: {reason}"
                outcome.skipped[told] = outcome.skipped.get(told, 0) + 1
            else:
                try:
                    found[place] = await answer_one(question, elicitor, desk, judge)
                except (Stopped, VlmcalError) as error:
                    if outcome.stopped is None or isinstance(outcome.stopped, Stopped):
                        outcome.stopped = error
                    desk.stopping = True
                    return
            finished += 1
            listener(Progress(finished, len(pairs), desk.tally))

    try:
        await asyncio.gather(*(work() for _ in range(max(1, desk.parallel))))
    finally:
        await desk.settle()
    if desk.stopping and outcome.stopped is None:
        outcome.stopped = Stopped()
    outcome.answers = [found[place] for place in sorted(found)]
    if desk.tally.constant:
        needing = {e.label for e in elicitors if e.needs_logprobs}
        outcome.answers = [_untold(a) if a.elicitor in needing else a for a in outcome.answers]
    return outcome


def _untold(answer: Answer) -> Answer:
    """The answer without a confidence made of log-probabilities that are all one number."""
    if answer.reading.confidence_status != "given":
        return answer
    note = "; ".join(filter(None, (answer.reading.note, "all log-probabilities are one number")))
    reading = replace(
        answer.reading, confidence=None, confidence_status="unsupported", signals={}, note=note
    )
    return replace(answer, reading=reading)


async def answer_one(question: Question, elicitor: Elicitor, desk: Desk, judge: str) -> Answer:
    """One question asked in one way, read and judged.

    Args:
        question: What is asked.
        elicitor: How.
        desk: Who answers.
        judge: As for :func:`ask_all`.
    """
    keys: dict[str, None] = {}
    try:
        reading = await _play(elicitor.plan(question), desk, keys)
        for room in ROOMS[1:]:
            if "cut" not in (reading.status, reading.confidence_status):
                break
            # Plans replay: only the replies that were cut are asked for again.
            reading = await _play(elicitor.plan(question), desk, keys, room)
    except DataError as error:
        # An image that cannot be read is about this question alone; the others go on.
        reading = Reading(status="failed", confidence_status="failed", note=str(error))
    verdict = Verdict(None, "", 0.0)
    if reading.answer is not None and question.gold:
        if judge == MODEL_JUDGE:
            verdict = await model_verdict(question, reading.answer, desk, keys)
        else:
            verdict = judge_answer(question, reading.answer, judge)
    return Answer(
        question=question.id,
        elicitor=elicitor.label,
        reading=reading,
        correct=verdict.correct,
        judge=verdict.judge if verdict.correct is not None else "",
        requests=tuple(keys),
    )


async def model_verdict(
    question: Question, answer: str, desk: Desk, keys: dict[str, None]
) -> Verdict:
    """The judge model's verdict on an open answer; closed ones are compared.

    Args:
        question: What was asked.
        answer: As it was read.
        desk: Who answers, with a judge.
        keys: Gets the keys of the requests.
    """
    if question.answer_type != "open":
        return judge_answer(question, answer)
    verdict = await _play(judge_plan(question, answer), desk, keys)
    return verdict._replace(judge=f"{verdict.judge}:{desk.models['judge'].identity}")


async def _play(
    plan: Generator[Sequence[Request], Sequence[Response], T],
    desk: Desk,
    keys: dict[str, None],
    room: int = 1,
) -> T:
    try:
        requests = next(plan)
        while True:
            keys |= dict.fromkeys(desk.key(request) for request in requests)
            responses: list[Any] = await asyncio.gather(*(desk.ask(r, room) for r in requests))
            requests = plan.send(responses)
    except StopIteration as end:
        result: T = end.value
        return result
