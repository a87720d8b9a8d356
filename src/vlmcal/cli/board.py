"""Progress of several workers: a live table on a terminal, a line a minute in a log."""

import sys
import time
from typing import TYPE_CHECKING, Any

from vlmcal.cli.console import bar, note, pace

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from vlmcal.experiment.engines.base import CellResult, Doing

LOG_SECONDS = 60.0


class Board:
    """What every worker is at, how many cells are done, and how long the rest will take.

    Args:
        cells: How many there are.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.done = self.failed = self.reused = 0
        self.workers: dict[int, tuple[str, Doing]] = {}
        self.began = self.last = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> "Board":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(
                console=Console(stderr=True), get_renderable=self.table, refresh_per_second=4
            )
            self.live.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        if self.live is not None:
            self.live.stop()

    def heard(self, worker: int, doing: "Doing") -> None:
        """What a worker told."""
        before = self.workers.get(worker, ("", doing))[0]
        self.workers[worker] = (before if doing.cell is None else doing.cell.label(), doing)
        self.tick()

    def finished(self, result: "CellResult") -> None:
        """A cell is done, or has failed."""
        self.done += 1
        self.failed += result.error is not None
        self.reused += result.reused
        self.tick()

    def tick(self) -> None:
        """Write the line of a log, if its time has come."""
        if self.live is None and time.monotonic() - self.last >= LOG_SECONDS:
            self.last = time.monotonic()
            at = "; ".join(_line(label, doing) for label, doing in self.workers.values())
            note(f"{self.summary()}; now {at}")

    def summary(self) -> str:
        """Cells done and failed, and the time that is left at this pace.

        Example:
            >>> Board(4).summary()
            'cells [--------------------] 0/4'
        """
        seconds = time.monotonic() - self.began
        worked = self.done - self.reused
        failed = f", {self.failed} failed" if self.failed else ""
        left = pace(worked, self.cells - self.done, seconds, rate=False)
        return f"cells {bar(self.done, self.cells)}{failed}{left}"

    def table(self) -> "Table":
        """A row for each worker, and the sum."""
        from rich.table import Table

        shown = Table.grid(padding=(0, 2))
        for number, (label, doing) in sorted(self.workers.items()):
            shown.add_row(str(number + 1), _line(label, doing))
        shown.add_row("", self.summary())
        return shown


def _line(label: str, doing: "Doing") -> str:
    how = "" if doing.total == 0 else f" {bar(doing.done, doing.total)}"
    loss = "" if doing.loss is None else f", loss {doing.loss:.4f}"
    return f"{label}: {doing.what}{how}{loss}".removeprefix(": ")
