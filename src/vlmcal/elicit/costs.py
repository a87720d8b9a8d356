"""What asking costs: calls, tokens, seconds and, by a table of the user's own, the price."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vlmcal.data.rows import read_rows
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.base import Elicitor
from vlmcal.elicit.pacing import estimate_tokens
from vlmcal.errors import DataError, nearest
from vlmcal.io.json_text import parse_json
from vlmcal.types.question import QuestionSet

_COLUMNS = ("model", "in", "out", "thinking", "cached", "currency")
_MILLION = 1_000_000
Record = tuple[int, int, int, float]


@dataclass(frozen=True)
class Price:
    """What a model's maker takes for a million tokens.

    Attributes:
        model: Name of the model on its server; ``*`` stands for any letters.
        sent, made: Of tokens sent, and of tokens generated.
        thinking: Of tokens of thoughts; None where they cost as much as others that are generated.
        currency: Its name.
    """

    model: str
    sent: float
    made: float
    thinking: float | None = None
    currency: str = ""

    def of(self, tokens_in: float, tokens_out: float, tokens_thinking: float = 0.0) -> float:
        """Price of tokens; thoughts are among those generated.

        Example:
            >>> Price("m", 2.0, 10.0).of(1_000_000, 100_000)
            3.0
        """
        thinking = self.made if self.thinking is None else self.thinking
        made = tokens_out - tokens_thinking
        return (tokens_in * self.sent + made * self.made + tokens_thinking * thinking) / _MILLION


@dataclass(frozen=True)
class Cost:
    """What one elicitor costs; a call that several share is counted for each.

    Attributes:
        elicitor: Its label.
        calls: Requests that were answered.
        tokens_in, tokens_out, tokens_thinking: As the server counts them; thoughts are among those out.
        seconds: Sum over the calls, of which several run at the same time.
        price: None where the model has none in the table.
        currency: Of the price.
    """

    elicitor: str
    calls: int
    tokens_in: int
    tokens_out: int
    tokens_thinking: int
    seconds: float | None
    price: float | None = None
    currency: str = ""


def load_prices(path: str | Path) -> list[Price]:
    r"""A table of prices per million tokens, with columns model, in, out and perhaps thinking, currency.

    Args:
        path: A .csv, .tsv, .json or .jsonl. Names of models may hold ``*``; the first line that fits counts.

    Raises:
        DataError: A column is missing or unknown, or a price is no number of 0 or more.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "prices.csv")
        >>> _ = table.write_text("model,in,out,currency\nqwen*,1,4,EUR\n")
        >>> load_prices(table)[0].of(500_000, 500_000)
        2.5
    """
    file = Path(path)
    return [_price(row.cells, row.where) for row in read_rows(file)]


def _price(cells: Mapping[str, Any], where: str) -> Price:
    for name in cells:
        if name not in _COLUMNS:
            raise DataError(f'{where}: unknown column "{name}"; {nearest(name, _COLUMNS)}')
    for name in ("model", "in", "out"):
        if not str(cells.get(name) or "").strip() and cells.get(name) != 0:
            raise DataError(f'{where}: "{name}" is missing; a price needs model, in and out')
    thinking = cells.get("thinking")
    return Price(
        str(cells["model"]).strip(),
        _number(cells["in"], "in", where),
        _number(cells["out"], "out", where),
        None if thinking in (None, "") else _number(thinking, "thinking", where),
        str(cells.get("currency") or "").strip(),
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


def spent(log: Path, answers: Sequence[Answer], price: Price | None = None) -> list[Cost]:
    """What the answers of a folder cost, by elicitor, from its log of responses.

    Args:
        log: ``responses.jsonl``.
        answers: Of the folder.
        price: Of the model.
    """
    records = _records(log)
    labels = list(dict.fromkeys(answer.elicitor for answer in answers))
    made = []
    for label in labels:
        keys = dict.fromkeys(key for a in answers if a.elicitor == label for key in a.requests)
        own = [record for key in keys for record in records.get(key, ())]
        made.append(_cost(label, own, price))
    return made


def _cost(label: str, own: Sequence[Record], price: Price | None) -> Cost:
    sent, out, thinking = (sum(record[i] for record in own) for i in range(3))
    seconds = round(sum(record[3] for record in own), 3)
    paid = None if price is None else round(price.of(sent, out, thinking), 6)
    currency = "" if price is None else price.currency
    return Cost(label, len(own), int(sent), int(out), int(thinking), seconds, paid, currency)


def _records(log: Path) -> dict[str, list[Record]]:
    """Tokens in, out and of thoughts, and seconds, of every response by its key; damaged lines are none."""
    found: dict[str, list[Record]] = {}
    if not log.is_file():
        return found
    with log.open("rb") as lines:
        for line in lines:
            try:
                record = parse_json(line)
                plain = record["response"]
                names = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
                sent, out, thinking = (int(plain.get(name) or 0) for name in names)
                row = (sent, out, thinking, float(plain.get("seconds") or 0.0))
                found.setdefault(str(record["key"]), []).append(row)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return found


def planned(
    questions: QuestionSet,
    elicitors: Sequence[Elicitor],
    *,
    price: Price | None = None,
    log: Path | None = None,
) -> tuple[list[Cost], str]:
    """The most that a run can cost, by elicitor, and what that assumes.

    With replies in ``log``, the mean tokens of a recorded call count; else a quarter of the letters, 1000
    tokens for an image, and the longest reply.

    Args:
        questions: What would be asked.
        elicitors: How.
        price: Of the model.
        log: ``responses.jsonl`` of earlier commands, if there is one.

    Returns:
        One cost for each elicitor, and the assumption in a sentence.
    """
    past = [r for rows in _records(log).values() for r in rows if r[0] + r[1]] if log else []
    mean = tuple(sum(r[i] for r in past) / len(past) for i in range(4)) if past else None
    costs = []
    for way in elicitors:
        own = [q for q in questions if not way.skips(q)]
        calls = sum(way.calls(q) for q in own)
        sent = out = thinking = 0.0
        seconds = None
        if mean is not None:
            sent, out, thinking, seconds = (calls * value for value in mean)
        else:
            for question in own:
                request = next(way.plan(question))[0]
                sent += way.calls(question) * (estimate_tokens(request) - request.max_tokens)
                out += way.calls(question) * request.max_tokens
        paid = None if price is None else round(price.of(sent, out, thinking), 6)
        told = None if seconds is None else round(seconds, 1)
        currency = "" if price is None else price.currency
        costs.append(
            Cost(way.label, calls, round(sent), round(out), round(thinking), told, paid, currency)
        )
    assumed = (
        f"tokens and seconds by the mean of {len(past):,} recorded calls"
        if past
        else "tokens assumed: a quarter of the letters, 1,000 for an image, the longest reply; no thoughts"
    )
    return costs, assumed


def to_plain(costs: Iterable[Cost]) -> list[dict[str, Any]]:
    """As JSON data, for ``run.json``."""
    return [asdict(cost) for cost in costs]


def from_plain(plain: Any) -> list[Cost]:
    """Back from :func:`to_plain`; entries of another form are left out.

    Example:
        >>> from_plain(to_plain([Cost("verbalized", 2, 10, 4, 0, 1.5)]))[0].calls
        2
    """
    known = Cost.__dataclass_fields__
    entries = plain if isinstance(plain, list) else []
    return [Cost(**e) for e in entries if isinstance(e, dict) and set(e) == set(known)]
