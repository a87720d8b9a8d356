"""All cells one after another in this process."""

from collections.abc import Iterator, Sequence

from vlmcal.experiment.engines.base import ENGINES, Cell, CellResult, Work, sharing


@ENGINES.register("inline")
def inline(cells: Sequence[Cell], work: Work) -> Iterator[CellResult]:
    """Run every cell here; cells held by another process are waited for at the end."""
    busy: list[Cell] = []
    for group in sharing(cells):
        for cell, result in work.together(group, False):
            if result is None:
                busy.append(cell)
            else:
                yield result
    for group in sharing(busy):
        for _, result in work.together(group, True):
            assert result is not None
            yield result
