"""Several processes on this machine, one device each."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Annotated, Any, NoReturn

from pydantic import Field

from vlmcal.experiment.engines.base import ENGINES, Cell, CellResult, Doing, Work
from vlmcal.experiment.engines.devices import accelerators, processors, share
from vlmcal.experiment.engines.pieces import Pieces

_TRIES = 3  # workers that one cell may take with it
_STARTS = 10  # workers in a row that may end before they begin
_PATIENCE = 10.0  # seconds to end in an orderly way
_TOLD_EVERY = 0.5  # seconds


@ENGINES.register("processes")
def processes(
    cells: Sequence[Cell],
    work: Work,
    *,
    workers: Annotated[int, Field(ge=1, le=1024)] | None = None,
) -> Iterator[CellResult]:
    """Run cells in several processes of this machine, one device each.

    A worker takes some cells of one data set and backbone at a time. One that is killed is replaced, and
    the cell that it was at runs again, from its checkpoint; a cell that takes three workers with it has
    failed. Default number of workers: one for each GPU, or else for every two processors.
    """
    gpus = accelerators()
    count = workers or len(gpus) or max(1, processors() // 2)
    pool = _Pool(work, min(count, len(cells)), gpus)
    try:
        held = yield from _run(pool, Pieces(cells, count), wait_for=False)
        yield from _run(pool, Pieces(held, count), wait_for=True)
    finally:
        pool.stop()


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    piece: dict[str, Cell] = field(default_factory=dict)  # what it has not finished
    at: str = ""  # key of the cell that it was heard of last


class _Pool:
    """The workers, by number; one that has died is replaced when it is asked for."""

    def __init__(self, work: Work, count: int, gpus: list[str]) -> None:
        self.work, self.count, self.gpus = work, count, gpus
        self.context = multiprocessing.get_context("spawn")
        self.workers: dict[int, _Worker] = {}
        self.tries: dict[str, int] = {}
        self.silent = 0  # workers in a row that ended before they began

    def worker(self, number: int) -> _Worker:
        if number not in self.workers:
            ours, theirs = self.context.Pipe()
            own = share(number, self.count, self.gpus, processors())
            process = self.context.Process(
                target=serve, args=(theirs, self.work, own), daemon=True, name=f"worker-{number}"
            )
            process.start()
            theirs.close()
            self.workers[number] = _Worker(process, ours)
        return self.workers[number]

    def bury(self, number: int) -> tuple[list[Cell], CellResult | None]:
        """Forget a worker that died: the cells to do again, and the result of one that killed too many."""
        worker = self.workers.pop(number)
        worker.process.join()
        worker.pipe.close()
        guilty = worker.piece.get(worker.at)
        if guilty is None:  # it ended before it had begun, which is the fault of no cell
            self.silent += 1
            if self.silent < _STARTS or not worker.piece:
                return list(worker.piece.values()), None
            guilty = next(iter(worker.piece.values()))
            reason = f"{_STARTS} workers ended before they began, the last "
        else:
            self.tries[guilty.key] = self.tries.get(guilty.key, 0) + 1
            if self.tries[guilty.key] < _TRIES:
                return list(worker.piece.values()), None
            reason = f"{_TRIES} workers ended while they ran it, the last "
        del worker.piece[guilty.key]
        lost = self.work.lost(guilty, reason + _ended(worker.process.exitcode))
        return list(worker.piece.values()), lost

    def stop(self) -> None:
        """End all workers: politely, then not."""
        for worker in self.workers.values():
            worker.pipe.close()
            if worker.piece:
                worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for worker in self.workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self.workers.clear()


def _run(pool: _Pool, pieces: Pieces, *, wait_for: bool) -> Generator[CellResult, None, list[Cell]]:
    """Yield the results of all pieces; returns the cells that other processes hold."""
    held: list[Cell] = []
    while True:
        for number in range(pool.count):
            idle = number not in pool.workers or not pool.workers[number].piece
            if idle and (piece := pieces.take(number)):
                _send(pool.worker(number), piece, wait_for)
        busy = {number: each for number, each in pool.workers.items() if each.piece}
        if not busy:
            return held
        ready = set(wait([each.pipe for each in busy.values()]))
        for number, worker in busy.items():
            if worker.pipe not in ready:
                continue
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):
                again, failed = pool.bury(number)
                pieces.give_back(again)
                if failed is not None:
                    yield failed
                continue
            pool.silent = 0
            if isinstance(said, Doing):
                if said.cell is not None:
                    worker.at = said.cell.key
                pool.work.heard(number, said)
                continue
            cell, result = said
            del worker.piece[cell.key]
            if result is None:
                held.append(cell)
            else:
                yield result


def _send(worker: _Worker, piece: list[Cell], wait_for: bool) -> None:
    worker.piece = {cell.key: cell for cell in piece}
    worker.at = ""
    with suppress(OSError):  # its end is noticed when it is listened to
        worker.pipe.send((piece, wait_for))


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ": out of memory?" if name == "SIGKILL" else ""
            return f"by {name}{hint}"
    return f"with exit status {code}"


def serve(pipe: Connection, work: Work, own: Mapping[str, str]) -> None:
    """Life of a worker: take a piece, tell how each cell went, until there is nobody to tell.

    Args:
        pipe: To whoever hands out the pieces.
        work: What is done with a cell.
        own: Environment of this worker alone.
    """
    os.environ.update(own)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_parent, daemon=True).start()
    _use_threads(int(own["OMP_NUM_THREADS"]))
    warnings.simplefilter("ignore")  # a run keeps its own; they are told with its result
    last = [0.0]

    def tell(doing: Doing) -> None:
        now = time.monotonic()
        if doing.done in (0, doing.total) or now - last[0] >= _TOLD_EVERY:
            last[0] = now
            try:
                pipe.send(doing)
            except OSError:  # nobody listens any more; no fault of the cell
                _leave()

    here = work.telling(tell)
    with suppress(EOFError, OSError):
        while True:
            piece, wait_for = pipe.recv()
            for outcome in here.together(piece, wait_for):
                pipe.send(outcome)


def _use_threads(count: int) -> None:
    torch = sys.modules.get("torch")  # where the work needs it, it came with the work
    if torch is not None:
        torch.set_num_threads(count)


def _leave(*_: object) -> NoReturn:
    raise SystemExit(1)  # what is half done is put away on the way out


def _follow_parent() -> None:
    """End when the parent has: nobody would hear of the rest."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
