"""Messages and progress: alive on a terminal, sparse lines in a log."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from vlmcal.experiment.plan import Cell
    from vlmcal.training.loop import EpochEnd

LOG_SECONDS = 10.0


def note(text: str) -> None:
    """Print a line for the person at the terminal; results go to standard output, notes do not."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """One self-overwriting line on a terminal; a line every ten seconds (or ``every``) elsewhere."""

    def __init__(self, every: float = LOG_SECONDS) -> None:
        self.every = every
        self.live = sys.stderr.isatty()
        self.last = time.monotonic()

    def show(self, text: str, *, force: bool = False) -> None:
        """Show the state of the work."""
        if self.live:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
        elif force or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            note(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove the live line."""
        if self.live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def finished(self, result: object) -> None:
        """A cell is over, and with it what was shown of it."""
        self.clear()

    def counting(self, what: str) -> Callable[[int, int], None]:
        """Listener to (done, total): a bar from the first call, with the rate and the time that is left."""
        began: list[tuple[float, int]] = []

        def listen(done: int, total: int) -> None:
            if not began or done < began[0][1]:
                began[:] = [(time.monotonic(), done)]  # another data set
            seconds, first = time.monotonic() - began[0][0], began[0][1]
            self.show(f"{what} {bar(done, total)}{pace(done - first, total - done, seconds)}")

        return listen

    def encoding(self, what: str = "images") -> Callable[[int, int], None]:
        """Listener for the encoding of images or of words."""
        return self.counting(f"encoding {what}")

    def training(self) -> Callable[["Cell", "EpochEnd"], None]:
        """Listener for training epochs."""

        def listen(cell: "Cell", event: "EpochEnd") -> None:
            done = event.epoch + 1
            self.show(
                f"{cell.label()}: epoch {bar(done, event.epochs)}, loss {event.loss:.4f}, "
                f"lr {event.lr:.2g}{pace(done, event.epochs - done, event.seconds, rate=False)}"
            )

        return listen


def bar(done: int, total: int, width: int = 20) -> str:
    """A bar with its numbers.

    Example:
        >>> bar(1, 4, width=8)
        '[##------] 1/4'
    """
    full = width * done // max(total, 1)
    return f"[{'#' * full}{'-' * (width - full)}] {done}/{total}"


def pace(done: int, left: int, seconds: float, *, rate: bool = True) -> str:
    """How fast it goes and how long it will take; "" before anything is done.

    Example:
        >>> pace(100, 300, 20.0), pace(0, 300, 0.0)
        (' (5.0/s, 1:00 left)', '')
    """
    if done < 1 or seconds <= 0:
        return ""
    minutes, rest = divmod(round(left * seconds / done), 60)
    hours, minutes = divmod(minutes, 60)
    time_left = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    speed = done / seconds
    return f" ({f'{speed:.{0 if speed >= 10 else 1}f}/s, ' if rate else ''}{time_left} left)"


@contextmanager
def muted() -> Iterator[None]:
    """Nothing printed inside is seen; errors that leave it are."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def command_line() -> str:
    """The command as typed, for reports."""
    from pathlib import Path

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
