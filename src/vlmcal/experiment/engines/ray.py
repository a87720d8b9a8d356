"""Tasks of a Ray cluster, or of Ray on this machine."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from vlmcal.experiment.engines.base import ENGINES, Cell, CellResult, Doing, Outcome, Work, shared
from vlmcal.experiment.engines.pieces import Pieces
from vlmcal.extras import naming_extras

_TRIES = 3  # workers that a piece may take with it
_HERE: dict[str, Work] = {}  # what this worker process has unpacked, with what it has loaded since


@ENGINES.register("ray")
def ray(
    cells: Sequence[Cell],
    work: Work,
    *,
    workers: Annotated[int, Field(ge=1, le=100_000)] | None = None,
    address: str = "",
    gpus_per_cell: Annotated[float, Field(ge=0)] = 0.0,
    cpus_per_cell: Annotated[float, Field(gt=0)] = 1.0,
) -> Iterator[CellResult]:
    """Run cells as tasks of Ray (extra: ray), on this machine or on a cluster.

    A task takes some cells of one data set and backbone, whose weights and features come to each node once,
    through Ray's object store. A task whose worker dies is run again by Ray and passes over what is
    published.

    Args:
        cells: What to run.
        work: What is done with each.
        workers: Tasks at a time; default is as many as the cluster has room for.
        address: Of a cluster ("auto", "ray://host:10001"); empty starts Ray on this machine.
        gpus_per_cell: May be a part of one: 0.25 lets four cells share a GPU.
        cpus_per_cell: Processors that a task is counted with.
    """
    with naming_extras():
        import ray as cluster

    started = not cluster.is_initialized()
    if started:
        options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
        cluster.init(log_to_driver=False, logging_level="WARNING", **options)
    try:
        held: list[Cell] = []
        task = cluster.remote(
            num_cpus=cpus_per_cell, num_gpus=gpus_per_cell, max_retries=_TRIES - 1
        )(run_piece)
        room = int(cluster.cluster_resources().get("CPU", 1) // cpus_per_cell)
        count = workers or max(1, room)
        for wait in (False, True):
            mine, held = (list(cells), []) if not wait else (held, [])
            for cell, result in _run(cluster, task, work, mine, count, wait):
                if result is None:
                    held.append(cell)
                else:
                    yield result
    finally:
        if started:
            cluster.shutdown()


def run_piece(work: Work, key: str, cells: Sequence[Cell], wait: bool) -> list[Outcome]:
    """The body of a task: what a worker process has loaded serves its next tasks, too."""
    here = _HERE.setdefault(key, work)
    return list(here.together(cells, wait))


def _run(
    cluster: Any, task: Any, work: Work, cells: Sequence[Cell], count: int, wait: bool
) -> Iterator[Outcome]:
    pieces, done = Pieces(cells, count), 0
    running: dict[Any, list[Cell]] = {}
    parcels: dict[str, Any] = {}
    while pieces or running:
        while len(running) < count and (piece := pieces.take(len(running))):
            key = shared(piece[0])
            if key not in parcels:  # once for all tasks of this data set and backbone
                parcels[key] = cluster.put(work.loaded(piece[0]))
            running[task.remote(parcels[key], key, piece, wait)] = piece
        ready, _ = cluster.wait(list(running), timeout=10.0)
        work.heard(0, Doing(None, "tasks", done, done + len(running)))
        for each in ready:
            piece = running.pop(each)
            done += 1
            try:
                yield from cluster.get(each)
            except cluster.exceptions.RayError as error:
                if len(piece) > 1:  # find out which one it was
                    running |= {
                        task.remote(parcels[shared(c)], shared(c), [c], wait): [c] for c in piece
                    }
                else:
                    crashed = isinstance(error, cluster.exceptions.WorkerCrashedError)
                    why = f"{_TRIES} workers ended with it" if crashed else "Ray could not run it"
                    yield piece[0], work.lost(piece[0], f"{why}: {error}")
