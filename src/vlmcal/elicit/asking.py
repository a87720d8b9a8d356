"""The front door: questions, a model and ways of asking in; answers, states and notes out."""

import asyncio
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from vlmcal.data.vqa.base import load_questions
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.base import Elicitor, parse_elicitors
from vlmcal.elicit.costs import load_prices, prices_of, spent, to_plain
from vlmcal.elicit.desk import Again, Desk, Stopped
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.judges.base import find_judge
from vlmcal.elicit.models.base import ChatModel
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.elicit.pacing import Pace
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.elicit.run import MODEL_JUDGE, Outcome, Progress, ask_all, dead_draws
from vlmcal.elicit.sentences import long_answers
from vlmcal.errors import SpecError, StoreError, VlmcalError, require_known
from vlmcal.types.chat import Speaker
from vlmcal.types.question import Question, QuestionSet

T = TypeVar("T")
Ways = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any] | Elicitor]
Questions = QuestionSet | Sequence[Question] | str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What was asked, and what came of it.

    Attributes:
        questions: The questions of this call.
        answers: Answers to them, in their order, then of the elicitors.
        elicitors: Labels of the elicitors of this call.
        folder: Where everything is kept; None where no folder was named.
        notes: What the reader should know.
        about: Models, capabilities, calls, tokens; as in ``run.json``.
    """

    questions: QuestionSet
    answers: tuple[Answer, ...]
    elicitors: tuple[str, ...]
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def of(self, elicitor: str) -> list[Answer]:
        """The answers of one elicitor.

        Raises:
            SpecError: No such elicitor; names the nearest.
        """
        require_known(elicitor, self.elicitors, "no elicitor")
        return [answer for answer in self.answers if answer.elicitor == elicitor]

    def __repr__(self) -> str:
        """Numbers of questions, and how they ended."""
        states = Counter(answer.reading.status for answer in self.answers)
        told = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
        return f"<Asked: {len(self.questions):,} questions, {', '.join(self.elicitors)}: {told}>"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How fast, how often and how much a model is asked; see :class:`vlmcal.elicit.pacing.Pace`."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    attempts: int = 6

    def pace(self) -> Pace:
        """A pace of its own for one model."""
        return Pace(**{name: getattr(self, name) for name in self.__dataclass_fields__})


def ask(
    questions: Questions,
    *,
    model: str | ChatModel,
    elicitors: Ways = "verbalized",
    folder: str | Path | None = None,
    samples: int | None = None,
    expert: str | ChatModel | None = None,
    judge: str | ChatModel = "normalised",
    limit: int | None = None,
    parallel: int = 8,
    limits: Limits | None = None,
    reply_tokens: int | None = None,
    again: Sequence[str] = (),
    names: Mapping[Speaker, str | None] | None = None,
    loading: Mapping[str, Any] | None = None,
    prices: str | Path | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    listener: Callable[[Progress], None] = lambda event: None,
) -> Asked:
    """Ask every question in every chosen way; what a folder holds already is not asked again.

    Args:
        questions: A set, a list of questions, or what :func:`vlmcal.data.vqa.base.load_questions` reads.
        model: ``http://HOST/v1``, ``hf:NAME``, ``hf:FOLDER``, ``scripted:FILE``, or a chat model.
        elicitors: Names with options, such as ``"verbalized, consistency(samples=10)"`` or
            ``{"name": "consistency", "samples": 10}``, or elicitors.
        folder: Where responses and answers are kept; a call that was interrupted goes on from there. None
            keeps nothing.
        samples: Draws of the elicitors that sample; None for their own default.
        expert: Second model for the elicitor "expert", as ``model``.
        judge: Of open answers: a registered judge, or a model as above.
        limit: Only the first so many questions.
        parallel: Calls at the same time.
        limits: Rates, budgets and attempts, for each model.
        reply_tokens: Room of every reply, thoughts included; it grows by itself where replies are cut.
        again: Recorded replies to ask for again: "empty", "cut", "failed".
        names: Name of each model on its server, by role ("subject", "expert", "judge").
        loading: Further arguments of :func:`vlmcal.elicit.models.load.load_chat_model`.
        prices: Table of prices per million tokens; see :func:`vlmcal.elicit.costs.load_prices`.
        command: For ``run.json``.
        say: Called with what a person should know while it runs.
        listener: Called after each question that was asked in one way.

    Raises:
        SpecError: An option has no such value; nothing was asked.
        StoreError: The folder holds something else, or the run was interrupted; what is answered is kept.
        BackboneError: A model cannot be used.

    Example:
        >>> from vlmcal.elicit.models.scripted import ScriptedModel
        >>> side = Question(id="1", question="Is it large?", answer_type="yes_no", gold=("no",))
        >>> asked = ask([side], model=ScriptedModel(lambda request: "Answer: No. Confidence: 80%"))
        >>> [(a.reading.answer, a.reading.confidence, a.correct) for a in asked.answers]
        [('no', 0.8, True)]
    """
    ways = ways_of(elicitors, samples)
    known = [] if prices is None else load_prices(prices)
    _check(limit=limit, parallel=parallel, reply_tokens=reply_tokens, again=again)
    asked = first_questions(question_set(questions), limit)
    given: dict[Speaker, str | ChatModel | None] = {"subject": model, "expert": expert}
    given["judge"] = judge if not isinstance(judge, str) or ":" in judge else None
    if given["judge"] is None:
        find_judge(cast("str", judge))
    require_speakers(ways, [who for who, each in given.items() if each is not None])
    told_judge = cast("str", judge) if given["judge"] is None else MODEL_JUDGE
    with tempfile.TemporaryDirectory() as nowhere:
        place = AnswerFolder(Path(nowhere if folder is None else folder))
        place.require_ours()
        models = {
            who: load_chat_model(each, name=(names or {}).get(who), **(loading or {}))
            if isinstance(each, str)
            else each
            for who, each in given.items()
            if each is not None
        }
        desk = Desk(
            models=models,
            log=ResponseLog(place.responses),
            paces={who: (limits or Limits()).pace() for who in models},
            parallel=min(parallel, models["subject"].parallel),
            reply_tokens=reply_tokens,
            again=frozenset(cast("Sequence[Again]", again)),
        )
        made = about(asked, ways, models, told_judge, command)
        outcome, answers = finished(_run(asked, ways, desk, place, told_judge, made, say, listener))
        # Some parts of a run that ended early are paid for, too.
        priced = prices_of({who: m.identity for who, m in models.items()}, known)
        kept = place.load()[1]
        place.with_costs(to_plain(spent(place.responses, kept, priced)))
        if outcome.stopped is not None:
            raise _stop(outcome, place)
        found = place.about()
    ids, labels = {q.id for q in asked}, tuple(way.label for way in ways)
    shown = tuple(a for a in answers if a.question in ids and a.elicitor in labels)
    return Asked(
        questions=asked,
        answers=shown,
        elicitors=labels,
        folder=None if folder is None else Path(folder),
        notes=(*notes_on(shown, ways, outcome), *long_answers(asked, shown)),
        about=found,
    )


def ways_of(elicitors: Ways, samples: int | None) -> list[Elicitor]:
    """Elicitors by name or as they are, with ``samples`` draws where they draw."""
    common = {} if samples is None else {"samples": samples}
    given = [elicitors] if isinstance(elicitors, str | Mapping) else elicitors
    made: dict[str, Elicitor] = {}
    for each in given:
        for way in [each] if isinstance(each, Elicitor) else parse_elicitors(each, common):
            made[way.label] = way
    if not made:
        raise SpecError("elicitors: expected at least one, got none")
    return list(made.values())


def question_set(questions: Questions) -> QuestionSet:
    """Questions of any form as a set, each with another group's images for asking with the wrong ones."""
    if isinstance(questions, str | Path | Mapping):
        questions = load_questions(questions)
    if not isinstance(questions, QuestionSet):
        questions = QuestionSet(name="questions", questions=tuple(questions))
    return questions.with_foils()


