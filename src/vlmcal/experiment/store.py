"""A folder of runs: content-addressed, safe against crashes and against a second process."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmcal.errors import StoreError
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.locks import exclusive

STATUS = "status.json"


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
    def lock(self, run: str, *, wait: bool) -> Iterator[bool]:
        """Hold the run against other processes; yields False if another one has it and ``wait`` is off.

        It vanishes with its owner, even after ``kill -9``.
        """
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(folder / ".lock", wait=wait) as mine:
                yield mine
        except BaseException:
            _remove_if_empty(folder)
            raise


def _remove_if_empty(folder: Path) -> None:
    """Take away the folder of a run that failed before it wrote anything."""
    if [path.name for path in folder.glob("*")] in ([], [".lock"]):
        with suppress(OSError):
            (folder / ".lock").unlink(missing_ok=True)
            folder.rmdir()
