"""What stands in the log of a review, case by case; read once, and then only what was added."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vlmcal.review.case import Case
from vlmcal.review.log import Event
from vlmcal.review.policy import Policy
from vlmcal.review.workflow import ADJUDICATION, Verdict, same, verdict
from vlmcal.types.arrays import BoolArray, FloatArray

_COUNTS = "('answer', 'final', 'undo', 'outcome')"
_CHUNK = 500


@dataclass(frozen=True)
class Reading:
    """A reader's decision on a case, with what is known of it.

    Attributes:
        case: The case.
        reader: Code.
        arm: How it was put.
        answer: First answer, before the model was seen; None where there was none.
        final: Decision in force.
        truth: Outcome or reference; None while nobody knows.
    """

    case: Case
    reader: str
    arm: str
    answer: Event | None
    final: Event
    truth: str | None

    @property
    def shown(self) -> bool:
        """Whether the model was in view at the decision."""
        return self.final.shown is not None

    @property
    def seconds(self) -> float | None:
        """From opening to the decision, or None."""
        return self.final.seconds

    @cached_property
    def right(self) -> bool:
        """Whether the decision is right; "cannot tell" is not."""
        return self.final.value is not None and same(self.final.value, self.truth)

    @cached_property
    def answered_right(self) -> bool:
        """Whether the first answer was right."""
        answer = self.answer
        return answer is not None and answer.value is not None and same(answer.value, self.truth)

    @cached_property
    def model_right(self) -> bool:
        """Whether the model was right."""
        return self.case.predicted is not None and same(self.case.predicted, self.truth)

    @cached_property
    def models(self) -> bool:
        """Whether the decision is the model's answer."""
        return same(self.final.value, self.case.predicted)

    @property
    def override(self) -> bool:
        """Whether the decision is another than the model's, which was in view."""
        return self.shown and not self.models


class Outcome(NamedTuple):
    """What became known of a case.

    Attributes:
        label: Right answer that holds.
        since: When the first one was entered.
        probability: With which the case was chosen to be looked into; None where nobody said.
    """

    label: str
    since: str
    probability: float | None


class Settled(NamedTuple):
    """What stands of one case.

    Attributes:
        place: In the queue.
        case: The case.
        readings: Decisions in force, adjudications left out, in the order in which they were made.
        verdict: What its readers came to.
        outcome: What became known, or None.
    """

    place: int
    case: Case
    readings: tuple[Reading, ...]
    verdict: Verdict
    outcome: Outcome | None


class Facts(NamedTuple):
    """Of all cases, in the order of the source.

    Attributes:
        ids: Of the cases.
        group: Patient or study of each.
        site: "" where none is known.
        said: The model's answer where classes are known, else "".
        deferred: (N,) whether the policy gives it to a person.
        confidence: (N,) in the answer; NaN without one.
        known: (N,) whether the source knows the right answer.
    """

    ids: Sequence[str]
    group: Sequence[str]
    site: Sequence[str]
    said: Sequence[str]
    deferred: BoolArray
    confidence: FloatArray
    known: BoolArray


class Standing:
    """What stands in a log that grows.

    Args:
        connection: Gives the connection of the thread that asks.
        policy: Of the review.
    """

    def __init__(self, connection: Callable[[], sqlite3.Connection], policy: Policy) -> None:
        self._connection, self._policy = connection, policy
        self._lock = threading.Lock()
        self._last = 0
        self._cases: dict[str, Settled] = {}
        self._disagreed: dict[str, Settled] = {}

    def cases(self) -> Mapping[str, Settled]:
        """Every case that was answered or decided or whose outcome is known, by its id."""
        with self._lock:
            self._read_on()
            return dict(self._cases)

    def disagreed(self) -> list[Settled]:
        """Cases on which readers disagree and nobody has adjudicated, in the order of the queue."""
        with self._lock:
            self._read_on()
            return sorted(self._disagreed.values(), key=lambda each: each.place)

    @cached_property
    def facts(self) -> Facts:
        """Of all cases."""
        ids, group, site, said, deferred, confidence, known = [], [], [], [], [], [], []
        query = "SELECT deferred, entry FROM cases ORDER BY arrival"
        for is_deferred, entry in self._connection().execute(query).fetchall():
            plain = json.loads(entry)  # not by SQLite, which reads no infinite scores
            answered = plain["predicted"] is not None and plain["confidence"] is not None
            ids.append(plain["id"])
            group.append(plain["group"])
            site.append(plain["site"])
            said.append((plain["predicted"] or "") if plain["classes"] else "")
            deferred.append(bool(is_deferred))
            confidence.append(plain["confidence"] if answered else np.nan)
            known.append(plain["reference"] is not None)
        return Facts(
            ids, group, site, said, np.array(deferred), np.array(confidence), np.array(known)
        )

    def _read_on(self) -> None:
        one = self._connection().execute
        (last,) = one("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
        if last == self._last:
            return
        query = f"SELECT DISTINCT item FROM events WHERE seq > ? AND event IN {_COUNTS}"
        touched = [item for (item,) in one(query, (self._last,)).fetchall()]
        for start in range(0, len(touched), _CHUNK):
            for name, each in self._settled(touched[start : start + _CHUNK]):
                self._cases[name] = each
                self._disagreed.pop(name, None)
                if each.verdict.status == "disagreed":
                    self._disagreed[name] = each
        self._last = last

    def _settled(self, names: Sequence[str]) -> Iterator[tuple[str, Settled]]:
        one, marks = self._connection().execute, ", ".join("?" * len(names))
        query = f"SELECT id, place, entry FROM cases WHERE id IN ({marks})"
        cases = {name: (place, Case.from_json(entry)) for name, place, entry in one(query, names)}
        query = (
            f"SELECT entry FROM events e WHERE item IN ({marks}) AND event IN {_COUNTS} AND event <> 'undo' "
            "AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq) ORDER BY seq"
        )
        entries: dict[str, list[Event]] = {name: [] for name in names}
        for (entry,) in one(query, names):
            event = Event.from_dict(json.loads(entry))
            entries[event.item].append(event)
        for name, events in entries.items():
            place, case = cases[name]
            outcome = _outcome([e for e in events if e.event == "outcome"])
            held = [e for e in events if e.event != "outcome"]
            truth = case.reference if outcome is None else outcome.label
            told = verdict(held, self._policy)
            yield name, Settled(place, case, tuple(_readings(case, held, truth)), told, outcome)


def _outcome(events: Sequence[Event]) -> Outcome | None:
    if not events:
        return None
    value = events[-1].value
    return Outcome(value["label"], events[0].time_utc, value.get("probability"))


def _readings(case: Case, held: Sequence[Event], truth: str | None) -> list[Reading]:
    """Of the entries in force on a case."""
    answer = {e.user_code: e for e in held if e.event == "answer"}
    final = {e.user_code: e for e in held if e.event == "final"}
    found = [
        Reading(case, who, event.arm, answer.get(who), event, truth)
        for who, event in final.items()
        if event.arm != ADJUDICATION
    ]
    return sorted(found, key=lambda reading: reading.final.seq)
