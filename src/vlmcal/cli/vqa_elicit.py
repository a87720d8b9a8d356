"""``vlmcal vqa elicit``: ask a multimodal LLM, with its confidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, command_line, note
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.errors import BackboneError, require_none
from vlmcal.io.json_text import parse_json

if TYPE_CHECKING:
    from vlmcal.elicit.asking import Asked
    from vlmcal.types.chat import Speaker
    from vlmcal.types.question import QuestionSet

# Questions that wait for a batch at the same time.
_BATCHED = 50_000


@dataclass
class Which:
    """Which questions are asked."""

    layout: Annotated[str | None, opt("Layout of the questions, if not clear.")] = None
    images: Annotated[Path | None, opt("Folder of the images.")] = None
    allow_outside: Annotated[bool, opt("Images outside the folder of the questions, too.")] = False
    split: Annotated[str | None, opt("Only questions of this split.")] = None
    option: Annotated[list[str] | None, opt("KEY=VALUE, of the layout; may be repeated.")] = None
    limit: Annotated[int | None, opt("Only the first so many questions.")] = None


@dataclass
class Others:
    """Names on servers, and the models beside the one under study."""

    name: Annotated[str | None, opt("Model on the server.")] = None
    expert: Annotated[str | None, opt("Second model for `expert`.")] = None
    expert_name: Annotated[str | None, opt("Its name on the server.")] = None
    judge: Annotated[
        str, opt("Of open answers: exact, normalised, contained, token_f1 or a model.")
    ] = "normalised"
    judge_name: Annotated[str | None, opt("Name of the judge model.")] = None


@dataclass
class Rates:
    """How fast, how often and how much is asked."""

    parallel: Annotated[int, opt("Calls at the same time.")] = 8
    requests_per_minute: Annotated[float | None, opt("Rate limit.")] = None
    tokens_per_minute: Annotated[float | None, opt("Rate limit.")] = None
    max_requests: Annotated[int | None, opt("Budget of this command.")] = None
    max_tokens: Annotated[int | None, opt("Budget of this command.")] = None
    attempts: Annotated[int, opt("Tries of one request.")] = 6


@dataclass
class Replies:
    """What is sent beside the questions, and which replies are asked for again."""

    reply_tokens: Annotated[
        int | None, opt("Room of a reply, thoughts included; it grows by itself where needed.")
    ] = None
    body: Annotated[
        list[str] | None, opt("KEY=VALUE in every request: reasoning_effort=low; may be repeated.")
    ] = None
    again: Annotated[
        list[str] | None, arguments.several("Ask again for replies that are empty, cut or failed.")
    ] = None


@dataclass
class Loading:
    """How models are reached or loaded."""

    timeout: Annotated[float, opt("Seconds until a call is given up.")] = 120.0
    api_key_env: Annotated[str, opt("Environment variable that holds the server's key.")] = (
        "OPENAI_API_KEY"
    )
    batch: Annotated[bool, opt("Through the batch API of OpenAI or Anthropic: half price.")] = False
    guided: Annotated[bool, opt("Hold replies to the options by vLLM's guided choice.")] = False
    device: Annotated[str, opt("Of a local model.")] = "cpu"
    dtype: Annotated[str | None, opt("Of a local model.")] = None


@dataclass
class Costs:
    """What asking costs."""

    prices: Annotated[Path | None, opt("YAML or table: model, in, out, cached, thinking.")] = None
    dry_run: Annotated[bool, opt("Count calls, tokens and price; send nothing.")] = False


def elicit(
    questions: Annotated[Path, arg("Questions: a file or folder of any layout.")],
    model: Annotated[
        str,
        opt(
            "http://HOST/v1, KIND:NAME (anthropic, gemini, ollama, responses), hf:NAME or scripted:FILE."
        ),
    ],
    output: Annotated[Path, written("Folder of the answers.")],
    which: Which,
    others: Others,
    rates: Rates,
    replies: Replies,
    loading: Loading,
    costs: Costs,
    elicitors: Annotated[
        list[str] | None,
        arguments.several(
            "NAME or NAME(OPTION=VALUE, ...); default: verbalized.", "--elicitors", "-e"
        ),
    ] = None,
    samples: Annotated[
        int | None, opt("Draws of the elicitors that sample; their own default.")
    ] = None,
) -> None:
    """Ask every question in every chosen way; repeat the command to go on after any interruption."""
    from vlmcal.elicit.asking import Limits, ask, ways_of

    _check_named(others)
    _check_calls(which, rates, loading, samples)
    ways = ways_of(elicitors or ["verbalized"], samples)
    asked = _questions(questions, which)
    if costs.dry_run:
        typer.echo(_plan(asked, ways, others, _Purse(model, output, costs.prices)))
        return
    progress = Progress()
    made = ask(
        asked,
        model=model,
        elicitors=ways,
        folder=output,
        expert=others.expert,
        judge=others.judge,
        parallel=_BATCHED if loading.batch else rates.parallel,
        limits=Limits(**{k: v for k, v in vars(rates).items() if k != "parallel"}),
        reply_tokens=replies.reply_tokens,
        again=replies.again or (),
        names={"subject": others.name, "expert": others.expert_name, "judge": others.judge_name},
        loading=_loading(loading, replies, output),
        prices=costs.prices,
        command=command_line(),
        say=note,
        listener=lambda e: progress.show(
            f"{e.done:,}/{e.total:,} done, {e.tally.asked:,} calls, {e.tally.from_log:,} from the log, "
            f"{e.tally.failed:,} failed, {e.tally.tokens:,} tokens"
        ),
    )
    progress.clear()
    _tell(made)


def _loading(loading: Loading, replies: Replies, output: Path) -> dict[str, Any]:
    batch = output / "batches.json" if loading.batch else None
    return {**vars(loading), "extra": body_of(replies.body), "batch": batch}


def _check_calls(which: Which, rates: Rates, loading: Loading, samples: int | None) -> None:
    arguments.require_calls(
        samples=samples, limit=which.limit, parallel=rates.parallel, timeout=loading.timeout
    )


def _check_named(others: Others) -> None:
    if others.expert is None:
        require_none("there is no --expert", {"--expert-name is for one": others.expert_name})
    arguments.require_judge(others.judge, others.judge_name, "--judge-name")


def _questions(path: Path, which: Which) -> "QuestionSet":
    from vlmcal.data.vqa.base import load_questions
    from vlmcal.elicit.asking import first_questions
    from vlmcal.report.formats import plural

    spec: dict[str, Any] = {
        **arguments.parse_pairs(which.option, "--option KEY=VALUE"),
        "path": str(path),
        "images": which.images,
        "allow_outside": which.allow_outside,
        "split": which.split,
        "name": which.layout,
    }
    asked = load_questions({k: v for k, v in spec.items() if v is not None})
    note(f"{plural(len(asked), 'question')} of {asked.name}. {asked.definition}".strip())
    first = first_questions(asked, which.limit)
    if len(first) < len(asked):
        note(f"Of these the first {len(first):,}.")
    return first.with_foils()


def body_of(pairs: Iterable[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` as fields of a request; values are JSON where they can be, and dots go one level down.

    Raises:
        SpecError: No equals sign.

    Example:
        >>> body_of(["reasoning_effort=low", "chat_template_kwargs.enable_thinking=false"])
        {'reasoning_effort': 'low', 'chat_template_kwargs': {'enable_thinking': False}}
    """
    body: dict[str, Any] = {}
    for key, value in arguments.parse_pairs(pairs, "--body KEY=VALUE").items():
        inner = body
        *above, last = key.split(".")
        for name in above:
            inner = inner.setdefault(name, {})
        try:
            inner[last] = parse_json(value)
        except ValueError:
            inner[last] = value
    return body