def first_questions(asked: QuestionSet, limit: int | None) -> QuestionSet:
    """The first so many questions, which is said in their definition."""
    if limit is None or limit >= len(asked):
        return asked
    told = f"{asked.definition} Of these the first {limit:,}.".strip()
    return replace(asked, questions=asked.questions[:limit], definition=told)


def require_speakers(ways: Sequence[Elicitor], given: Sequence[Speaker]) -> None:
    """Refuse elicitors that ask a model which is not named.

    Raises:
        SpecError: One does.
    """
    for way in ways:
        for who in way.speakers:
            if who not in given:
                raise SpecError(
                    f'elicitor "{way.label}" asks a second model; name it with --{who} URL or hf:PATH'
                )


def _check(**values: Any) -> None:
    for name in ("limit", "parallel", "reply_tokens"):
        if values[name] is not None and values[name] < 1:
            option = name.replace("_", "-")
            raise SpecError(f"--{option}: expected at least 1, got {values[name]}")
    for each in values["again"]:
        require_known(each, get_args(Again), "--again: unknown")


def about(
    asked: QuestionSet,
    ways: Sequence[Elicitor],
    models: Mapping[Speaker, ChatModel],
    judge: str,
    command: str,
) -> dict[str, Any]:
    """What goes into ``run.json`` before the numbers of the run."""
    from vlmcal import __version__

    return {
        "model": models["subject"].identity,
        "models": {who: model.identity for who, model in models.items()},
        "questions": asked.name,
        "definition": asked.definition,
        "elicitors": [way.label for way in ways],
        "judge": judge,
        "command": command,
        "version": __version__,
    }


