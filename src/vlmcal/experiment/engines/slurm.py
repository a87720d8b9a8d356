"""Array jobs of a Slurm cluster, through submitit."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from vlmcal.experiment.engines.base import ENGINES, Cell, CellResult, Doing, Outcome, Work
from vlmcal.experiment.engines.pieces import Pieces
from vlmcal.extras import naming_extras

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_TRIES = 3  # jobs that a cell may be in when they fail


@ENGINES.register("slurm")
def slurm(
    cells: Sequence[Cell],
    work: Work,
    *,
    workers: Annotated[int, Field(ge=1, le=10_000)] = 16,
    gpus_per_cell: Annotated[float, Field(ge=0)] = 0.0,
    partition: str = "",
    minutes: Annotated[int, Field(ge=1)] = 240,
    cpus: Annotated[int, Field(ge=1)] = 4,
    memory_gb: Annotated[float, Field(gt=0)] = 16.0,
    setup: str = "",
    logs: str = "slurm-logs",
    cluster: Literal["slurm", "local", "debug"] = "slurm",
) -> Iterator[CellResult]:
    """Run cells as array jobs of a Slurm cluster (extra: slurm), through submitit.

    A job takes some cells of one data set and backbone. One that runs out of time, or is pre-empted, is
    queued again by submitit; it passes over what is published and goes on from the checkpoint of the cell
    it was at. The store, the logs and the data must be seen from all nodes.

    Args:
        cells: What to run.
        work: What is done with each.
        workers: Jobs that run at a time.
        gpus_per_cell: GPUs of a job, rounded up.
        partition: Of the cluster; empty for its default.
        minutes: Limit of a job.
        cpus: Of a job.
        memory_gb: Of a job.
        setup: A line of shell before the job, such as "module load cuda".
        logs: Folder for scripts and outputs of jobs.
        cluster: "local" runs jobs as processes of this machine, "debug" in this process.
    """
    with naming_extras():
        import submitit

    executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
    executor.update_parameters(
        name="vlmcal",
        timeout_min=minutes,
        cpus_per_task=cpus,
        mem_gb=memory_gb,
        gpus_per_node=math.ceil(gpus_per_cell),
        slurm_array_parallelism=workers,
        **({"slurm_partition": partition} if partition else {}),
        **({"slurm_setup": [setup]} if setup else {}),
    )
    held: list[Cell] = []
    for outcome in _run(executor, Piece(work), cells, workers, cluster != "slurm"):
        held += [outcome] if not isinstance(outcome, CellResult) else []
        if isinstance(outcome, CellResult):
            yield outcome
    if held:
        for outcome in _run(executor, Piece(work, wait=True), held, workers, cluster != "slurm"):
            assert isinstance(outcome, CellResult)
            yield outcome


@dataclass(frozen=True)
class Piece:
    """What a job does: the cells of a piece; interrupted, the same again, which skips what is published."""

    work: Work
    wait: bool = False

    def __call__(self, cells: Sequence[Cell]) -> list[Outcome]:
        """Run the cells."""
        return list(self.work.together(cells, self.wait))

    def checkpoint(self, cells: Sequence[Cell]) -> "DelayedSubmission":
        """What is queued when the job is stopped before its end; called by submitit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, cells)


def _run(
    executor: Any, piece: Piece, cells: Sequence[Cell], workers: int, near: bool
) -> Iterator[CellResult | Cell]:
    """Yield a result for each cell, or the cell itself where another process holds it."""
    left = Pieces(cells, workers)
    waiting = [taken for taken in iter(lambda: left.take(0), [])]
    tries: dict[str, int] = {}
    jobs: dict[Any, list[Cell]] = {}
    done = 0
    try:
        while waiting or jobs:
            if waiting:
                submitted = executor.map_array(piece, waiting)
                jobs |= dict(zip(submitted, waiting, strict=True))
                waiting = []
            ended = [job for job in jobs if job.done()]
            if not ended:
                piece.work.heard(0, Doing(None, "jobs", done, done + len(jobs)))
                time.sleep(0.2 if near else 10.0)
            for job in ended:
                mine = jobs.pop(job)
                done += 1
                error = job.exception()
                if error is None:
                    yield from (cell if result is None else result for cell, result in job.result())
                    continue
                for cell in mine:
                    tries[cell.key] = tries.get(cell.key, 0) + 1
                    if tries[cell.key] >= _TRIES:
                        yield piece.work.lost(cell, f"{_TRIES} jobs failed with it: {error}")
                    else:
                        waiting.append([cell])
    finally:
        for job in jobs:
            with suppress(Exception):  # it may have ended by itself
                job.cancel(check=False)
