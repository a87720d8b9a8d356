"""What asking costs: calls, tokens, seconds and, by a table of the user's own, the price."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from vlmcal.data.rows import read_rows
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.base import Elicitor
from vlmcal.elicit.judges.model import judge_request
from vlmcal.elicit.pacing import estimate_tokens
from vlmcal.errors import DataError, require_known
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import read_text
from vlmcal.io.yaml_text import read_yaml
from vlmcal.types.chat import Request, Speaker
from vlmcal.types.question import Question, QuestionSet

_COLUMNS = ("model", "in", "out", "thinking", "cached", "currency")
_MILLION = 1_000_000
# An answer to an open question has so many letters, where a judge's share is planned.
_ANSWER = 40


class _Call(NamedTuple):
    """One recorded call: who answered, and what the server counted."""

    speaker: Speaker
    sent: float
    made: float
    thinking: float
    cached: float
    seconds: float


@dataclass(frozen=True)
class Price:
    """What a model's maker takes for a million tokens.

    Attributes:
        model: Name of the model on its server; ``*`` stands for any letters.
        sent, made: Of tokens sent, and of tokens generated.
        thinking: Of tokens of thoughts; None where they cost as much as others that are generated.
        cached: Of tokens sent that the server had read before; None where they cost as much as others.
        currency: Its name.
    """

    model: str
    sent: float
    made: float
    thinking: float | None = None
    currency: str = ""
    cached: float | None = None

    def of(
        self,
        tokens_in: float,
        tokens_out: float,
        tokens_thinking: float = 0.0,
        tokens_cached: float = 0.0,
    ) -> float:
        """Price of tokens; thoughts are among those generated, cached ones among those sent.

        Example:
            >>> Price("m", 2.0, 10.0).of(1_000_000, 100_000)
            3.0
            >>> Price("m", 2.0, 10.0, cached=0.5).of(1_000_000, 100_000, tokens_cached=1_000_000)
            1.5
        """
        thinking = self.made if self.thinking is None else self.thinking
        cached = self.sent if self.cached is None else self.cached
        made = tokens_out - tokens_thinking
        sent = tokens_in - tokens_cached
        total = sent * self.sent + tokens_cached * cached
        return (total + made * self.made + tokens_thinking * thinking) / _MILLION


Prices = Mapping[Speaker, "Price | None"]


@dataclass(frozen=True)
class Cost:
    """What one elicitor costs at one model; a call that several share is counted for each.

    Attributes:
        elicitor: Its label.
        calls: Requests that were answered.
        tokens_in, tokens_out, tokens_thinking: As the server counts them; thoughts are among those out.
        seconds: Sum over the calls, of which several run at the same time.
        price: None where the model has none in the table.
        currency: Of the price.
        tokens_cached: Those of the tokens in that the server had read before.
        speaker: Which model: the one under study, an expert, or a judge.
    """

    elicitor: str
    calls: int
    tokens_in: int
    tokens_out: int
    tokens_thinking: int
    seconds: float | None
    price: float | None = None
    currency: str = ""
    tokens_cached: int = 0
    speaker: Speaker = "subject"


def load_prices(path: str | Path) -> list[Price]:
    r"""A table of prices per million tokens: model, in, out and perhaps thinking, cached, currency.

    Args:
        path: A .yaml with these for each model, or a .csv, .tsv, .json or .jsonl with a line for each. Names
            of models may hold ``*``; the first one that fits counts. In YAML, ``currency`` beside the models
            is that of all of them.

    Raises:
        DataError: A price is missing, unknown, or no number of 0 or more; or the file is no such table.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "prices.yaml")
        >>> _ = table.write_text("currency: EUR\nqwen*: {in: 1, out: 4, cached: 0.25}\n")
        >>> load_prices(table)[0].of(500_000, 500_000)
        2.5
    """
    file = Path(path)
    if file.suffix.lower() in (".yaml", ".yml"):
        return list(_of_yaml(file))
    return [_price(row.cells, row.where) for row in read_rows(file)]


def _of_yaml(file: Path) -> Iterator[Price]:
    try:
        told = read_yaml(read_text(file))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{file}: no table of prices can be read from it: {error}") from error
    if isinstance(told, list):
        entries = [(f"{file}, entry {n}", entry) for n, entry in enumerate(told, 1)]
    elif isinstance(told, dict):
        common = {"currency": told.pop("currency")} if "currency" in told else {}
        entries = [
            (
                f"{file}: {name}",
                {"model": name, **common, **entry} if isinstance(entry, dict) else entry,
            )
            for name, entry in told.items()
        ]
    else:
        entries = []
    if not entries:
        raise DataError(f'{file}: expected lines such as "qwen*: {{in: 1, out: 4}}", got none')
    for where, entry in entries:
        if not isinstance(entry, dict):
            raise DataError(f"{where}: expected {{in: 1, out: 4}}, got {entry!r}")
        yield _price(entry, where)


def _price(cells: Mapping[str, Any], where: str) -> Price:
    for name in cells:
        require_known(name, _COLUMNS, f"{where}: unknown column", DataError)
    for name in ("model", "in", "out"):
        if not str(cells.get(name) or "").strip() and cells.get(name) != 0:
            raise DataError(f'{where}: "{name}" is missing; a price needs model, in and out')
    thinking, cached = (
        None if cells.get(name) in (None, "") else _number(cells[name], name, where)
        for name in ("thinking", "cached")
    )
    return Price(
        str(cells["model"]).strip(),
        _number(cells["in"], "in", where),
        _number(cells["out"], "out", where),
        thinking,
        str(cells.get("currency") or "").strip(),
        cached,
    )


def _number(cell: Any, name: str, where: str) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise DataError(f'{where}: "{name}" should be a price per million tokens, got {cell!r}')
    return value


def price_of(identity: str, prices: Iterable[Price]) -> Price | None:
    """The price of a model, by its name or its whole identity ("openai:MODEL@HOST").

    Example:
        >>> price_of("openai:qwen-vl@localhost:8000/v1", [Price("qwen*", 1.0, 4.0)]).made
        4.0
    """
    name = identity.partition(":")[2].rpartition("@")[0] or identity.partition(":")[2] or identity
    return next(
        (p for p in prices if fnmatchcase(name, p.model) or fnmatchcase(identity, p.model)), None
    )


def prices_of(models: Mapping[Speaker, str], prices: Sequence[Price]) -> Prices:
    """The price of every model, by its role; None where no line of the table is about it."""
    return {who: price_of(identity, prices) for who, identity in models.items()}


def spent(log: Path, answers: Sequence[Answer], prices: Prices | None = None) -> list[Cost]:
    """What the answers of a folder cost, by elicitor and model, from its log of responses.

    Args:
        log: ``responses.jsonl``.
        answers: Of the folder.
        prices: Of the models, by role.
    """
    calls = _calls(log)
    made = []
    for label in dict.fromkeys(answer.elicitor for answer in answers):
        keys = dict.fromkeys(key for a in answers if a.elicitor == label for key in a.requests)
        own = [call for key in keys for call in calls.get(key, ())]
        roles = dict.fromkeys(["subject", *(call.speaker for call in own)])
        made += [_cost(label, [c for c in own if c.speaker == who], who, prices) for who in roles]
    return made


def _cost(
    label: str, own: Sequence[_Call], who: Speaker, prices: Prices | None, digits: int = 3
) -> Cost:
    sent, out, thinking, cached = (
        sum(getattr(call, name) for call in own) for name in ("sent", "made", "thinking", "cached")
    )
    seconds = round(sum(call.seconds for call in own), digits)
    price = (prices or {}).get(who)
    paid = None if price is None else round(price.of(sent, out, thinking, cached), 6)
    currency = "" if price is None else price.currency
    counts = (len(own), round(sent), round(out), round(thinking))
    return Cost(label, *counts, seconds, paid, currency, round(cached), who)


def _calls(log: Path) -> dict[str, list[_Call]]:
    """Recorded calls by the key of their request; damaged lines are none."""
    found: dict[str, list[_Call]] = {}
    if not log.is_file():
        return found
    with log.open("rb") as lines:
        for line in lines:
            try:
                record = parse_json(line)
                plain = record["response"]
                names = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
                sent, out, thinking, cached = (int(plain.get(name) or 0) for name in names)
                who = cast("Speaker", str(record["request"].get("speaker") or "subject"))
                seconds = float(plain.get("seconds") or 0.0)
                call = _Call(who, sent, out, thinking, cached, seconds)
                found.setdefault(str(record["key"]), []).append(call)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return found


def planned(
    questions: QuestionSet,
    elicitors: Sequence[Elicitor],
    *,
    prices: Prices | None = None,
    log: Path | None = None,
    judged: bool = False,
) -> tuple[list[Cost], str]:
    """The most that a run can cost, by elicitor and model, and what that assumes.

    With replies of a model in ``log``, the mean tokens of a recorded call count; else a quarter of the
    letters, 1000 tokens for an image, and the longest reply.

    Args:
        questions: What would be asked.
        elicitors: How.
        prices: Of the models, by role.
        log: ``responses.jsonl`` of earlier commands, if there is one.
        judged: Whether a model judges answers to open questions.

    Returns:
        One cost for each elicitor and model, and the assumption in a sentence.
    """
    recorded = _calls(log).values() if log else ()
    past = [call for calls in recorded for call in calls if call.sent + call.made]
    costs = []
    for way in elicitors:
        own = [q for q in questions if not way.skips(q)]
        costs += [_planned(way, own, who, past, prices) for who in way.speakers]
        open_ones = [q for q in own if q.answer_type == "open" and q.gold] if judged else []
        if open_ones:
            asked = [judge_request(q, "x" * _ANSWER) for q in open_ones]
            costs.append(_expected(way.label, [(r, 1) for r in asked], "judge", past, prices))
    assumed = (
        f"tokens and seconds by the mean of {len(past):,} recorded calls"
        if past
        else "tokens assumed: a quarter of the letters, 1,000 for an image, the longest reply; no thoughts"
    )
    return costs, assumed


def _planned(
    way: Elicitor,
    own: Sequence[Question],
    who: Speaker,
    past: Sequence[_Call],
    prices: Prices | None,
) -> Cost:
    """A second model of an elicitor is asked once for each question, the one under study otherwise."""
    others = len(way.speakers) - 1
    asked = [(next(way.plan(q))[0], way.calls(q) - others if who == "subject" else 1) for q in own]
    return _expected(way.label, asked, who, past, prices)


def _expected(
    label: str,
    asked: Sequence[tuple[Request, int]],
    who: Speaker,
    past: Sequence[_Call],
    prices: Prices | None,
) -> Cost:
    own = [call for call in past if call.speaker == who]
    calls = sum(times for _, times in asked)
    if own:
        times = calls / len(own)
        sent, made, thinking, cached, seconds = (
            times * sum(getattr(call, name) for call in own) for name in _Call._fields[1:]
        )
        expected = _Call(who, sent, made, thinking, cached, seconds)
        cost = _cost(label, [expected], who, prices, 1)
        return replace(cost, calls=calls)
    sent = sum(times * (estimate_tokens(r) - r.max_tokens) for r, times in asked)
    made = sum(times * r.max_tokens for r, times in asked)
    cost = _cost(label, [_Call(who, sent, made, 0, 0, 0.0)], who, prices)
    return replace(cost, calls=calls, seconds=None)


def to_plain(costs: Iterable[Cost]) -> list[dict[str, Any]]:
    """As JSON data, for ``run.json``."""
    return [asdict(cost) for cost in costs]


def from_plain(plain: Any) -> list[Cost]:
    """Back from :func:`to_plain`; entries of another form are left out.

    Example:
        >>> from_plain(to_plain([Cost("verbalized", 2, 10, 4, 0, 1.5)]))[0].calls
        2
    """
    known = set(Cost.__dataclass_fields__)
    # Folders of earlier versions know neither cached tokens nor models.
    least = known - {"tokens_cached", "speaker"}
    entries = plain if isinstance(plain, list) else []
    return [Cost(**e) for e in entries if isinstance(e, dict) and least <= set(e) <= known]