async def _run(
    asked: QuestionSet,
    ways: Sequence[Elicitor],
    desk: Desk,
    folder: AnswerFolder,
    judge: str,
    made: dict[str, Any],
    say: Callable[[str], None],
    listener: Callable[[Progress], None],
) -> tuple[Outcome, list[Answer]]:
    pictures = any(question.images for question in asked)
    async with AsyncExitStack() as closing:
        for model in desk.models.values():
            closing.push_async_callback(model.close)
        for who, model in desk.models.items():
            await model.probe(images=pictures and who != "judge")
        with desk.log as log:
            # Only now is it certain that no other process writes here.
            folder.begin(asked, desk.models["subject"].identity)
            _remember(desk, folder)
            if len(log):
                say(f"{len(log):,} responses are there already and are not asked for again")
            if log.damaged:
                say(
                    f"note: {log.damaged:,} lines of {log.path.name} are damaged and count as not asked"
                )
            _stop_on_interrupt(desk, say)
            outcome = await ask_all(asked, ways, desk, judge=judge, listener=listener)
        numbers = {
            "capabilities": {w: m.capabilities.to_dict() for w, m in desk.models.items()},
            "calls": desk.tally.asked,
            "tokens": desk.tally.tokens,
            "tokens_in": desk.tally.tokens_in,
            "tokens_out": desk.tally.tokens_out,
            "tokens_thinking": desk.tally.tokens_thinking,
            "seconds": round(desk.tally.seconds, 3),
            "complete": outcome.stopped is None,
        }
        return outcome, folder.finish(outcome.answers, made | numbers)


def _remember(desk: Desk, folder: AnswerFolder) -> None:
    """How much room earlier commands found the models to need."""
    earlier = folder.about().get("capabilities") or {}
    for who, model in desk.models.items():
        room = (earlier.get(who) or {}).get("room")
        if isinstance(room, int):
            desk.rooms[who] = model.capabilities.room = room


def _stop_on_interrupt(desk: Desk, say: Callable[[str], None]) -> None:
    """The first Ctrl-C lets calls under way arrive; the second one ends at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        desk.stopping = True
        say("\nstopping: waiting for the calls under way (once more to end at once)")
        loop.remove_signal_handler(signal.SIGINT)

    # Not in other threads than the first, nor on every system.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, stop)


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, in a loop of its own; in a notebook, whose loop runs already, in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _stop(outcome: Outcome, folder: AnswerFolder) -> VlmcalError:
    kept = f"{len(outcome.answers):,} answers are in {folder.root}; the same command goes on from there"
    if isinstance(outcome.stopped, Stopped):
        return StoreError(f"interrupted; {kept}")
    assert outcome.stopped is not None
    stopped = type(outcome.stopped)(f"{outcome.stopped} ({kept})")
    stopped.__cause__ = outcome.stopped
    return stopped


# Of failed answers, that are told at the end; all of them are in answers.jsonl.
_REASONS = 3


def notes_on(answers: Sequence[Answer], ways: Sequence[Elicitor], outcome: Outcome) -> list[str]:
    """What a person should know about how the questions ended."""
    notes = [f"{n:,} questions were not asked by {reason}" for reason, n in outcome.skipped.items()]
    cut = sum("cut" in (a.reading.status, a.reading.confidence_status) for a in answers)
    if cut:
        notes.append(
            f"{cut:,} replies were cut at their longest length, by a model that thinks first as a rule; give "
            "more room with --reply-tokens, or let it think less (--body reasoning_effort=low, or what its "
            "server knows), and repeat the command with --again cut"
        )
    failed = Counter(a.reading.note for a in answers if a.reading.status == "failed")
    notes += [f"{n:,} answers failed: {reason}" for reason, n in failed.most_common(_REASONS)]
    if failed:
        more = f" ({len(failed) - _REASONS:,} more reasons)" if len(failed) > _REASONS else ""
        notes.append(f"the same command asks again for what failed{more}")
    notes += [
        f"every draw of {label} equals the plain answer to every question; this server may ignore the "
        "temperature, and then agreement says nothing"
        for label in dead_draws(answers, ways)
    ]
    return notes
