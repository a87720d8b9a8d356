"""Cells that take no time, for tests of engines: each appends one line to a file of its own."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmcal.errors import DataError
from vlmcal.experiment.engines.base import CellResult, Doing, Outcome
from vlmcal.io.locks import exclusive


@dataclass(frozen=True)
class FakeCell:
    number: int
    group: int = 0
    behaviour: str = ""
    backbone: str = "none"

    @property
    def key(self) -> str:
        return f"{self.number:04}"

    @property
    def loader(self) -> dict[str, Any]:
        return {"name": f"data {self.group}"}

    def label(self) -> str:
        return f"cell {self.number}"


@dataclass(frozen=True)
class FakeWork:
    """Publishes a cell by one exclusive link of ``folder/KEY``, holding a lock, as a store does."""

    folder: Path
    seconds: float = 0.0
    tell: Any = None

    def __call__(self, cell: FakeCell, wait: bool) -> CellResult | None:
        if self.tell is not None:
            self.tell(Doing(cell))
        done = self.folder / cell.key
        with exclusive(self.folder / f".{cell.key}.lock", wait=wait) as mine:
            if not mine:
                return None
            if done.exists():
                return CellResult(cell, cell.key, reused=True)
            with (self.folder / f"{cell.key}.log").open("a") as log:
                log.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
            self._behave(cell)
            time.sleep(self.seconds)
            fresh = self.folder / f".{cell.key}.{os.getpid()}"
            fresh.write_text(str(cell.number**2))
            os.link(fresh, done)  # fails where somebody published it before
        return CellResult(cell, cell.key)

    def _behave(self, cell: FakeCell) -> None:
        tries = len((self.folder / f"{cell.key}.log").read_text().splitlines())
        if cell.behaviour == "dies" or (cell.behaviour == "dies once" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)

    def together(self, cells: Sequence[FakeCell], wait: bool) -> Iterator[Outcome]:
        for cell in cells:
            if cell.behaviour == "fails":
                yield cell, CellResult(cell, None, error=DataError("no such images"))
            else:
                yield cell, self(cell, wait)

    def telling(self, tell: Any) -> "FakeWork":
        return replace(self, tell=tell)

    def loaded(self, cell: FakeCell) -> "FakeWork":
        with (self.folder / "loaded.log").open("a") as log:
            log.write(f"{cell.group}\n")
        return self

    def heard(self, worker: int, doing: Doing) -> None:
        with (self.folder / "heard.log").open("a") as log:
            log.write(f"{worker} {doing.cell.number if doing.cell else ''} {doing.what}\n")

    def lost(self, cell: FakeCell, reason: str) -> CellResult:
        return CellResult(cell, None, error=DataError(reason))

    def tries(self, cell: FakeCell) -> list[str]:
        return (self.folder / f"{cell.key}.log").read_text().splitlines()

    def published(self) -> dict[str, int]:
        plain = (path for path in self.folder.iterdir() if path.name.isdigit())
        return {path.name: int(path.read_text()) for path in plain}
