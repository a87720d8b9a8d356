"""A folder of runs: content-addressed, safe against crashes and against a second process."""

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcal.errors import StoreError
from vlmcal.hashing import canonical, digest
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.locks import exclusive

if TYPE_CHECKING:
    from vlmcal.experiment.plan import Cell

STATUS = "status.json"
WORKING = "working.json"


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Attributes:
        reason: The message.
        traceback: Where it came about.
        mendable: Whether the message says how to mend it; every run then tries the cell again.
        when: Time, as of :func:`time.time`; 0 for now.
    """

    reason: str
    traceback: str
    mendable: bool
    when: float = 0.0


@dataclass(frozen=True)
class Store:
    """Runs under ``root/runs/<id>``; a run exists once its ``status.json`` does, written last.

    Attributes:
        root: Folder; created on first use.
    """

    root: Path

    def open(self) -> "Store":
        """Create the folder and check that it can be written.

        Raises:
            StoreError: It cannot.
        """
        probe = self.root / f".writable-{os.getpid()}"
        try:
            (self.root / "runs").mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise StoreError(
                f"store {self.root} cannot be written: {error.strerror}. Choose another folder with "
                "--store, or change its permissions; nothing was computed yet"
            ) from error
        return self

    def folder(self, run: str) -> Path:
        """Folder of a run."""
        return self.root / "runs" / run

    def published(self, run: str) -> bool:
        """Whether the run is complete."""
        return (self.folder(run) / STATUS).is_file()

    def status(self, run: str) -> dict[str, Any]:
        """The status record of a published run.

        Raises:
            StoreError: The run is not there or its record is damaged.
        """
        return read_json(self.folder(run) / STATUS)

    def history(self, run: str) -> list[dict[str, Any]]:
        """One record per epoch of a run's training; [] where nothing was trained."""
        path = self.folder(run) / "history.json"
        return list(read_json(path)["epochs"]) if path.is_file() else []

    def runs(self) -> list[str]:
        """Ids of all published runs, sorted."""
        base = self.root / "runs"
        if not base.is_dir():
            return []
        return sorted(p.name for p in base.iterdir() if (p / STATUS).is_file())

    def publish(self, run: str, status: Mapping[str, Any]) -> None:
        """Declare the run complete, by one atomic rename; then drop its checkpoints."""
        write_json(self.folder(run) / STATUS, status)
        for checkpoint in self.folder(run).glob("checkpoint*.safetensors"):
            checkpoint.unlink(missing_ok=True)

    @contextmanager
    def lock(
        self, run: str, *, wait: bool, about: Mapping[str, Any] | None = None
    ) -> Iterator[bool]:
        """Hold the run against other processes; yields False if another one has it and ``wait`` is off.

        It vanishes with its owner, even after ``kill -9``.

        Args:
            run: Id.
            wait: Wait until it is free.
            about: What is done with it, for :meth:`working`.
        """
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / WORKING
        try:
            with exclusive(folder / ".lock", wait=wait) as mine:
                if mine and about is not None:
                    write_json(note, {**about, **_who(), "since": time.time()})
                try:
                    yield mine
                finally:
                    if mine:
                        note.unlink(missing_ok=True)
        except BaseException:
            _remove_if_empty(folder)
            raise

    def working(self) -> list[dict[str, Any]]:
        """What is being done, and what was when its process was killed ("alive" is then False)."""
        found = []
        for note in sorted((self.root / "runs").glob(f"*/{WORKING}")):
            with suppress(StoreError):  # it ended meanwhile
                alive = _held(note.with_name(".lock"))
                found.append({**read_json(note), "run": note.parent.name, "alive": alive})
        return found

    def failure_place(self, cell: "Cell") -> str:
        """Where the traceback of a failed cell is kept."""
        return str(self.root / "failed" / f"{cell.key}.json")

    def keep_failure(self, cell: "Cell", failure: Failure) -> None:
        """Keep why a cell failed.

        Raises:
            StoreError: The store cannot be written.
        """
        record = {**asdict(failure), "when": failure.when or time.time()}
        about = {"cell": canonical(cell), "label": cell.label(), **_who()}
        write_json(Path(self.failure_place(cell)), {**record, **about})

    def failure(self, cell: "Cell") -> Failure | None:
        """Why a cell failed when it was last tried; None where it did not."""
        path = Path(self.failure_place(cell))
        return failure_of(read_json(path)) if path.is_file() else None

    def drop_failure(self, cell: "Cell") -> None:
        """Forget that a cell failed."""
        Path(self.failure_place(cell)).unlink(missing_ok=True)

    def failures(self) -> dict[str, Failure]:
        """Why cells failed, by the key of the cell."""
        paths = sorted((self.root / "failed").glob("*.json"))
        return {path.stem: failure_of(read_json(path)) for path in paths}

    def remember_plan(self, cells: Sequence["Cell"], name: str) -> None:
        """Keep which cells an experiment has, for ``vlmcal status``."""
        key = digest([cell.key for cell in cells])[:16]
        write_json(self.root / "plans" / f"{key}.json", plan_record(cells, name))

    def plans(self) -> list[dict[str, Any]]:
        """The plans that were run here, the latest first."""
        paths = (self.root / "plans").glob("*.json")
        return sorted(map(read_json, paths), key=lambda plan: -float(plan["when"]))


def plan_record(cells: Sequence["Cell"], name: str) -> dict[str, Any]:
    """What a store keeps of a plan."""
    entries = [{"key": cell.key, "label": cell.label(), "cell": canonical(cell)} for cell in cells]
    return {"format": 1, "name": name, "when": time.time(), "cells": entries}


def failure_of(record: Mapping[str, Any]) -> Failure:
    """A failure from its record."""
    return Failure(
        str(record["reason"]),
        str(record["traceback"]),
        bool(record["mendable"]),
        float(record["when"]),
    )


def _who() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _held(lock: Path) -> bool:
    """Whether some process holds a lock; True where that cannot be asked."""
    try:
        with exclusive(lock, wait=False) as free:
            return not free
    except OSError:
        return True


def _remove_if_empty(folder: Path) -> None:
    """Take away the folder of a run that failed before it wrote anything."""
    if [path.name for path in folder.glob("*")] in ([], [".lock"]):
        with suppress(OSError):
            (folder / ".lock").unlink(missing_ok=True)
            folder.rmdir()
