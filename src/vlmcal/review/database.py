"""A review in one SQLite file: cases that never change, and a log that only grows."""

import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast, get_args

from vlmcal.errors import DataError, SpecError, StoreError, require_known
from vlmcal.io.locks import in_turn
from vlmcal.review import workflow
from vlmcal.review.case import Case
from vlmcal.review.database_file import FORMAT, begin, is_review, told
from vlmcal.review.evidence import Evidence
from vlmcal.review.log import START, Event, Kind, Verified, now, verify
from vlmcal.review.policy import Policy
from vlmcal.review.standing import Settled, Standing
from vlmcal.review.triage import Source

Filter = Literal["todo", "deferred", "done", "adjudicate", "all"]
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_MINE = "EXISTS (SELECT 1 FROM decisions d WHERE d.item = c.id AND d.user_code = :reader)"
_READ = "(SELECT COUNT(*) FROM decisions d WHERE d.item = c.id AND d.arm <> 'adjudication')"
_WHERE: Final[Mapping[str, str]] = {
    "all": "1",
    "done": _MINE,
    "todo": f"(c.deferred OR :all) AND NOT {_MINE} AND {_READ} < :readers",
    "deferred": "c.deferred = 1",
}


class Row(NamedTuple):
    """A line of the queue.

    Attributes:
        place: In the whole queue, from 1.
        case: The case.
        done: Whether this reader has decided it.
    """

    place: int
    case: Case
    done: bool


@dataclass(frozen=True)
class Counts:
    """How far a review is.

    Attributes:
        cases: All.
        deferred: Of these, for a person by the policy.
        todo: Left for this reader.
        done: Decided by this reader.
        adjudicate: Readers disagree, and this one may adjudicate.
        events: Entries in the log.
    """

    cases: int
    deferred: int
    todo: int
    done: int
    adjudicate: int
    events: int


