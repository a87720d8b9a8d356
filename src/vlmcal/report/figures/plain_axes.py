"""The axes of the canvas for pages, :mod:`vlmcal.report.figures.plain`: marks, ticks and words as SVG."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.report.figures.plain_svg import line_of, paint, path_of, shape_of, short, text_of
from vlmcal.report.theme import GRID, INK, MUTED
from vlmcal.types.arrays import FloatArray

SIZE, _LINE, _MARK = 8.5, 1.5, 5.0
_DIGIT = 0.62  # width of a letter in units of its size
_DASHES: dict[Any, tuple[float, ...]] = {"-": (), ":": (1, 1.65), "--": (3.7, 1.6)}
_STEPS = (1, 2, 2.5, 5, 10)


class Mark(NamedTuple):
    """Something drawn: its path in points, its style, and how a legend shows it."""

    path: Callable[["PlainAxes"], str]
    style: str
    label: str | None
    sample: str  # path of the sample in a legend, from (0, 0) to (14, 0)
    clipped: bool = True
    rank: float = 1.0


class _Words(NamedTuple):
    text: str
    at: Callable[["PlainAxes"], tuple[float, float]]
    size: float = SIZE
    colour: str = INK.light
    anchor: str = "start"


class _Axis:
    """One direction: its limits, ticks and their labels."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 1.0
        self.limited = False
        self.ticks: Sequence[float] | None = None
        self.labels: Sequence[str] | None = None
        self.most = 6
        self.size = SIZE
        self.shown = True
        self.name, self.name_size = "", SIZE
        self.form: Callable[[float, int], str] = lambda value, _: f"{value:g}"
        self.scale: Callable[[Any], Any] = lambda value: value

    def set_major_formatter(self, form: Callable[[float, int], str]) -> None:
        """Labels of the ticks from now on."""
        self.form, self.labels = form, None

    def limit(self, low: float, high: float) -> None:
        self.low, self.high, self.limited = float(low), float(high), True

    def include(self, values: ArrayLike) -> None:
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not self.limited and known.size:
            self.low, self.high = min(self.low, known.min()), max(self.high, known.max())

    def place(self, values: ArrayLike) -> FloatArray:
        """Share of the way from the low to the high end."""
        low, high = self.scale(self.low), self.scale(self.high)
        result: FloatArray = (self.scale(np.asarray(values, dtype=np.float64)) - low) / (high - low)
        return result

    def marked(self) -> list[tuple[float, str]]:
        """Ticks with their labels."""
        ticks = nice_ticks(self.low, self.high, self.most) if self.ticks is None else self.ticks
        labels = self.labels or [self.form(tick, 0) for tick in ticks]
        return list(zip(ticks, labels, strict=True))


