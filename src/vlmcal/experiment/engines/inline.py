"""All cells one after another in this process."""

from collections.abc import Iterator, Sequence

from vlmcal.experiment.engines.base import ENGINES, CellResult, Work
from vlmcal.experiment.plan import Cell


@ENGINES.register("inline")
def inline(cells: Sequence[Cell], work: Work) -> Iterator[CellResult]:
    """Run every cell here; cells held by another process are waited for at the end."""
    busy: list[Cell] = []
    for cell in cells:
        result = work(cell, False)
        if result is None:
            busy.append(cell)
        else:
            yield result
    for cell in busy:
        result = work(cell, True)
        assert result is not None
        yield result