class Review:
    """A review on disk; one object may be used by several threads, and one file by several processes.

    Attributes:
        path: The SQLite file; "-wal" and "-shm" beside it belong to it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self._alarms: tuple[int, Mapping[str | None, str]] = (-1, {})

    @classmethod
    def create(cls, path: str | os.PathLike[str], source: Source, policy: Policy) -> Self:
        """A new review of a source.

        Raises:
            StoreError: The file exists, or cannot be written.
        """
        target = begin(Path(path), source, policy)
        return cls.open(target)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A review that exists.

        Raises:
            StoreError: No such file, or no review, or one of a newer version.
        """
        file = Path(path)
        if not is_review(file):
            if file.exists():
                raise StoreError(f"{file}: no review: another kind of file")
            raise StoreError(
                f"{file}: no such review; make one with `vlmcal review SOURCE --db DB`"
            )
        review = cls(file)
        try:
            version = review.about["format"]
        except (sqlite3.DatabaseError, KeyError, ValueError) as error:
            raise StoreError(f"{file}: no review, or a damaged one ({error})") from error
        if version != FORMAT:
            raise StoreError(f"{file}: format {version} is newer than this version of vlmcal reads")
        return review

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the review was made of: classes, model, calibrator, root, thresholds, notes."""
        rows = self._connection().execute("SELECT name, value FROM meta")
        return {name: json.loads(value) for name, value in rows}

    @cached_property
    def policy(self) -> Policy:
        """In force."""
        return Policy.from_dict(self.about["policy"])

    @cached_property
    def evidence(self) -> Evidence:
        """Local cases that speak for the confidences."""
        return Evidence.from_dict(self.about["evidence"])

    @cached_property
    def standing(self) -> Standing:
        """What stands in the log, kept up to date."""
        return Standing(self._connection, self.policy)

    @property
    def root(self) -> Path | None:
        """Folder that images are under; nothing outside of it is ever shown."""
        return None if self.about["root"] is None else Path(self.about["root"])

    def case(self, name: str) -> Case:
        """A case by its id.

        Raises:
            DataError: No such case.
        """
        query = "SELECT entry FROM cases WHERE id = ?"
        row = self._connection().execute(query, (name,)).fetchone()
        if row is None:
            raise DataError(f'{self.path}: no case "{name}"')
        return Case.from_json(row[0])

    def cases(self) -> list[Case]:
        """All, in the order of the queue."""
        # At once: what is read in pieces holds an old state of the file, on which nothing can be written.
        rows = self._connection().execute("SELECT entry FROM cases ORDER BY place").fetchall()
        return [Case.from_json(entry) for (entry,) in rows]

    def page(
        self, reader: str, filter: Filter = "todo", offset: int = 0, limit: int = 50
    ) -> list[Row]:
        """A part of the queue, in the order in which cases need a person.

        Args:
            reader: Code.
            filter: "todo" (left for this reader), "deferred", "done", "adjudicate" or "all".
            offset: Lines to pass over.
            limit: Most lines.

        Raises:
            SpecError: No such filter.
        """
        limit, offset = max(limit, 0), max(offset, 0)
        if filter == "adjudicate":  # that they disagree is in the words of their decisions
            found = self.to_adjudicate(reader)[offset : offset + limit]
            return [Row(each.place, each.case, False) for each in found]
        query = f"SELECT c.place, c.entry, {_MINE} FROM cases c WHERE {_filter(filter)} ORDER BY c.place"
        given = {**self._bound(reader), "limit": limit, "offset": offset}
        rows = self._connection().execute(f"{query} LIMIT :limit OFFSET :offset", given)
        return [Row(place, Case.from_json(entry), bool(done)) for place, entry, done in rows]

    def to_adjudicate(self, reader: str) -> list[Settled]:
        """Cases whose readers disagree, this one not being one of them, in the order of the queue."""
        if self.policy.readers < 2:
            return []
        return [e for e in self.standing.disagreed() if reader not in e.verdict.readers]

    def beside(self, name: str, reader: str, step: int, filter: Filter = "todo") -> str | None:
        """Id of the next (1) or previous (-1) case of the queue, or None."""
        if filter == "adjudicate":
            places = [(each.place, each.case.id) for each in self.to_adjudicate(reader)]
            query = "SELECT place FROM cases WHERE id = ?"
            (here,) = self._connection().execute(query, (name,)).fetchone() or (0,)
            found = [case for place, case in places if (place - here) * step > 0]
            return found[0 if step > 0 else -1] if found else None
        sign, order = (">", "ASC") if step > 0 else ("<", "DESC")
        query = (
            f"SELECT c.id FROM cases c WHERE {_filter(filter)} AND c.place {sign} "
            f"(SELECT place FROM cases WHERE id = :name) ORDER BY c.place {order} LIMIT 1"
        )
        row = self._connection().execute(query, {**self._bound(reader), "name": name}).fetchone()
        return None if row is None else str(row[0])

    def counts(self, reader: str, *, judging: bool = True) -> Counts:
        """How far this reader is; what there is to adjudicate only where it is wanted."""
        one = self._connection().execute
        cases, deferred = one("SELECT COUNT(*), COALESCE(SUM(deferred), 0) FROM cases").fetchone()
        queued = cases if self._bound(reader)["all"] else deferred
        query = (
            "SELECT MAX(user_code = :reader), SUM(arm <> 'adjudication') >= :readers, c.deferred OR :all "
            "FROM decisions d JOIN cases c ON c.id = d.item GROUP BY d.item"
        )
        rows = one(query, self._bound(reader)).fetchall()
        done = sum(mine for mine, _, _ in rows)
        gone = sum((mine or full) and counted for mine, full, counted in rows)
        judge, events = len(self.to_adjudicate(reader)) if judging else 0, self.last()[0]
        return Counts(cases, deferred, queued - gone, done, judge, events)

    def events(self, item: str | None = None, *, kind: Kind | None = None) -> list[Event]:
        """Entries of the log in order, of one case or kind where asked."""
        query, given = "SELECT entry FROM events WHERE 1", []
        for column, value in (("item", item), ("event", kind)):
            if value is not None:
                query += f" AND {column} = ?"
                given.append(value)
        rows = self._connection().execute(f"{query} ORDER BY seq", given)
        return [Event.from_dict(json.loads(entry)) for (entry,) in rows]

    def state(self, name: str, reader: str) -> workflow.State:
        """What this reader may see and do next."""
        return workflow.state(self.case(name), self.events(name), reader, self.policy)

    def panel(self, name: str) -> workflow.Panel:
        """What may be shown of the model on a case, once it may be shown at all."""
        case = self.case(name)
        return workflow.panel(case, self.evidence, alarm=self.alarm(case.site))

    def alarms(self) -> Mapping[str | None, str]:
        """What the drift alarms say, from all outcomes so far, by site; under None of all cases."""
        from vlmcal.review.watched_review import alarms

        query = "SELECT COALESCE(MAX(seq), 0) FROM events WHERE event = 'outcome'"
        (last,) = self._connection().execute(query).fetchone()
        if self._alarms[0] != last:
            self._alarms = (last, alarms(self) if last else {})
        return self._alarms[1]

    def alarm(self, site: str | None = None) -> str:
        """The alarm that holds for cases of a site; without one any that is on; "" where none is."""
        found = self.alarms()
        if site is None:
            return next(iter(found.values()), "")
        return found.get(None, found.get(site, ""))

    def act(
        self,
        reader: str,
        item: str,
        event: Kind,
        value: Any = None,
        *,
        confidence: int | None = None,
        reason: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Event:
        """Do what a reader asks for, if it may be done now; the entry is on disk when this returns.

        What the reader sees of the model is recorded with it: nothing with an answer in the arm
        "reader-first", everything from its reveal on.

        Raises:
            SpecError: It cannot be done now; see :func:`vlmcal.review.workflow.require`.
            DataError: No such case.
            StoreError: It could not be written.
        """
        case = self.case(item)
        alarm = self.alarm(case.site)

        def draft(events: Sequence[Event]) -> dict[str, Any]:
            standing = workflow.state(case, events, reader, self.policy)
            workflow.require(case, standing, event, value, reason, confidence)
            visible = standing.show_model or event == "reveal"
            shown = workflow.panel(case, self.evidence, alarm=alarm).shown() if visible else None
            return {
                "arm": standing.arm,
                "value": standing.undo if event == "undo" else value,
                "confidence": confidence,
                "reason": None if reason is None else dict(reason),
                "seconds": seconds,
                "shown": shown,
            }

        return self._append(reader, item, event, draft)

    def append(self, reader: str, item: str, event: Kind, value: Any = None, **rest: Any) -> Event:
        """Write one entry as it is; :meth:`act` is for what readers do.

        Raises:
            SpecError: The code of the reader is none.
            DataError: No such case.
            StoreError: It could not be written.
        """
        self.case(item)
        return self._append(reader, item, event, lambda events: {"arm": "", "value": value, **rest})

    def append_outcomes(self, user: str, outcomes: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write outcomes of cases, all of them or none.

        Raises:
            SpecError: The code of the user is none.
            StoreError: They could not be written.
        """
        _require_code(user)
        with self._writing() as connection:
            for item, value in outcomes:
                self._insert(connection, user, item, "outcome", {"arm": "", "value": dict(value)})

    def _append(
        self,
        reader: str,
        item: str,
        event: Kind,
        draft: Callable[[Sequence[Event]], Mapping[str, Any]],
    ) -> Event:
        _require_code(reader)
        with self._writing() as connection:
            return self._insert(connection, reader, item, event, draft(self.events(item)))

    def _insert(
        self,
        connection: sqlite3.Connection,
        reader: str,
        item: str,
        event: Kind,
        made: Mapping[str, Any],
    ) -> Event:
        seq, prev = self.last()
        fields = {"seq": seq + 1, "time_utc": now(), "user_code": reader, "item": item}
        fields |= {"event": event, "policy_hash": self.policy.hash, "prev": prev}
        fields |= {name: self.about[name] for name in ("model_id", "calibrator_id")}
        try:
            entry = Event(**{**fields, **made}).sealed()
        except (TypeError, ValueError) as error:
            raise DataError(f"what is to be written is no plain data ({error})") from error
        undoes = entry.value if event == "undo" else None
        row = (entry.seq, item, reader, entry.arm, event, undoes, entry.to_json())
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return entry

    def last(self) -> tuple[int, str]:
        """Number of entries and hash of the last one, to be kept elsewhere."""
        query = "SELECT seq, entry FROM events ORDER BY seq DESC LIMIT 1"
        row = self._connection().execute(query).fetchone()
        return (0, START) if row is None else (int(row[0]), str(json.loads(row[1])["hash"]))

    def verify(self) -> Verified:
        """Follow the chain of the log; see :func:`vlmcal.review.log.verify`."""
        query = "SELECT seq, item, user_code, arm, event, undoes, entry FROM events ORDER BY seq"
        rows = self._connection().execute(query).fetchall()
        found = verify(row[-1] for row in rows)
        for row in rows if found.whole else ():
            entry = json.loads(row[-1])
            undone = entry["value"] if entry["event"] == "undo" else None
            stands = (*(entry[n] for n in ("seq", "item", "user_code", "arm", "event")), undone)
            if stands != row[:-1]:
                why = f"entry {row[0]}: the columns beside it say something else than it does"
                return Verified(found.count, found.last, why, row[0], found.notes)
        return found

    def close(self) -> None:
        """Close this thread's connection."""
        held = getattr(self._local, "connection", None)
        if held is not None:
            held.close()
            self._local.connection = None

    def _bound(self, reader: str) -> dict[str, Any]:
        automated = self.policy.automation is not None and not self.alarm()
        return {"reader": reader, "readers": self.policy.readers, "all": not automated}

    def _connection(self) -> sqlite3.Connection:
        """One of its own for every thread, and for every process after a fork."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            local.connection = None
        if getattr(local, "connection", None) is None:
            with told(self.path):
                opened = sqlite3.connect(self.path, timeout=60, isolation_level=None)
                opened.execute("PRAGMA synchronous = FULL")
                opened.execute("PRAGMA recursive_triggers = ON")
            local.connection, local.process = opened, os.getpid()
        return cast("sqlite3.Connection", local.connection)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of one writer; what is inside is durable when the block ends without an error."""
        connection = self._connection()
        with told(self.path), in_turn(self.path.with_name(f".{self.path.name}.lock")):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise


def _require_code(reader: str) -> None:
    if not _CODE.fullmatch(reader):
        raise SpecError(
            f"reader {reader!r}: expected a code of up to 32 letters, digits, points and dashes; no name"
        )


def _filter(name: str) -> str:
    require_known(name, get_args(Filter), "no filter")
    return _WHERE[name]
