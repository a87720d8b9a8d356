"""Messages and progress: alive on a terminal, sparse lines in a log."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmcal.experiment.plan import Cell
    from vlmcal.training.loop import EpochEnd

LOG_SECONDS = 10.0


def note(text: str) -> None:
    """Print a line for the person at the terminal; results go to standard output, notes do not."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """One self-overwriting line on a terminal; a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.last = time.monotonic()

    def show(self, text: str, *, force: bool = False) -> None:
        """Show the state of the work."""
        if self.live:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
        elif force or time.monotonic() - self.last >= LOG_SECONDS:
            self.last = time.monotonic()
            note(text)

    def clear(self) -> None:
        """Remove the live line."""
        if self.live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def encoding(self, what: str = "images") -> Callable[[int, int], None]:
        """Listener for the encoding of images or of words, with the rate since it began."""
        began: list[tuple[float, int]] = []

        def listen(done: int, total: int) -> None:
            if not began or done < began[0][1]:
                began[:] = [(time.monotonic(), done)]  # another data set
            seconds, first = time.monotonic() - began[0][0], began[0][1]
            rate = f" ({(done - first) / seconds:.0f} {what}/s)" if seconds > 1 else ""
            self.show(f"encoding {what} {done}/{total}{rate}")

        return listen

    def training(self, position: str = "") -> Callable[["Cell", "EpochEnd"], None]:
        """Listener for training epochs."""

        def listen(cell: "Cell", event: "EpochEnd") -> None:
            self.show(
                f"{position}{cell.label()}: epoch {event.epoch + 1}/{event.epochs}, "
                f"loss {event.loss:.4f}, lr {event.lr:.2g}"
            )

        return listen


@contextmanager
def muted() -> Iterator[None]:
    """Nothing printed inside is seen; errors that leave it are."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def command_line() -> str:
    """The command as typed, for reports."""
    import shlex
    from pathlib import Path

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
