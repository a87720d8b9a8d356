"""What an engine is: it decides where and in which order cells run, never what a cell does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from vlmcal.errors import VlmcalError
from vlmcal.hashing import digest
from vlmcal.options import check, read
from vlmcal.own_code import takes
from vlmcal.registry import Registry

if TYPE_CHECKING:
    from vlmcal.experiment.plan import Cell as Cell
else:
    Cell = (
        object  # engines know of it what it is called and what it shares; its module imports torch
    )


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


@dataclass(frozen=True)
class Doing:
    """What a worker is at.

    Attributes:
        cell: Which cell; None where something is made for several of them.
        what: "epoch", "encoding images", ...
        done, total: How far it is.
        loss: Mean loss of the epoch that has ended; None elsewhere.
    """

    cell: Cell | None
    what: str = "starting"
    done: int = 0
    total: int = 0
    loss: float | None = None


Tell = Callable[[Doing], None]
Outcome = tuple[Cell, CellResult | None]  # None: another process holds the cell


class Work(Protocol):
    """What is done with cells: the same in this process and, pickled, in another one."""

    def __call__(self, cell: Cell, wait: bool) -> CellResult | None:
        """Run one cell; None when another process holds it and ``wait`` is off."""
        ...

    def together(self, cells: Sequence[Cell], wait: bool) -> Iterator[Outcome]:
        """Run cells that share data set and backbone; yields each once, in the order they finish."""
        ...

    def telling(self, tell: Tell) -> "Work":
        """The same work, which tells what it is at."""
        ...

    def heard(self, worker: int, doing: Doing) -> None:
        """Show what a worker told; called where the engine was."""
        ...

    def loaded(self, cell: Cell) -> "Work":
        """The same work with what cells like this one share, to be brought to where they run."""
        ...

    def lost(self, cell: Cell, reason: str) -> CellResult:
        """The result of a cell that no worker survived; keeps the reason where results are kept."""
        ...


class Engine(Protocol):
    """Runs cells through ``work(cell, wait)``; a None from it means another process holds the cell.

    Options of an engine are its further arguments; all of them have defaults.
    """

    def __call__(self, cells: Sequence[Cell], work: Work) -> Iterator[CellResult]:
        """Yield one result per cell, in the order in which they finish."""
        ...


ENGINES: Registry[Engine] = Registry(
    "engine", "vlmcal.experiment.engines", takes(2), "a function of cells and work"
)


def engine_from(spec: str | Mapping[str, Any]) -> Engine:
    """The engine that ``"name(option=value)"`` or ``{"name": ..., option: value}`` names.

    Raises:
        SpecError: No such engine or option; names the nearest.

    Example:
        >>> engine_from("processes(workers=2)").keywords
        {'workers': 2}
        >>> engine_from("inline(workers=2)")
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: engine "inline" has no option "workers"; ...
    """
    named = read(spec, "engine")
    engine = ENGINES.get(named.name)
    return partial(engine, **check(engine, named.options, f'engine "{named.name}"'))


def sharing(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells by what they share: those of one data set and one backbone, in the order of the plan.

    Example:
        >>> from vlmcal.experiment.plan import plan
        >>> from vlmcal.experiment.spec import parse_spec
        >>> spec = parse_spec({"data": ["digits", "shapes"], "method": "coop", "seed": "1..3"})
        >>> [len(group) for group in sharing(plan(spec))]
        [3, 3]
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(shared(cell), []).append(cell)
    return list(groups.values())


def shared(cell: Cell) -> str:
    """The same for cells of one data set and one backbone."""
    return digest([cell.loader, cell.backbone])
