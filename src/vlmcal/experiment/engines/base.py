"""What an engine is: it decides where and in which order cells run, never what a cell does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vlmcal.errors import VlmcalError
from vlmcal.experiment.plan import Cell
from vlmcal.own_code import takes
from vlmcal.registry import Registry


@dataclass(frozen=True)
class CellResult:
    """Outcome of one cell.

    Attributes:
        cell: What was run.
        run: Its id, or None when it failed.
        reused: True when it was in the store already.
        error: What went wrong, or None.
    """

    cell: Cell
    run: str | None
    reused: bool = False
    error: VlmcalError | None = None


Work = Callable[[Cell, bool], CellResult | None]


class Engine(Protocol):
    """Runs cells through ``work(cell, wait)``; a None from it means another process holds the cell."""

    def __call__(self, cells: Sequence[Cell], work: Work) -> Iterator[CellResult]:
        """Yield one result per cell, in the order in which they finish."""
        ...


ENGINES: Registry[Engine] = Registry(
    "engine", "vlmcal.experiment.engines", takes(2), "a function of cells and work"
)