class PlainAxes:
    """What the drawings ask of ``matplotlib.axes.Axes``, by the same names."""

    transAxes = "axes"  # noqa: N815 - matplotlib's name

    def __init__(self) -> None:
        self.xaxis, self.yaxis = _Axis(), _Axis()
        self.marks: list[Mark] = []
        self.words: list[_Words] = []
        self.title: list[str] = []
        self.title_size = SIZE
        self.has_grid = False
        self.box = (0.0, 0.0, 1.0, 1.0)  # left, top, width, height in points

    def across(self, x: ArrayLike) -> FloatArray:
        """Points from the left."""
        return self.box[0] + self.box[2] * self.xaxis.place(x)

    def down(self, y: ArrayLike) -> FloatArray:
        """Points from the top."""
        return self.box[1] + self.box[3] * (1 - self.yaxis.place(y))

    def bar(
        self,
        left: ArrayLike,
        height: ArrayLike,
        width: ArrayLike,
        bottom: ArrayLike = 0.0,
        *,
        align: str,
        color: str = "",
        facecolor: str = "",
        edgecolor: str = "none",
        alpha: float = 1.0,
        linewidth: float = 0.0,
        hatch: str = "",
        label: str | None = None,
    ) -> None:
        """Boxes, their left edges given."""
        assert align == "edge"
        x, up, wide, low = np.broadcast_arrays(left, height, width, bottom)
        self.yaxis.include(low + up)

        def path(axes: "PlainAxes") -> str:
            x0, x1 = axes.across(x), axes.across(x + wide)
            y0, y1 = axes.down(low), axes.down(low + up)
            return "".join(
                f"M{short(a)} {short(b)}H{short(c)}V{short(d)}H{short(a)}z"
                for a, b, c, d in zip(x0, y0, x1, y1, strict=True)
            )

        fill = "url(#{uid}-h)" if hatch else paint(facecolor or color)
        style = f"fill:{fill}"
        if linewidth:
            style += f";stroke:{paint(edgecolor)};stroke-width:{linewidth:g}"
        style += f";opacity:{alpha:g}" if alpha != 1 else ""
        self.marks.append(Mark(path, style, label, "M0 -3H14V3H0z"))

    def fill_between(
        self,
        x: ArrayLike,
        low: ArrayLike,
        high: ArrayLike,
        *,
        color: str,
        alpha: float = 1.0,
        linewidth: float = 0.0,
        label: str | None = None,
    ) -> None:
        """The area between two curves."""
        del linewidth  # of its edge, which no drawing wants
        xs, below, above = np.broadcast_arrays(x, low, high)

        def path(axes: "PlainAxes") -> str:
            right, top, bottom = axes.across(xs), axes.down(above), axes.down(below)
            return (
                line_of(right, top) + line_of(right[::-1], bottom[::-1]).replace("M", "L", 1) + "z"
            )

        style = f"fill:{paint(color)};opacity:{alpha:g}"
        self.marks.append(Mark(path, style, label, "M0 -3H14V3H0z"))

    def hlines(self, y: ArrayLike, left: ArrayLike, right: ArrayLike, **look: Any) -> None:
        """Level lines."""

        def path(axes: "PlainAxes") -> str:
            rows = zip(axes.across(left), axes.down(y), axes.across(right), strict=True)
            return "".join(f"M{short(a)} {short(b)}H{short(c)}" for a, b, c in rows)

        self._stroke(path, **look)

    def vlines(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, **look: Any) -> None:
        """Upright lines."""

        def path(axes: "PlainAxes") -> str:
            rows = zip(axes.across(x), axes.down(low), axes.down(high), strict=True)
            return "".join(f"M{short(a)} {short(b)}V{short(c)}" for a, b, c in rows)

        self._stroke(path, **look)

    def axhline(self, y: float, *, color: str, linewidth: float) -> None:
        """A level line from side to side."""
        self.hlines([y], [self.xaxis.low], [self.xaxis.high], color=color, linewidth=linewidth)

    def plot(
        self,
        x: ArrayLike,
        y: ArrayLike,
        marker: str = "",
        *,
        color: str,
        linewidth: float = _LINE,
        linestyle: Any = "-",
        drawstyle: str = "default",
        markersize: float = _MARK,
        clip_on: bool = True,
        zorder: float = 2.0,
        label: str | None = None,
    ) -> None:
        """A line, or marks without a line."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.yaxis.include(ys)
        if marker:

            def marks(axes: "PlainAxes") -> str:
                places = zip(axes.across(xs), axes.down(ys), strict=True)
                return "".join(
                    f"M{short(a)} {short(b)}{shape_of(marker, markersize)}" for a, b in places
                )

            sample = f"M7 0{shape_of(marker, markersize)}"
            style = f"fill:{paint(color)};stroke:{paint(color)}"
            self.marks.append(Mark(marks, style, label, sample, clip_on, zorder))
            return
        if drawstyle == "steps-pre":
            xs, ys = np.repeat(xs, 2)[:-1], np.repeat(ys, 2)[1:]
        else:
            assert drawstyle == "default"

        def path(axes: "PlainAxes") -> str:
            return line_of(axes.across(xs), axes.down(ys))

        self._stroke(path, color, linewidth, linestyle=linestyle, label=label)

    def errorbar(
        self,
        x: ArrayLike,
        y: ArrayLike,
        errors: ArrayLike,
        *,
        color: str,
        marker: str,
        linestyle: str,
        elinewidth: float,
        markersize: float,
        linewidth: float,
        clip_on: bool,
        alpha: float = 1.0,
        label: str | None = None,
    ) -> None:
        """Marks with an upright line through each, and one between them unless ``linestyle`` is "none"."""
        first, (below, above) = len(self.marks), np.asarray(errors, dtype=np.float64)
        self.vlines(x, y - below, y + above, color=color, linewidth=elinewidth)
        if linestyle != "none":
            self.plot(x, y, color=color, linewidth=linewidth, linestyle=linestyle)
        self.plot(x, y, marker, color=color, markersize=markersize, clip_on=clip_on, label=label)
        if alpha != 1:
            self.marks[first:] = [
                mark._replace(style=f"{mark.style};opacity:{alpha:g}")
                for mark in self.marks[first:]
            ]

    def text(self, x: float, y: float, text: str, *, transform: str, va: str) -> None:
        """Words at a share of the axes."""
        assert transform == self.transAxes
        drop = SIZE * (0.75 if va == "top" else -0.2)

        def at(axes: "PlainAxes") -> tuple[float, float]:
            left, top, width, height = axes.box
            return left + width * x, top + height * (1 - y) + drop

        self.words.append(_Words(text, at))

    def annotate(
        self,
        text: str,
        place: tuple[float, float],
        *,
        xytext: tuple[float, float],
        textcoords: str,
        ha: str,
        fontsize: float,
        color: str,
    ) -> None:
        """Words beside a point, some points off."""
        assert (textcoords, ha) == ("offset points", "center")

        def at(axes: "PlainAxes") -> tuple[float, float]:
            right, up = xytext
            return float(axes.across(place[0])) + right, float(axes.down(place[1])) - up

        self.words.append(_Words(text, at, fontsize, color, "middle"))

    def set_title(
        self, text: str, *, loc: str, fontsize: float = SIZE, linespacing: float = 1.35
    ) -> None:
        """Lines above the axes."""
        del linespacing  # one for all
        assert loc == "left"
        self.title, self.title_size = text.split("\n") if text else [], fontsize

    def set_xlabel(self, text: str, *, fontsize: float = SIZE) -> None:
        """Name of the axis to the right."""
        self.xaxis.name, self.xaxis.name_size = text, fontsize

    def set_ylabel(self, text: str, *, fontsize: float = SIZE) -> None:
        """Name of the axis upwards."""
        self.yaxis.name, self.yaxis.name_size = text, fontsize

    def set_xlim(self, low: float, high: float) -> None:
        """Ends of the axis to the right."""
        self.xaxis.limit(low, high)

    def set_ylim(self, low: float, high: float) -> None:
        """Ends of the axis upwards."""
        self.yaxis.limit(low, high)

    def set_xticks(self, ticks: Sequence[float], labels: Sequence[str] | None = None) -> None:
        """Where the axis to the right is marked."""
        self.xaxis.ticks, self.xaxis.labels = ticks, labels

    def set_yticks(self, ticks: Sequence[float], labels: Sequence[str] | None = None) -> None:
        """Where the axis upwards is marked."""
        self.yaxis.ticks, self.yaxis.labels = ticks, labels

    def set_xscale(self, kind: str, *, functions: tuple[Callable[[Any], Any], Any]) -> None:
        """A scale by its function."""
        assert kind == "function"
        self.xaxis.scale = functions[0]

    def set_yscale(self, kind: str, *, functions: tuple[Callable[[Any], Any], Any]) -> None:
        """A scale by its function."""
        assert kind == "function"
        self.yaxis.scale = functions[0]

    def tick_params(self, *, labelsize: float) -> None:
        """Size of the numbers at both axes."""
        self.xaxis.size = self.yaxis.size = labelsize

    def locator_params(self, *, axis: str, nbins: int, integer: bool) -> None:
        """How many ticks the axis upwards has at most."""
        assert (axis, integer) == ("y", True)
        self.yaxis.most = nbins

    def grid(self, *, visible: bool) -> None:
        """Light lines at the ticks."""
        self.has_grid = visible

    def get_legend_handles_labels(self) -> tuple[list[Mark], list[str]]:
        """What has a label, and the labels."""
        known = [(mark, mark.label) for mark in self.marks if mark.label]
        return [mark for mark, _ in known], [label for _, label in known]

    def _stroke(
        self,
        path: Callable[["PlainAxes"], str],
        color: str,
        linewidth: float,
        *,
        linestyle: Any = "-",
        label: str | None = None,
    ) -> None:
        dashes = linestyle[1] if isinstance(linestyle, tuple) else _DASHES[linestyle]
        style = f"fill:none;stroke:{paint(color)};stroke-width:{linewidth:g}"
        if dashes:
            style += ";stroke-dasharray:" + ",".join(f"{d * linewidth:g}" for d in dashes)
        self.marks.append(Mark(path, style, label, "M0 0H14"))

    def svg(self, number: int) -> str:
        """The axes as SVG; ``{uid}`` stands for the picture's own name."""
        left, top, width, height = self.box
        right, bottom = left + width, top + height
        grid, words = "", []
        for at, label in self.xaxis.marked():
            x = float(self.across(at))
            grid += f"M{short(x)} {short(top)}V{short(bottom)}" if self.has_grid else ""
            if self.xaxis.shown:
                place = x, bottom + 3.5 + 0.76 * self.xaxis.size
                words.append(text_of(label, *place, self.xaxis.size, MUTED.light, "middle"))
        for at, label in self.yaxis.marked():
            y = float(self.down(at))
            grid += f"M{short(left)} {short(y)}H{short(right)}" if self.has_grid else ""
            place = left - 3.5, y + 0.38 * self.yaxis.size
            words.append(text_of(label, *place, self.yaxis.size, MUTED.light, "end"))
        if self.xaxis.name:
            y = bottom + self.below()
            size = self.xaxis.name_size
            words.append(text_of(self.xaxis.name, left + width / 2, y, size, INK.light, "middle"))
        if self.yaxis.name:
            size, y = self.yaxis.name_size, top + height / 2
            x = max(left - self.beside(), 0.0) + 0.8 * size
            turn = f' transform="rotate(-90 {short(x)} {short(y)})"'
            words.append(text_of(self.yaxis.name, x, y, size, INK.light, "middle", turn))
        for i, line in enumerate(reversed(self.title)):
            y = top - 7 - 1.35 * self.title_size * i
            words.append(text_of(line, left, y, self.title_size, INK.light, "start"))
        words += [text_of(w.text, *w.at(self), w.size, w.colour, w.anchor) for w in self.words]
        marks = sorted(self.marks, key=lambda mark: mark.rank)
        inside = "".join(path_of(mark.path(self), mark.style) for mark in marks if mark.clipped)
        over = "".join(path_of(mark.path(self), mark.style) for mark in marks if not mark.clipped)
        clip = f"{{uid}}-c{number}"
        frame = f"M{short(left)} {short(top)}V{short(bottom)}H{short(right)}"
        return (
            f'<clipPath id="{clip}"><rect x="{short(left)}" y="{short(top)}" '
            f'width="{short(width)}" height="{short(height)}"/></clipPath>'
            f"{path_of(grid, f'fill:none;stroke:{paint(GRID.light)};stroke-width:0.7')}"
            f'<g clip-path="url(#{clip})">{inside}</g>'
            f"{path_of(frame, f'fill:none;stroke:{paint(MUTED.light)};stroke-width:0.8')}"
            f"{over}{''.join(words)}"
        )

    def beside(self) -> float:
        """Points that numbers and name need to the left."""
        widest = max((len(label) for _, label in self.yaxis.marked()), default=0)
        numbers = 4 + _DIGIT * self.yaxis.size * widest if widest else 2.0
        return numbers + (self.yaxis.name_size + 3 if self.yaxis.name else 0)

    def aside(self) -> float:
        """Points that half of the last number needs to the right."""
        last = self.xaxis.marked()[-1:] if self.xaxis.shown else []
        return max([6.0, *(2 + 0.29 * self.xaxis.size * len(label) for _, label in last)])

    def below(self) -> float:
        """Points from the axes down to the base line of the name, or below the numbers."""
        numbers = 4 + self.xaxis.size if self.xaxis.shown else 0
        return numbers + (1.2 * self.xaxis.name_size if self.xaxis.name else 0)

    def above(self) -> float:
        """Points that the title needs."""
        return 7 + 1.35 * self.title_size * len(self.title) if self.title else 4


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most ``most`` steps.

    Example:
        >>> nice_ticks(0, 130, 3), nice_ticks(0.0, 0.31, 4)
        ([0.0, 50.0, 100.0], [0.0, 0.1, 0.2, 0.3])
    """
    rough = (high - low) / most
    if not rough > 0:
        return [low]
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(round(i * step, 12)) + 0.0 for i in np.arange(first, last + 1)]
