"""Which cells of a plan a store has, and what the others will cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcal.errors import VlmcalError
from vlmcal.experiment.estimate import Costs, Estimate, estimate
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.status import run_key
from vlmcal.experiment.store import Store
from vlmcal.experiment.work import StoreWork
from vlmcal.hashing import canonical


@dataclass(frozen=True)
class Planned:
    """A plan beside a store.

    Attributes:
        cells: All of them.
        states: For each cell "in the store", "failed before", or "" where it is to be run.
        left: What is to be run.
        costs: Of what is to be run.
    """

    cells: tuple[Cell, ...]
    states: tuple[str, ...]
    left: tuple[Cell, ...]
    costs: Estimate

    def lines(self, workers: int = 1) -> list[str]:
        """Every cell with its state, then how many there are and what they cost."""
        shown = [
            f"{cell.label()}  ({state})" if state else cell.label()
            for cell, state in zip(self.cells, self.states, strict=True)
        ]
        there = len(self.cells) - len(self.left)
        shown.append(f"{len(self.cells)} cells: {there} in the store, {len(self.left)} to run")
        if self.left:
            hint = "" if self.costs.known else "; --measure 1 runs one of them first, and keeps it"
            shown.append(self.costs.sentence(workers) + hint)
        return shown


def planned(cells: Sequence[Cell], store: Store, bench: Workbench) -> Planned:
    """What of a plan is in a store, and the estimate for the rest from like runs there.

    A run with the settings of a cell is its own if the data and the backbone are still the same, too; they
    are loaded to see that only where there is such a run.
    """
    records = store.statuses()
    runs = {run_key(record): run for run, record in records.items() if "cell" in record}
    failures = store.failures()
    states = []
    for cell in cells:
        run = runs.get(cell.key)
        if run is not None:
            states.append(_verified(cell, run, bench))
        else:
            states.append("failed before" if cell.key in failures else "")
    done = [state.startswith("in the store") for state in states]
    left = tuple(cell for cell, there in zip(cells, done, strict=True) if not there)
    costs = estimate([canonical(cell) for cell in left], list(records.values()))
    return Planned(tuple(cells), tuple(states), left, costs)


def _verified(cell: Cell, run: str, bench: Workbench) -> str:
    try:
        same = bench.run_id(cell) == run
    except VlmcalError:
        return "in the store, if the data and the backbone, which cannot be read, are the same"
    return "in the store" if same else ""


def measure(plan: Planned, count: int, store: Store, bench: Workbench) -> None:
    """Run a few cells, of different kinds first, so that the others can be estimated; they are kept.

    Raises:
        VlmcalError: One of them failed.
    """
    work = StoreWork(store.open(), bench)
    for _ in range(count):
        costs = Costs(list(store.statuses().values()))
        rest = [cell for cell in plan.left if costs.seconds(canonical(cell)) is None]
        if not rest:
            return
        result = work(rest[0], True)
        if result is not None and result.error is not None:
            raise result.error
