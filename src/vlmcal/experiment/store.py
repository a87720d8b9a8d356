"""A folder of runs: content-addressed, safe against crashes and against a second process."""

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcal.errors import StoreError
from vlmcal.hashing import canonical, digest
from vlmcal.io.claims import claimed, claims_of, who
from vlmcal.io.documents import Documents, FolderDocuments
from vlmcal.io.json_files import read_json, read_sealed, write_json, write_sealed
from vlmcal.io.locks import exclusive, on_network
from vlmcal.io.run_predictions import STATUS as STATUS
from vlmcal.io.run_predictions import read_status
from vlmcal.io.state_files import damage_named

if TYPE_CHECKING:
    from vlmcal.experiment.plan import Cell

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

    @property
    def place(self) -> str:
        """What a person calls the store."""
        return str(self.root)

    @property
    def documents(self) -> Documents:
        """Plans, failures and claims."""
        return FolderDocuments(self.root)

    def require(self) -> None:
        """Refuse a store that is not there.

        Raises:
            StoreError: It is not.
        """
        if not (self.root / "runs").is_dir():
            raise StoreError(
                f"there is no store at {self.root}; expected the folder that --store names in `vlmcal run`"
            )

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
        """Folder in which a run is made."""
        return self.root / "runs" / run

    def read(self, run: str) -> Path:
        """Folder of this machine that holds a published run."""
        return self.folder(run)

    def published(self, run: str) -> bool:
        """Whether the run is complete."""
        return (self.folder(run) / STATUS).is_file()

    def status(self, run: str) -> dict[str, Any]:
        """The status record of a published run.

        Raises:
            StoreError: The run is not there or its record is damaged.
        """
        return read_status(self.folder(run))

    def history(self, run: str) -> list[dict[str, Any]]:
        """One record per epoch of a run's training; [] where nothing was trained."""
        path = self.read(run) / "history.json"
        return list(read_sealed(path)["epochs"]) if path.is_file() else []

    def histories(self, runs: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """As :meth:`history`, of several runs; [] also where it is damaged, which is said."""
        found: dict[str, list[dict[str, Any]]] = {}
        for run in runs:
            try:
                with damage_named(self.folder(run) / "history.json"):
                    found[run] = self.history(run)
            except StoreError as error:
                warnings.warn(str(error), stacklevel=2)
                found[run] = []
        return found

    def runs(self) -> list[str]:
        """Ids of all published runs, sorted."""
        base = self.root / "runs"
        if not base.is_dir():
            return []
        return sorted(p.name for p in base.iterdir() if (p / STATUS).is_file())

    def statuses(self) -> dict[str, dict[str, Any]]:
        """The status records of all published runs, by id; damaged ones are left out."""
        found = {}
        for run in self.runs():
            with suppress(StoreError):
                found[run] = self.status(run)
        return found

    def publish(self, run: str, status: Mapping[str, Any]) -> None:
        """Declare the run complete, by one atomic rename; then drop its checkpoints."""
        write_sealed(self.folder(run) / STATUS, status)
        self.drop_checkpoints(run)

    def tidy(self, run: str) -> None:
        """Remove what a process that was killed just after it published the run left beside it."""
        with suppress(OSError):  # of a store that can only be read, it stays
            self.drop_checkpoints(run)
            (self.folder(run) / WORKING).unlink(missing_ok=True)

    def drop_checkpoints(self, run: str) -> None:
        """Remove what training would go on from."""
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
        network = on_network(self.root)
        note = folder / WORKING
        held = (
            claimed(self.documents, f"claims/{run}", about or {}, wait=wait)
            if network
            else exclusive(folder / ".lock", wait=wait)
        )
        try:
            with held as mine:
                if mine and about is not None and not network:
                    write_json(note, {**about, **who(), "since": time.time()})
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
        found = claims_of(self.documents)
        for note in sorted((self.root / "runs").glob(f"*/{WORKING}")):
            with suppress(StoreError):  # it ended meanwhile
                alive = _held(note.with_name(".lock"))
                found.append({**read_json(note), "run": note.parent.name, "alive": alive})
        return found

    def failure_place(self, cell: "Cell") -> str:
        """Where the traceback of a failed cell is kept."""
        return f"{self.place}/{_failure_name(cell)}"

    def keep_failure(self, cell: "Cell", failure: Failure) -> None:
        """Keep why a cell failed.

        Raises:
            StoreError: The store cannot be written.
        """
        about = {"cell": canonical(cell), "label": cell.label(), **who()}
        record = {**asdict(failure), "when": failure.when or time.time()}
        self.documents.write(_failure_name(cell), {**record, **about})

    def failure(self, cell: "Cell") -> Failure | None:
        """Why a cell failed when it was last tried; None where it did not."""
        record = self.documents.read(_failure_name(cell))
        return None if record is None else failure_of(record)

    def drop_failure(self, cell: "Cell") -> None:
        """Forget that a cell failed."""
        self.documents.remove(_failure_name(cell))

    def failures(self) -> dict[str, Failure]:
        """Why cells failed, by the key of the cell."""
        names = self.documents.names("failed")
        records = {Path(name).stem: self.documents.read(name) for name in names}
        return {key: failure_of(record) for key, record in records.items() if record is not None}

    def remember_plan(self, cells: Sequence["Cell"], name: str) -> None:
        """Keep which cells an experiment has, for ``vlmcal status``."""
        key = digest([cell.key for cell in cells])[:16]
        self.documents.write(f"plans/{key}.json", plan_record(cells, name))

    def plans(self) -> list[dict[str, Any]]:
        """The plans that were run here, the latest first."""
        records = map(self.documents.read, self.documents.names("plans"))
        found = [record for record in records if record is not None]
        return sorted(found, key=lambda plan: -float(plan["when"]))


def _failure_name(cell: "Cell") -> str:
    return f"failed/{cell.key}.json"


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
