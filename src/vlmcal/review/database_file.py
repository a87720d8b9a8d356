"""The SQLite file of a review: its tables, what may never be changed in them, and how it is begun."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from vlmcal.errors import StoreError
from vlmcal.review.log import now
from vlmcal.review.policy import Policy
from vlmcal.review.triage import Source

FORMAT: Final = 1
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cases (
    place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, need REAL NOT NULL, deferred INTEGER NOT NULL,
    site TEXT NOT NULL, arrival INTEGER NOT NULL, entry TEXT NOT NULL);
CREATE INDEX cases_by_need ON cases (need);
CREATE INDEX cases_deferred ON cases (deferred, place);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, item TEXT NOT NULL, user_code TEXT NOT NULL, arm TEXT NOT NULL,
    event TEXT NOT NULL, undoes INTEGER, entry TEXT NOT NULL);
CREATE INDEX events_of_item ON events (item, event, user_code);
CREATE INDEX events_of_user ON events (user_code, event, item);
CREATE INDEX events_of_kind ON events (event, seq);
CREATE INDEX events_undoing ON events (undoes) WHERE undoes IS NOT NULL;
CREATE TRIGGER events_follow BEFORE INSERT ON events
    WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM events)
    BEGIN SELECT RAISE(ABORT, 'entries follow one another'); END;
CREATE VIEW decisions AS SELECT item, user_code, arm, seq, entry FROM events e WHERE event = 'final'
    AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq);
"""
_FROZEN = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
    BEGIN SELECT RAISE(ABORT, 'nothing in a review is ever changed'); END;
"""


def begin(target: Path, source: Source, policy: Policy) -> Path:
    """Write the file of a new review of a source; it appears when all is in it.

    Raises:
        StoreError: The file exists, or cannot be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists; open it, or give another --db")
    part = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    about = {
        "format": FORMAT,
        "policy": policy.to_dict(),
        "source": source.fingerprint,
        **{n: getattr(source, n) for n in ("classes", "model_id", "calibrator_id", "title")},
        "root": None if source.root is None else str(source.root.resolve()),
        "evidence": source.evidence.to_dict(),
        "thresholds": asdict(source.thresholds),
        "notes": list(source.notes),
        "alpha": source.alpha,
        "created": now(),
    }
    with told(target), suppress(FileNotFoundError):
        part.unlink()
    with told(target):
        connection = sqlite3.connect(part)
        try:
            connection.executescript(_SCHEMA)
            arrival = {case.id: i for i, case in enumerate(source.cases, 1)}
            rows = (
                (i, c.id, c.need, bool(c.reasons), c.site, arrival[c.id], c.to_json())
                for i, c in enumerate(source.queue(), 1)
            )
            connection.executemany("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            pairs = [(name, json.dumps(value)) for name, value in about.items()]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", pairs)
            for table in ("meta", "cases", "events"):
                for verb in ("UPDATE", "DELETE"):
                    connection.executescript(_FROZEN.format(table=table, verb=verb))
            connection.commit()
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        os.replace(part, target)
    return target


def is_review(path: Path) -> bool:
    """Whether a file is an SQLite database, by its first bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the disk as what the user can mend."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: cannot be read or written ({error})") from error
