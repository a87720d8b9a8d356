"""The log of a review: every action is one entry, chained to the one before by its hash."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from vlmcal.errors import DataError
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import not_utf8

Kind = Literal["open", "answer", "reveal", "final", "undo", "outcome"]
KINDS: Final = get_args(Kind)
START: Final = "0" * 64
"""What the first entry is chained to."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of the log.

    Attributes:
        seq: 1, 2, ... without gaps.
        time_utc: When, in ISO 8601 with microseconds, UTC.
        user_code: Who; a code, never a name.
        item: Id of the case.
        arm: "blind", "assisted", "reader-first" or "adjudication"; "" for an outcome.
        event: What was done.
        value: Of an answer or a final decision the class, None for "cannot tell", or ``{"text": ...}``; of an
            undo the ``seq`` that it takes back; of an outcome ``{"label", "date", "source"}``
            and, where it was stated, the ``"probability"`` of being looked into.
        confidence: The reader's own, 1 (guess) to 5 (certain), or None.
        reason: ``{"code", "text"}``, or None.
        seconds: Since the case was opened, or None.
        model_id, calibrator_id: What made the numbers.
        policy_hash: Of the policy in force.
        shown: What the reader could see of the model: ``{"p", "lo", "hi", "set", "reasons"}``; None for
            nothing.
        prev: Hash of the entry before.
        hash: SHA-256 of the canonical JSON of all other fields.
    """

    seq: int
    time_utc: str
    user_code: str
    item: str
    arm: str
    event: Kind
    value: Any = None
    confidence: int | None = None
    reason: Mapping[str, str] | None = None
    seconds: float | None = None
    model_id: str = ""
    calibrator_id: str = ""
    policy_hash: str = ""
    shown: Mapping[str, Any] | None = None
    prev: str = START
    hash: str = ""

    def to_json(self) -> str:
        """Canonical JSON of the whole entry: sorted keys, no blanks, ASCII."""
        return canonical(vars(self))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Back from the parsed JSON; its hash is not checked.

        Raises:
            DataError: A field is missing or not known.
        """
        if plain.keys() != _FIELDS:
            odd = sorted(_FIELDS.symmetric_difference(plain))[0]
            raise DataError(f'no entry of a review log: field "{odd}" is missing or not known')
        return cls(**plain)

    def sealed(self) -> Self:
        """The entry with its hash."""
        return type(self)(**{**asdict(self), "hash": hash_of(asdict(self))})


_FIELDS: Final = frozenset(f.name for f in fields(Event))


def canonical(plain: Mapping[str, Any]) -> str:
    """One form per meaning: sorted keys, no blanks, ASCII only, no NaN.

    Example:
        >>> canonical({"b": 1, "a": None})
        '{"a":null,"b":1}'
    """
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(plain: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an entry without its ``hash``.

    Example:
        >>> hash_of({"seq": 1, "hash": "left out"})[:12]
        'b41e95c43f38'
    """
    rest = {name: value for name, value in plain.items() if name != "hash"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def now() -> str:
    """This moment in UTC, as entries have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Verified:
    """What :func:`verify` found.

    Attributes:
        count: Entries that were read.
        last: Hash of the last one; "" where there is none.
        broken: First broken link, as a sentence; "" where the chain is whole.
        place: ``seq`` (of a file the line) of the first broken link, or None.
        notes: Clocks that went backwards, and gaps.
    """

    count: int
    last: str
    broken: str = ""
    place: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong with the chain."""
        return not self.broken


def verify(entries: Iterable[Mapping[str, Any] | str]) -> Verified:
    """Follow the chain from its start.

    The chain shows what was changed, put in or taken out inside; that the tail was cut off it cannot show:
    compare the count and the last hash with those printed on an export.

    Args:
        entries: In order; mappings, or lines of JSON.

    Example:
        >>> one = Event(seq=1, time_utc="2026-01-01T00:00:00+00:00", user_code="r1", item="7", arm="blind",
        ...             event="answer", value="a").sealed()
        >>> verify([one.to_json()]).whole, verify([one.to_json().replace("blind", "blond")]).place
        (True, 1)
    """
    prev, before, seq, count, last, hidden = START, "", 0, 0, "", 0
    head: dict[str, Any] = {}
    broken, place, notes = "", None, []
    for entry in entries:
        count += 1
        try:
            plain = parse_json(entry) if isinstance(entry, str) else entry
            if not isinstance(plain, Mapping):
                raise DataError(f"expected an object, got {type(plain).__name__}")
            if count == 1 and "notice" in plain and not head:
                head, count = dict(plain), 0
                continue
            event = Event.from_dict(plain)
        except (ValueError, TypeError, DataError) as error:
            if not broken:
                broken, place = f"entry {count} cannot be read ({error})", count
            continue
        hidden += _hidden(event)
        wrong = _wrong(event, plain, prev, seq)
        if wrong and not broken:
            broken, place = wrong, event.seq
        if isinstance(event.seq, int) and event.seq > seq + 1:
            notes.append(f"entries {seq + 1} to {event.seq - 1} are missing")
        if str(event.time_utc) < before:
            notes.append(
                f"entry {event.seq}: the clock went backwards, {before} to {event.time_utc}"
            )
        prev, before, last = event.hash, str(event.time_utc), event.hash
        seq = event.seq if isinstance(event.seq, int) else seq + 1
    if hidden:
        notes.append(f"free text was left out of {hidden} entries, whose content is not checked")
    if head and not broken and (head.get("count"), head.get("last")) != (count, last or START):
        broken = (
            f"the export says that it has {head.get('count')} entries and ends in {head.get('last')}; "
            f"these are {count}, ending in {last or START}"
        )
    return Verified(count, last, broken, place, tuple(notes))


def _hidden(event: Event) -> bool:
    """Whether an export left the free text of this entry out."""
    parts = (event.value, event.reason)
    return any(isinstance(p, Mapping) and "text" in p and p["text"] is None for p in parts)


def _wrong(event: Event, plain: Mapping[str, Any], prev: str, seq: int) -> str:
    """What is wrong with one entry, or ""."""
    if not _hidden(event) and event.hash != hash_of(plain):
        return f"entry {event.seq} was changed: its content does not give its hash"
    if event.prev != prev:
        return (
            f"entry {event.seq} does not follow the one before it: its prev is not that one's hash"
        )
    if event.seq != seq + 1:
        return f"entry {event.seq} stands where entry {seq + 1} belongs"
    return ""


def lines_of(path: Path) -> Iterator[str]:
    """Lines of an exported ``log.jsonl``.

    Raises:
        DataError: No such file, or no text.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            yield from (line for line in stream if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no log of a review: {not_utf8(error)}") from error
