"""Which cells a worker gets next: some of one data set and backbone, as it had before if there are more."""

from collections.abc import Sequence

from vlmcal.experiment.engines.base import Cell, shared, sharing


class Pieces:
    """Cells that nobody has yet, handed out in pieces of one data set and backbone.

    Pieces shrink towards the end, so that no worker has many cells left while others have none.

    Args:
        cells: All of them.
        workers: How many share them.

    Example:
        >>> from vlmcal.experiment.plan import plan
        >>> from vlmcal.experiment.spec import parse_spec
        >>> spec = parse_spec({"data": "digits", "method": "coop", "seed": "1..8"})
        >>> pieces = Pieces(plan(spec), workers=2)
        >>> [len(pieces.take(0)) for _ in range(8)]
        [2, 2, 1, 1, 1, 1, 0, 0]
    """

    def __init__(self, cells: Sequence[Cell], workers: int) -> None:
        self._groups = {shared(group[0]): group for group in sharing(cells)}
        self._workers = workers
        self._last: dict[int, str] = {}

    def take(self, worker: int) -> list[Cell]:
        """The next piece for a worker; [] when nothing is left."""
        left = [key for key, group in self._groups.items() if group]
        if not left:
            return []
        mine = self._last.get(worker)
        if mine not in left:
            # What nobody is at, then what has most left.
            held = set(self._last.values())
            mine = min(left, key=lambda key: (key in held, -len(self._groups[key])))
        assert mine is not None
        self._last[worker] = mine
        group = self._groups[mine]
        count = -(-len(group) // (2 * self._workers))
        piece, self._groups[mine] = group[:count], group[count:]
        return piece

    def give_back(self, cells: Sequence[Cell]) -> None:
        """Take back cells that a worker did not finish; they are the next of theirs to be handed out."""
        for group in sharing(cells):
            self._groups[shared(group[0])] = [*group, *self._groups[shared(group[0])]]

    def __bool__(self) -> bool:
        """Whether cells are left."""
        return any(self._groups.values())
