"""A whole experiment: its cells through an engine, then its evaluations from stored predictions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vlmcal.errors import BackboneError, SpecError, VlmcalError
from vlmcal.experiment.check import check_names
from vlmcal.experiment.engines.base import CellResult, Doing, Engine, engine_from
from vlmcal.experiment.plan import Cell, plan
from vlmcal.experiment.run import CellListener, Workbench
from vlmcal.experiment.shards import ShardWork, shards
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.experiment.store import Store
from vlmcal.experiment.test_time import require_adaptable
from vlmcal.experiment.work import StoreWork
from vlmcal.learners.open_towers import require_open
from vlmcal.options import read


def run_experiment(
    spec: ExperimentSpec,
    store: Store,
    *,
    bench: Workbench | None = None,
    engine: str | Mapping[str, Any] = "inline",
    listeners: Sequence[CellListener] = (),
    retry_failed: bool = False,
    name: str = "",
    watch: Callable[[int, Doing], None] | None = None,
) -> Iterator[CellResult]:
    """Run what is missing of an experiment; yields one result per cell.

    A cell that fails is reported in its result, keeps its traceback in the store and does not stop the
    others, except where several processes work on it together, which could not agree on what to do next.

    Args:
        spec: What to run.
        store: Where it goes.
        bench: Data, backbones and features.
        engine: Name, with options in parentheses, or mapping.
        listeners: Told of each epoch, by an engine that runs cells in this process.
        retry_failed: Run again also what ended in a way that no message foresaw.
        name: What the experiment is called where its plan is kept.
        watch: Told what the workers of an engine are at.

    Raises:
        SpecError: The experiment itself is not valid, or a method cannot work on a backbone; nothing was
            started.
        StoreError: The store cannot be written; nothing was started.
    """
    cells = plan(spec)
    check_names(spec)
    chosen = engine_from(engine)
    store.open()
    tools = bench or Workbench()
    if tools.team.count > 1 and read(engine, "engine").name != "inline":
        raise SpecError(
            f"{tools.team.count} launched processes train each cell together; start the command once, "
            "without a launcher, to share the cells among workers"
        )
    _refuse_closed(cells, tools)
    if tools.team.main:
        store.remember_plan(cells, name)
    elsewhere = read(engine, "engine").name != "inline"
    work = StoreWork(
        store,
        tools,
        listeners=listeners,
        retry_failed=retry_failed,
        evaluate=spec.evaluate if elsewhere else None,
        watch=watch,
    )
    return _elsewhere(cells, chosen, work) if elsewhere else chosen(cells, work)


def _elsewhere(cells: Sequence[Cell], engine: Engine, work: StoreWork) -> Iterator[CellResult]:
    """What is in the store, then the rest by an engine that has encoded what is large in shards."""
    left = []
    for cell in cells:
        found = work.published(cell)
        if found is None:
            left.append(cell)
        else:
            yield found
    if not left:
        return  # no worker is started for nothing
    pieces = shards(left, work.bench)
    if pieces:
        # Cells meet what failed again, and say it.
        for _ in engine(pieces, ShardWork(work.bench, work.watch)):  # type: ignore[arg-type]
            pass
    yield from engine(left, work)


def _refuse_closed(cells: Sequence[Cell], tools: Workbench) -> None:
    """Every pair of method and backbone that cannot work, before anything is encoded."""
    reasons: dict[str, None] = {}
    for cell in cells:
        try:
            encoder = tools.encoder(cell)
        except VlmcalError:
            continue  # told with the cell that needs it
        kind, adaptation = cell.learner_class(), cell.adaptation()
        try:
            require_open(encoder, kind.opens(cell.learner_config()), kind.name)
            if adaptation is not None:
                require_adaptable(encoder, adaptation)
        except (BackboneError, SpecError) as error:
            reasons[str(error)] = None
    if reasons:
        raise SpecError("nothing was started:\n  " + "\n  ".join(reasons))
