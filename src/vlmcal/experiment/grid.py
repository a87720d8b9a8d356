"""A whole experiment: its cells through an engine, then its evaluations from stored predictions."""

from collections.abc import Iterator, Sequence

from vlmcal.errors import BackboneError, SpecError, VlmcalError
from vlmcal.experiment.check import check_names
from vlmcal.experiment.engines.base import ENGINES, CellResult
from vlmcal.experiment.plan import Cell, plan
from vlmcal.experiment.run import CellListener, Workbench, run_cell
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.experiment.store import Store
from vlmcal.experiment.test_time import require_adaptable
from vlmcal.learners.open_towers import require_open


def run_experiment(
    spec: ExperimentSpec,
    store: Store,
    *,
    bench: Workbench | None = None,
    engine: str = "inline",
    listeners: Sequence[CellListener] = (),
) -> Iterator[CellResult]:
    """Run what is missing of an experiment; yields one result per cell.

    A cell that fails for a reason the user can mend is reported in its result and does not stop the
    others, except where several processes work on it together, which could not agree on what to do next.

    Raises:
        SpecError: The experiment itself is not valid, or a method cannot work on a backbone; nothing was
            started.
        StoreError: The store cannot be written; nothing was started.
    """
    cells = plan(spec)
    check_names(spec)
    store.open()
    tools = bench or Workbench()
    _refuse_closed(cells, tools)

    def work(cell: Cell, wait: bool) -> CellResult | None:
        try:
            run = tools.run_id(cell)
            if tools.team.agree(store.published(run)):
                return CellResult(cell, run, reused=True)
            done = run_cell(cell, store, tools, listeners=listeners, wait=wait)
        except VlmcalError as error:
            if tools.team.count > 1:
                raise
            return CellResult(cell, None, error=error)
        return None if done is None else CellResult(cell, done)

    return ENGINES.get(engine)(cells, work)


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