class _Purse(NamedTuple):
    """Whose prices count, where recorded calls lie, and the table."""

    model: str
    folder: Path
    prices: Path | None


def _plan(asked: "QuestionSet", ways: list[Any], others: Others, purse: _Purse) -> str:
    from vlmcal.elicit.costs import load_prices, planned, prices_of
    from vlmcal.elicit.judges.base import find_judge
    from vlmcal.elicit.run import MODEL_JUDGE, estimate_calls
    from vlmcal.report.pages.answer_tables import costs_table

    judge = others.judge
    judged = ":" in judge
    if not judged:
        find_judge(judge)
    calls = estimate_calls(asked, ways, MODEL_JUDGE if judged else judge)
    pictures = len({path for q in asked for path in q.images})
    known = [] if purse.prices is None else load_prices(purse.prices)
    named: dict[Speaker, str | None] = {
        "subject": others.name or purse.model,
        "expert": others.expert_name or others.expert,
        "judge": (others.judge_name or judge) if judged else None,
    }
    models = {who: name for who, name in named.items() if name}
    prices = prices_of(models, known)
    log = purse.folder / "responses.jsonl"
    costs, assumed = planned(asked, ways, prices=prices, log=log, judged=judged)
    unknown = [models[who] for who in {c.speaker: None for c in costs} if not prices.get(who)]
    return (
        f"at most {calls:,} calls about {pictures:,} images, less what is answered already\n\n"
        f"{costs_table(costs).to_text()}\n{assumed}{_of_price(bool(known), unknown)}"
    )


def _of_price(known: bool, unknown: "Sequence[str]") -> str:
    if not unknown:
        return ""
    return (
        f"; no line of the table of prices is about {', '.join(unknown)}: the price is unknown"
        if known
        else "; the price is unknown: give a table with --prices"
    )


def _tell(made: "Asked") -> None:
    """How the questions of this command ended, and why those that failed did."""
    from vlmcal.elicit.costs import from_plain
    from vlmcal.report.pages.answer_tables import costs_table, states_table
    from vlmcal.report.pages.answers import capability_notes

    typer.echo(states_table(made.answers, made.elicitors).to_text())
    typer.echo("\n" + costs_table(from_plain(made.about.get("costs"))).to_text())
    arguments.tell([*capability_notes(made.about), *made.notes])
    if made.answers and all(a.reading.status == "failed" for a in made.answers):
        raise BackboneError(
            f"all {len(made.answers):,} answers failed; {made.folder} holds nothing else"
        )
    note(
        f"answers: {made.folder}; next: vlmcal vqa evaluate {quote(str(made.folder))} -o report.html"
    )
