"""``vlmcal vqa elicit``: ask a multimodal LLM, with its confidence."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vlmcal.cli import arguments

if TYPE_CHECKING:
    from vlmcal.elicit.answers import Answer
    from vlmcal.elicit.base import Elicitor
    from vlmcal.elicit.desk import Desk
    from vlmcal.elicit.models.base import ChatModel
    from vlmcal.elicit.run import Outcome
    from vlmcal.types.chat import Speaker
    from vlmcal.types.question import QuestionSet

# Of failed answers, that are told at the end; all of them are in answers.jsonl.
REASONS = 3


def elicit(
    questions: Annotated[Path, typer.Argument(help="Questions: a file or folder of any layout.")],
    model: Annotated[
        str, typer.Option(help="http://HOST/v1, hf:NAME, hf:FOLDER or scripted:FILE.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the answers.")],
    elicitors: Annotated[
        list[str] | None,
        arguments.several(
            "--elicitors", "-e", help="NAME or NAME(OPTION=VALUE, ...); default: verbalized."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Draws of the elicitors that sample; their own default.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the questions, if not clear.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images.")] = None,
    split: Annotated[str | None, typer.Option(help="Only questions of this split.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="KEY=VALUE, of the layout; may be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many questions.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Model on the server.")] = None,
    expert: Annotated[str | None, typer.Option(help="Second model for `expert`.")] = None,
    expert_name: Annotated[str | None, typer.Option(help="Its name on the server.")] = None,
    judge: Annotated[
        str, typer.Option(help="Of open answers: exact, normalised, token_f1 or a model as above.")
    ] = "normalised",
    judge_name: Annotated[str | None, typer.Option(help="Name of the judge model.")] = None,
    parallel: Annotated[int, typer.Option(help="Calls at the same time.")] = 8,
    requests_per_minute: Annotated[float | None, typer.Option(help="Rate limit.")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(help="Rate limit.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Budget of this command.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Budget of this command.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until a call is given up.")] = 120.0,
    attempts: Annotated[int, typer.Option(help="Tries of one request.")] = 6,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the server's key.")
    ] = "OPENAI_API_KEY",
    device: Annotated[str, typer.Option(help="Of a local model.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="Of a local model.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the calls, send none.")] = False,
) -> None:
    """Ask every question in every chosen way; repeat the command to go on after any interruption."""
    from vlmcal.cli.console import note
    from vlmcal.data.vqa.base import load_questions
    from vlmcal.elicit.base import parse_elicitors
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.judges.base import find_judge
    from vlmcal.elicit.models.load import load_chat_model
    from vlmcal.elicit.run import MODEL_JUDGE, estimate_calls
    from vlmcal.errors import SpecError
    from vlmcal.options import pairs
    from vlmcal.report.formats import plural

    for what, value in (("--samples", samples), ("--limit", limit), ("--parallel", parallel)):
        if value is not None and value < 1:
            raise SpecError(f"{what}: expected at least 1, got {value}")
    if not timeout > 0:
        raise SpecError(f"--timeout: expected seconds above 0, got {timeout:g}")
    ways = parse_elicitors(
        elicitors or ["verbalized"], {} if samples is None else {"samples": samples}
    )
    spec: dict[str, Any] = {
        **dict(pairs(option or (), "--option KEY=VALUE")),
        "path": str(questions),
        "images": images,
        "split": split,
        "name": layout,
    }
    asked = load_questions({k: v for k, v in spec.items() if v is not None}).with_foils()
    note(f"{plural(len(asked), 'question')} of {asked.name}. {asked.definition}".strip())
    if limit is not None and limit < len(asked):
        cut = f"Of these the first {limit:,}."
        asked = replace(
            asked, questions=asked.questions[:limit], definition=f"{asked.definition} {cut}".strip()
        )
        note(cut)
    judge_spec = judge if ":" in judge else None
    if judge_spec is None:
        find_judge(judge)
    told_judge = MODEL_JUDGE if judge_spec else judge
    if dry_run:
        calls = estimate_calls(asked, ways, told_judge)
        pictures = len({path for q in asked for path in q.images})
        typer.echo(
            f"at most {calls:,} calls about {pictures:,} images, less what is answered already"
        )
        return
    wanted: dict[str, tuple[str | None, str | None]] = {
        "subject": (model, name),
        "expert": (expert, expert_name),
        "judge": (judge_spec, judge_name),
    }
    _require_speakers(ways, wanted)
    models = {
        who: load_chat_model(
            each, name=called, api_key_env=api_key_env, timeout=timeout, device=device, dtype=dtype
        )
        for who, (each, called) in wanted.items()
        if each is not None
    }
    limits: dict[str, Any] = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "max_requests": max_requests,
        "max_tokens": max_tokens,
        "attempts": attempts,
    }
    folder = AnswerFolder(output)
    answers, outcome = asyncio.run(_run(asked, ways, models, folder, limits, told_judge, parallel))
    _tell(asked, answers, ways, outcome, folder)
    note(f"answers: {output}; next: vlmcal vqa evaluate {output} -o report.html")


def _require_speakers(
    ways: Sequence["Elicitor"], wanted: dict[str, tuple[str | None, str | None]]
) -> None:
    from vlmcal.errors import SpecError

    for way in ways:
        for who in way.speakers:
            if wanted[who][0] is None:
                raise SpecError(
                    f'elicitor "{way.label}" asks a second model; name it with --{who} URL or hf:PATH'
                )


async def _run(
    asked: "QuestionSet",
    ways: "Sequence[Elicitor]",
    models: dict[str, Any],
    folder: Any,
    limits: dict[str, Any],
    judge: str,
    parallel: int,
) -> "tuple[list[Answer], Outcome]":
    from vlmcal.cli.console import Progress, note
    from vlmcal.elicit.desk import Desk
    from vlmcal.elicit.pacing import Pace
    from vlmcal.elicit.response_log import ResponseLog
    from vlmcal.elicit.run import ask_all

    progress = Progress()
    paces = {cast("Speaker", who): Pace(**limits) for who in models}
    try:
        for model in models.values():
            await model.probe()
        subject = models["subject"]
        with ResponseLog(folder.responses) as log:
            # Only now is it certain that no other process writes here.
            folder.begin(asked, subject.identity)
            if len(log):
                note(f"{len(log):,} responses are there already and are not asked for again")
            desk = Desk(
                models=cast("dict[Speaker, ChatModel]", models),
                log=log,
                paces=paces,
                parallel=min(parallel, subject.parallel),
            )
            _stop_on_interrupt(desk)
            outcome = await ask_all(
                asked,
                ways,
                desk,
                judge=judge,
                listener=lambda e: progress.show(
                    f"{e.done:,}/{e.total:,} done, {e.tally.asked:,} calls, {e.tally.from_log:,} from the "
                    f"log, {e.tally.failed:,} failed, {e.tally.tokens:,} tokens"
                ),
            )
        progress.clear()
        complete = outcome.stopped is None
        answers = folder.finish(outcome.answers, _about(asked, ways, models, judge, desk, complete))
        if outcome.stopped is not None:
            _tell_stop(outcome, folder)
    finally:
        for model in models.values():
            await model.close()
    return answers, outcome


def _about(
    asked: "QuestionSet",
    ways: "Sequence[Elicitor]",
    models: dict[str, Any],
    judge: str,
    desk: "Desk",
    complete: bool,
) -> dict[str, Any]:
    from vlmcal import __version__
    from vlmcal.cli.console import command_line

    return {
        "model": models["subject"].identity,
        "models": {who: model.identity for who, model in models.items()},
        "capabilities": {who: model.capabilities.to_dict() for who, model in models.items()},
        "questions": asked.name,
        "definition": asked.definition,
        "elicitors": [way.label for way in ways],
        "judge": judge,
        "calls": desk.tally.asked,
        "tokens": desk.tally.tokens,
        "complete": complete,
        "command": command_line(),
        "version": __version__,
    }


def _stop_on_interrupt(desk: "Desk") -> None:
    """The first Ctrl-C lets calls under way arrive; the second one ends at once."""
    from vlmcal.cli.console import note

    loop = asyncio.get_running_loop()

    def stop() -> None:
        desk.stopping = True
        note("\nstopping: waiting for the calls under way (once more to end at once)")
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stop)


def _tell_stop(outcome: "Outcome", folder: Any) -> None:
    from vlmcal.elicit.desk import Stopped
    from vlmcal.errors import StoreError

    kept = f"{len(outcome.answers):,} answers are in {folder.root}; the same command goes on from there"
    if isinstance(outcome.stopped, Stopped):
        raise StoreError(f"interrupted; {kept}")
    assert outcome.stopped is not None
    raise type(outcome.stopped)(f"{outcome.stopped} ({kept})") from outcome.stopped


def _tell(
    asked: "QuestionSet",
    answers: "Sequence[Answer]",
    ways: "Sequence[Elicitor]",
    outcome: "Outcome",
    folder: Any,
) -> None:
    """How the questions of this command ended, and why those that failed did."""
    from collections import Counter

    from vlmcal.cli.console import note
    from vlmcal.elicit.run import dead_draws
    from vlmcal.errors import BackboneError
    from vlmcal.report.pages.answer_tables import states_table
    from vlmcal.report.pages.answers import capability_notes

    ids = {q.id for q in asked}
    labels = [way.label for way in ways]
    shown = [a for a in answers if a.question in ids and a.elicitor in labels]
    typer.echo(states_table(shown, labels).to_text())
    for text in capability_notes(folder.about()):
        note(f"note: {text}")
    for reason, count in outcome.skipped.items():
        note(f"note: {count:,} questions were not asked by {reason}")
    failed = Counter(a.reading.note for a in shown if a.reading.status == "failed")
    for reason, count in failed.most_common(REASONS):
        note(f"note: {count:,} answers failed: {reason}")
    if failed:
        more = f" ({len(failed) - REASONS:,} more reasons)" if len(failed) > REASONS else ""
        note(f"note: the same command asks again for what failed{more}")
    for label in dead_draws(shown, ways):
        note(
            f"note: every draw of {label} equals the plain answer to every question; this server may ignore "
            "the temperature, and then agreement says nothing"
        )
    if shown and sum(failed.values()) == len(shown):
        raise BackboneError(f"all {len(shown):,} answers failed; {folder.root} holds nothing else")
