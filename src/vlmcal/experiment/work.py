"""What is done with the cells of an experiment, in this process or, pickled, in another one."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch

from vlmcal.errors import StoreError, VlmcalError
from vlmcal.experiment.engines.base import CellResult, Doing, Outcome, Tell
from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.run import CellListener, Workbench, cell_in_steps
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Failure, Store
from vlmcal.training.loop import EpochEnd
from vlmcal.training.side_by_side import Training, alone, side_by_side

COMPANY = 64  # runs that are open, and held, at the same time
HELD_BYTES = 1 << 30  # images in memory of these together


class CellError(VlmcalError):
    """A cell ended in a way that no message foresaw; the store keeps its traceback."""


@dataclass(frozen=True)
class StoreWork:
    """Runs cells into a store; a failed one leaves its traceback there and never stops the others.

    Attributes:
        store: Where runs go.
        bench: Data, backbones and features; another process loads its own.
        listeners: Told of each epoch, in this process.
        retry_failed: Run again also what ended in a way that would come again; what the user can mend is
            tried by every run.
        evaluate: Measured, and kept in the store, by whoever ran the cell.
        watch: Told what the workers of an engine are at.
    """

    store: Store
    bench: Workbench
    listeners: Sequence[CellListener] = ()
    retry_failed: bool = False
    evaluate: EvaluateSpec | None = None
    watch: Callable[[int, Doing], None] | None = field(default=None, compare=False)

    def __call__(self, cell: Cell, wait: bool) -> CellResult | None:
        """Run one cell; None when another process holds it and ``wait`` is off.

        Raises:
            VlmcalError: Where several processes work on the cell together, which could not agree on what to
                do next.
        """
        return alone(self._steps(cell, wait))

    def _steps(self, cell: Cell, wait: bool) -> Training[CellResult | None]:
        """The same, stopping where cells may share work."""
        try:
            return (yield from self._run(cell, wait))
        except Exception as error:
            if self.bench.team.count > 1:
                raise
            if isinstance(error, VlmcalError):
                self._keep(cell, error, mendable=True)
                return CellResult(cell, None, error=error)
            self._keep(cell, error, mendable=False)
            return CellResult(cell, None, error=self._unforeseen(cell, _reason(error)))

    def published(self, cell: Cell) -> CellResult | None:
        """The result of a cell that is in the store; None for others and where that cannot be known here."""
        with suppress(VlmcalError):
            run = self.bench.run_id(cell)
            if self.store.published(run):
                return self._reused(cell, run)
        return None

    def _reused(self, cell: Cell, run: str) -> CellResult:
        """What is in the store already; what a failure or a kill left beside it goes."""
        self._forgive(cell)
        if self.bench.team.main:
            self.store.tidy(run)
        return CellResult(cell, run, reused=True)

    def _run(self, cell: Cell, wait: bool) -> Training[CellResult | None]:
        store, team = self.store, self.bench.team
        run = self.bench.run_id(cell)
        if team.agree(store.published(run)):
            return self._reused(cell, run)
        before = None if self.retry_failed or team.count > 1 else store.failure(cell)
        if before is not None and not before.mendable:
            reason = f"it failed before, and was not tried again: {before.reason}"
            return CellResult(cell, None, error=self._unforeseen(cell, reason))
        done = yield from cell_in_steps(
            cell, store, self.bench, listeners=self.listeners, wait=wait
        )
        if done is None:
            return None
        self._forgive(cell)
        if self.evaluate is not None:
            with suppress(VlmcalError):  # told where the result is measured again
                for _ in evaluate_run(store, done.run, self.evaluate):
                    pass
        return CellResult(cell, done.run, reused=not done.here)

    def together(self, cells: Sequence[Cell], wait: bool) -> Iterator[Outcome]:
        """Run cells that share data set and backbone, which are loaded and encoded once.

        Cells that nothing has to be trained for first are trained side by side. Nobody who holds runs waits
        for one that another process holds, so that no two wait for each other.
        """
        apart = wait or self.bench.team.count > 1
        size = 1 if apart else self._company(cells[0])
        free = [c for c in cells if not apart and c.trained_as() is None and c.adaptation() is None]
        for start in range(0, len(free), size):
            members = free[start : start + size]
            for index, result in side_by_side([self._steps(cell, wait) for cell in members]):
                yield members[index], cast("CellResult | None", result)
        done = {cell.key for cell in free}
        for cell in cells:
            if cell.key not in done:
                yield cell, self(cell, wait)

    def _company(self, cell: Cell) -> int:
        """How many runs on the data of a cell may be open at once: each holds parts of the images."""
        try:
            images = self.bench.dataset(cell).images
        except Exception:  # told by the cells themselves
            return 1
        size = images.nbytes if isinstance(images, np.ndarray) else 0
        return min(COMPANY, max(1, HELD_BYTES // max(1, size)))

    def telling(self, tell: Tell) -> "StoreWork":
        """The same work, which tells what it is at."""

        def epoch(cell: Cell, event: EpochEnd) -> None:
            tell(Doing(cell, "epoch", event.epoch + 1, event.epochs, event.loss))

        def counting(what: str) -> Callable[[int, int], None]:
            return lambda done, total: tell(Doing(None, what, done, total))

        bench = replace(
            self.bench,
            progress=counting("encoding images"),
            word_progress=counting("encoding outlier words"),
            reading_progress=counting("reading images"),
            adapting_progress=counting("adapting to images"),
        )
        return _Telling(self.store, bench, [epoch], self.retry_failed, self.evaluate, tell=tell)

    def loaded(self, cell: Cell) -> "StoreWork":
        """The same work with the weights and the features of the data set and backbone of a cell.

        What cannot be loaded here is left to the cells, which say why.
        """
        bench, accelerator = self.bench, self.bench.device != "cpu"
        with suppress(VlmcalError):
            bench.dataset(cell)
            if accelerator and not torch.cuda.is_available():  # a head node
                return self._shipped()
            encoder, data = bench.encoder(cell), bench.dataset(cell)
            bench.fingerprint(cell)
            parts = make_protocol(data, cell.protocol, cell.shots, cell.seed)
            looked_at = () if cell.shots is None else (parts.train,)
            for part in (*looked_at, parts.calibration, *parts.tests.values()):
                if len(part):
                    bench.features(encoder, part)
        return self._shipped()

    def _shipped(self) -> "StoreWork":
        return replace(self, bench=replace(self.bench, shipped=True), listeners=(), watch=None)

    def heard(self, worker: int, doing: Doing) -> None:
        """Show what a worker told."""
        if self.watch is not None:
            self.watch(worker, doing)

    def lost(self, cell: Cell, reason: str) -> CellResult:
        """The failure of a cell that no worker survived."""
        self._keep(cell, CellError(reason), mendable=False)
        return CellResult(cell, None, error=self._unforeseen(cell, reason))

    def _unforeseen(self, cell: Cell, reason: str) -> CellError:
        return CellError(
            f"{reason}\n  the traceback is in {self.store.failure_place(cell)}; mend the cause and run the "
            "same command with --retry-failed"
        )

    def _keep(self, cell: Cell, error: Exception, *, mendable: bool) -> None:
        text = "".join(traceback.format_exception(error))
        with suppress(StoreError):  # a full disk; the result says so
            self.store.keep_failure(cell, Failure(_reason(error), text, mendable))

    def _forgive(self, cell: Cell) -> None:
        if self.bench.team.main:
            self.store.drop_failure(cell)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: nobody is told there."""
        return {**vars(self), "listeners": (), "watch": None}


@dataclass(frozen=True)
class _Telling(StoreWork):
    tell: Tell = field(default=lambda doing: None, compare=False)

    def _steps(self, cell: Cell, wait: bool) -> Training[CellResult | None]:
        self.tell(Doing(cell))
        return super()._steps(cell, wait)


def _reason(error: Exception) -> str:
    """What an error says; of one that no message foresaw also which it is, of lack of memory what helps."""
    if isinstance(error, VlmcalError):
        return str(error)
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        said += "; a smaller train.batch_size, fewer workers or a machine with more memory may do"
    return said
