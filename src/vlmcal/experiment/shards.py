"""Images of a large data set encoded in shards, by the engine that runs the cells."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmcal.backbones.cache import encode_rows, is_encoded
from vlmcal.errors import VlmcalError
from vlmcal.experiment.engines.base import CellResult, Doing, Outcome, Tell, sharing
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.workbench import Workbench
from vlmcal.hashing import digest
from vlmcal.types.dataset import Dataset

FROM = 4096  # images; fewer are encoded by whoever needs them first
SIZE = 1024  # images of a shard: a whole number of batches, so that numbers are those of one pass


@dataclass(frozen=True)
class Shard:
    """Some images of one part of the data of a cell; an engine takes it like a cell.

    Attributes:
        cell: Says data set, backbone and parts.
        part: Name of the part, as in :func:`parts`.
        start, stop: Which of its images.
    """

    cell: Cell
    part: str
    start: int
    stop: int

    @property
    def key(self) -> str:
        """What tells it from other shards."""
        return digest([self.cell.key, self.part, self.start])[:16]

    @property
    def loader(self) -> dict[str, Any]:
        """What its data are loaded from."""
        return self.cell.loader

    @property
    def backbone(self) -> str:
        """What encodes it."""
        return self.cell.backbone

    def label(self) -> str:
        """Short text for progress."""
        name = self.cell.data.get("name", self.cell.data.get("path"))
        return f"{name} | images {self.start} to {self.stop} of {self.part}"


def parts(cell: Cell, bench: Workbench) -> dict[str, Dataset]:
    """The parts of a cell's data that are predicted, by name."""
    protocol = make_protocol(bench.dataset(cell), cell.protocol, cell.shots, cell.seed)
    found = {"calibration": protocol.calibration, **protocol.tests}
    return {name: part for name, part in found.items() if len(part)}


def shards(cells: Sequence[Cell], bench: Workbench) -> list[Shard]:
    """What is to be encoded of the large parts of all cells, each once; [] where nothing is large.

    Data and backbones that cannot be loaded are left to their cells, which say why.
    """
    found: dict[str, list[Shard]] = {}
    for group in sharing(cells):
        for cell in group:
            try:
                encoder = bench.encoder(cell)
                if len(bench.dataset(cell)) < FROM:
                    break
                for name, part in parts(cell, bench).items():
                    key = digest([bench.content(part), encoder.fingerprint])
                    if len(part) < FROM or key in found:
                        continue
                    starts = range(0, len(part), SIZE)
                    there = is_encoded(encoder, part, cache_dir=bench.cache_dir)
                    found[key] = (
                        []
                        if there
                        else [Shard(cell, name, s, min(s + SIZE, len(part))) for s in starts]
                    )
            except VlmcalError:
                break
    return [shard for group in found.values() for shard in group]


@dataclass(frozen=True)
class ShardWork:
    """Encodes shards into the feature cache, where whoever needs the whole finds them.

    Attributes:
        bench: Data, backbones, and where the cache is, which all workers must see.
        watch: Told what the workers of an engine are at.
    """

    bench: Workbench
    watch: Callable[[int, Doing], None] | None = None
    tell: Tell | None = None

    def __call__(self, shard: Shard, wait: bool) -> CellResult | None:
        """Encode one shard."""
        try:
            part = parts(shard.cell, self.bench)[shard.part]
            encode_rows(
                self.bench.encoder(shard.cell),
                part,
                range(shard.start, shard.stop),
                cache_dir=self.bench.cache_dir,
                progress=self._progress(shard),
            )
        except VlmcalError as error:
            return CellResult(shard, None, error=error)  # type: ignore[arg-type]
        return CellResult(shard, shard.key)  # type: ignore[arg-type]

    def _progress(self, shard: Shard) -> Callable[[int, int], None] | None:
        tell = self.tell
        if tell is None:
            return None
        return lambda done, total: tell(Doing(shard, "encoding images", done, total))  # type: ignore[arg-type]

    def together(self, cells: Sequence[Shard], wait: bool) -> Iterator[Outcome]:
        """Encode shards of one data set by one backbone."""
        for shard in cells:
            yield shard, self(shard, wait)  # type: ignore[misc]

    def telling(self, tell: Tell) -> "ShardWork":
        """The same work, which tells what it is at."""
        return replace(self, tell=tell)

    def heard(self, worker: int, doing: Doing) -> None:
        """Show what a worker told."""
        if self.watch is not None:
            self.watch(worker, doing)

    def loaded(self, cell: Shard) -> "ShardWork":
        """The same work; weights and images are read where they are encoded."""
        return replace(self, watch=None)

    def lost(self, cell: Shard, reason: str) -> CellResult:
        """A shard that no worker survived: who needs the whole will encode it, or say why not."""
        return CellResult(cell, None, error=VlmcalError(reason))  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: nobody is told there."""
        return {**vars(self), "watch": None}
