"""How long cells take and how much memory, from the runs of like cells in a store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from vlmcal.hashing import digest

Record = Mapping[str, Any]  # a cell as it stands in the store


def _kind(cell: Record) -> str:
    return digest([cell["data"], cell["backbone"], cell["method"]["name"]])


def _method(cell: Record) -> str:
    own = ("data", "backbone", "method", "shots", "train")
    return digest([cell.get(key) for key in own])


def _all_but_the_seed(cell: Record) -> str:
    return digest({key: value for key, value in cell.items() if key != "seed"})


# The most alike first.
_LIKE: Sequence[Callable[[Record], str]] = (_all_but_the_seed, _method, _kind)


@dataclass(frozen=True)
class Costs:
    """What the timed runs of a store say about cells that have not been run.

    Attributes:
        runs: Status records of published runs.
    """

    runs: Sequence[Record]

    def seconds(self, cell: Record) -> float | None:
        """Median seconds of the most alike runs; None where none is timed.

        Alike are runs that differ in the seed only; else those of the same method, data, backbone, shots and
        recipe; else those of the same method, data and backbone.

        Args:
            cell: Its record.

        Example:
            >>> cell = {"data": {"name": "d"}, "backbone": "b", "method": {"name": "coop"}, "shots": 1,
            ...         "objective": "ce", "seed": 1, "train": {}}
            >>> costs = Costs([{"cell": cell, "seconds": 3.0}])
            >>> costs.seconds(cell | {"seed": 2}), costs.seconds(cell | {"backbone": "c"})
            (3.0, None)
        """
        return self._most_alike(cell, "seconds")

    def memory(self, cell: Record) -> float | None:
        """Median peak memory in bytes of the most alike runs; None where none says."""
        return self._most_alike(cell, "peak_memory")

    def _most_alike(self, cell: Record, what: str) -> float | None:
        for like in _LIKE:
            wanted = like(cell)
            found = [
                float(r[what])
                for r in self.runs
                if r.get(what) is not None and like(r["cell"]) == wanted
            ]
            if found:
                return median(found)
        return None


@dataclass(frozen=True)
class Estimate:
    """Of several cells together.

    Attributes:
        seconds: Of work, over the cells that could be estimated.
        memory: Largest peak in bytes of one cell; None where unknown.
        known: Number of cells that could be estimated.
        unknown: Number of cells without any like run.
    """

    seconds: float
    memory: float | None
    known: int
    unknown: int

    def sentence(self, workers: int = 1) -> str:
        """In words.

        Example:
            >>> Estimate(90.0, 2e9, 3, 1).sentence(workers=2)
            'about 0:45 on 2 workers, 2.0 GB of memory each, for 3 of them; 1 has no like run to go by'
            >>> Estimate(0.0, None, 0, 2).sentence()
            'how long is not known: no like run is in the store'
        """
        if not self.known:
            return "how long is not known: no like run is in the store"
        on = "one worker" if workers == 1 else f"{workers} workers"
        text = f"about {clock(max(1.0, self.seconds / workers))} on {on}"
        if self.memory is not None:
            text += f", {self.memory / 1e9:.1f} GB of memory{' each' if workers > 1 else ''}"
        if self.unknown:
            have = "has" if self.unknown == 1 else "have"
            text += f", for {self.known} of them; {self.unknown} {have} no like run to go by"
        return text


def estimate(cells: Sequence[Record], runs: Sequence[Record]) -> Estimate:
    """Time and memory of cells that have not been run, from the status records of those that have."""
    costs = Costs(runs)
    seconds = [costs.seconds(cell) for cell in cells]
    known = [each for each in seconds if each is not None]
    memory = [each for cell in cells if (each := costs.memory(cell)) is not None]
    return Estimate(sum(known), max(memory, default=None), len(known), len(seconds) - len(known))


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> clock(75), clock(3675), clock(200000)
        ('1:15', '1:01:15', '2 days 7:33:20')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    lead = "" if not days else f"{days} day{'s' * (days > 1)} "
    return lead + (f"{hours}:{minutes:02}:{rest:02}" if days or hours else f"{minutes}:{rest:02}")
