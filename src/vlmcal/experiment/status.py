"""What of an experiment is done, running, failed or missing; read while others write."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vlmcal.experiment.estimate import Costs, clock
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest

State = Literal["done", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "missing")


@dataclass(frozen=True)
class CellStatus:
    """One cell of a plan.

    Attributes:
        label: Its name in tables.
        state: "missing" is what has not begun, or was begun by a process that has ended.
        run: Id, where it is known.
        reason: Why it failed; or who runs it; or that it was begun.
        seconds: It took, or has taken until now.
    """

    label: str
    state: State
    run: str | None = None
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class PlanStatus:
    """One plan that was run on a store.

    Attributes:
        name: Of its file.
        when: It was last started, as of :func:`time.time`.
        cells: In the order of the plan.
        seconds_left: At the pace of like cells and with as many at a time as now; None where unknown.
    """

    name: str
    when: float
    cells: tuple[CellStatus, ...]
    seconds_left: float | None

    def counts(self) -> dict[State, int]:
        """Number of cells in each state."""
        found = Counter(cell.state for cell in self.cells)
        return {state: found[state] for state in STATES}

    def sentence(self) -> str:
        """In one line.

        Example:
            >>> PlanStatus("grid", 0.0, (CellStatus("a", "done"), CellStatus("b", "missing")), 5.0).sentence()
            'grid: 2 cells, 1 done, 0 running, 0 failed, 1 missing; about 0:05 left'
        """
        counts = ", ".join(f"{count} {state}" for state, count in self.counts().items())
        text = f"{self.name or 'experiment'}: {len(self.cells)} cells, {counts}"
        if self.seconds_left is None:
            unknown = any(cell.state in ("running", "missing") for cell in self.cells)
            return text + ("; time left unknown: no like run is timed" if unknown else "")
        return text + f"; about {clock(max(1.0, self.seconds_left))} left"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "counts": self.counts()}


@dataclass(frozen=True)
class StoreStatus:
    """Everything that a store knows of its experiments.

    Attributes:
        place: The store.
        plans: The latest first.
        others: Published runs that are in no plan.
    """

    place: str
    plans: tuple[PlanStatus, ...]
    others: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plans = [plan.to_dict() for plan in self.plans]
        return {"store": self.place, "plans": plans, "other_runs": self.others}


def store_status(store: Store) -> StoreStatus:
    """What is done, running, failed and missing of every plan that was run on a store.

    Nothing is loaded and nothing is written, so that it may be asked from anywhere and at any time.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    store.require()
    runs = store.statuses()
    done = {run_key(record): run for run, record in runs.items() if "cell" in record}
    working = {str(each["key"]): each for each in store.working() if "key" in each}
    failures = store.failures()
    costs = Costs(list(runs.values()))
    plans, planned = [], set()
    for plan in store.plans():
        cells, left = [], []
        for entry in plan["cells"]:
            key = str(entry["key"])
            planned.add(key)
            status = _cell(entry, done.get(key), runs, working.get(key), failures.get(key))
            cells.append(status)
            if status.state in ("running", "missing"):
                seconds = costs.seconds(entry["cell"])
                began = status.seconds if status.state == "running" and status.seconds else 0.0
                left.append(None if seconds is None else max(0.0, seconds - began))
        at_a_time = max(1, sum(cell.state == "running" for cell in cells))
        known = [each for each in left if each is not None]
        # Cells without a like run are taken to cost what the others do.
        seconds_left = sum(known) / len(known) * len(left) / at_a_time if known else None
        plans.append(PlanStatus(plan["name"], plan["when"], tuple(cells), seconds_left))
    return StoreStatus(store.place, tuple(plans), len(set(done) - planned))


def _cell(
    entry: Mapping[str, Any],
    run: str | None,
    runs: Mapping[str, Mapping[str, Any]],
    work: Mapping[str, Any] | None,
    failure: Any,
) -> CellStatus:
    label = str(entry["label"])
    if run is not None:
        return CellStatus(label, "done", run, seconds=runs[run].get("seconds"))
    if work is not None and work["alive"]:
        who = f"process {work['pid']} on {work['host']}"
        return CellStatus(label, "running", work["run"], who, time.time() - float(work["since"]))
    if failure is not None:
        return CellStatus(label, "failed", None, failure.reason)
    if work is not None:
        begun = f"begun by process {work['pid']} on {work['host']}, which has ended"
        return CellStatus(label, "missing", work["run"], begun)
    return CellStatus(label, "missing")


def run_key(record: Mapping[str, Any]) -> str:
    """Key of the cell of a published run, as it stands in plans."""
    return digest(record["cell"])[:16]
