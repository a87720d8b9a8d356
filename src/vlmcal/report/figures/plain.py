"""A canvas for pages: what a drawing asks of matplotlib, written as SVG at once, without matplotlib.

A page holds a dozen small pictures and more; matplotlib takes 0.1 s for each, and half a second to import.
Only what the drawings of :mod:`vlmcal.report.figures` use is understood; anything else is an error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmcal.report.figures.plain_axes import SIZE, Mark, PlainAxes
from vlmcal.report.figures.plain_svg import paint, path_of, short, text_of
from vlmcal.report.theme import INK, SURFACE


class PlainFigure:
    """What the drawings ask of ``matplotlib.figure.Figure``, by the same names.

    Attributes:
        size: Width and height in points.

    Example:
        >>> figure = PlainFigure(2, 1)
        >>> axes = figure.subplots()
        >>> axes.plot([0, 1], [0, 1], color="#0072b2")
        >>> figure.content("f1").count("<path")
        3
    """

    def __init__(self, width: float, height: float) -> None:
        self.size = 72 * width, 72 * height
        self.axes: list[PlainAxes] = []
        self._heights, self._across = [1.0], 1
        self._edges: tuple[float, float, float, float] | None = None
        self._legend: list[tuple[Mark, str]] = []
        self._columns = 1

    def subplots(
        self,
        rows: int = 1,
        columns: int = 1,
        *,
        sharex: bool = False,
        height_ratios: Sequence[float] | None = None,
    ) -> Any:
        """One axes, some below each other, or a table of them."""
        table = [[PlainAxes() for _ in range(columns)] for _ in range(rows)]
        self.axes = [axes for line in table for axes in line]
        self._heights = [float(ratio) for ratio in height_ratios or [1] * rows]
        self._across = columns
        if sharex:
            for axes in self.axes[:-columns]:
                axes.xaxis.shown = False
        if columns > 1:
            return np.array(table, dtype=object)
        return self.axes[0] if rows == 1 else self.axes

    def subplots_adjust(
        self, *, left: float, right: float, bottom: float, top: float, hspace: float
    ) -> None:
        """Fixed margins, in shares of the figure."""
        del hspace
        self._edges = left, right, bottom, top

    def legend(
        self, handles: Sequence[Mark], labels: Sequence[str], *, ncols: int, **more: Any
    ) -> None:
        """Names of the marks, below the axes."""
        del more  # room between the columns, and the place below the axes
        self._legend, self._columns = list(zip(handles, labels, strict=True)), ncols

    def content(self, uid: str) -> str:
        """What stands inside the ``<svg>``; ids start with ``uid``."""
        width, height = self.size
        legend, tall = self._drawn_legend()
        self._lay_out(tall)
        back = f"fill:{paint(SURFACE.light)}"
        axes = "".join(one.svg(number) for number, one in enumerate(self.axes))
        hatch = (
            '<pattern id="{uid}-h" width="4" height="4" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)">'
            f'<path d="M0 0V4" style="stroke:{paint(INK.light)};stroke-width:0.9"/></pattern>'
        )
        hatch = hatch if "{uid}-h" in axes else ""
        body = f"{path_of(f'M0 0H{width:g}V{height:g}H0z', back)}{hatch}{axes}{legend}"
        return body.replace("{uid}", uid)

    def _lay_out(self, tall: float) -> None:
        width, height = self.size[0] / self._across, self.size[1]
        lowest = self.axes[-self._across :]
        top = 3 + max(axes.above() for axes in self.axes[: self._across])
        end = height - tall - max(axes.below() for axes in lowest)
        end -= 4 if any(axes.xaxis.name for axes in lowest) else 2
        for number in range(self._across):
            column, begin = self.axes[number :: self._across], number * width
            if self._edges is not None:
                left, right, bottom, upper = self._edges
                box = left * width, (1 - upper) * height, right * width, (1 - bottom) * height
            else:
                left = begin + 4 + max(axes.beside() for axes in column)
                box = left, top, begin + width - max(axes.aside() for axes in column), end
            gap = 8.0
            room = box[3] - box[1] - gap * (len(column) - 1)
            y = box[1]
            for axes, share in zip(column, self._heights, strict=True):
                part = room * share / sum(self._heights)
                axes.box = box[0], y, box[2] - box[0], part
                y += part + gap

    def _drawn_legend(self) -> tuple[str, float]:
        """The legend as SVG at the lower edge, and how many points it takes."""
        if not self._legend:
            return "", 0.0
        rows = -(-len(self._legend) // self._columns)
        widths = [
            22 + 0.58 * SIZE * max(len(label) for _, label in self._legend[at : at + rows])
            for at in range(0, len(self._legend), rows)
        ]
        start, line = (self.size[0] - sum(widths)) / 2, 1.4 * SIZE
        parts = []
        for i, (mark, label) in enumerate(self._legend):
            column, row = divmod(i, rows)
            x, y = start + sum(widths[:column]), self.size[1] - line * (rows - row) + 4
            sample = path_of(mark.sample, mark.style)
            parts.append(f'<g transform="translate({short(x)} {short(y)})">{sample}</g>')
            parts.append(text_of(label, x + 18, y + 3, SIZE, INK.light, "start"))
        return "".join(parts), line * rows + 3
