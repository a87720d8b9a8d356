"""What all pictures share: fonts, sizes, axes from 0 to 1, number labels."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from vlmcal.report.figures.plain import PlainFigure
from vlmcal.report.theme import GRID, INK, MUTED, SURFACE
from vlmcal.types.arrays import FloatArray

if TYPE_CHECKING:  # imported where something is drawn with it: it takes half a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
Drawn = TypeVar("Drawn")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.usetex": False,
    "text.color": INK.light,
    "text.parse_math": False,
    "axes.titlesize": 8.5,
    "axes.titlecolor": INK.light,
    "axes.titlepad": 7,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.facecolor": SURFACE.light,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": SURFACE.light,
    "figure.edgecolor": SURFACE.light,
    "grid.color": GRID.light,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.7,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelcolor": MUTED.light,
    "ytick.labelcolor": MUTED.light,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
}


_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain_canvas() -> Iterator[None]:
    """Within, figures are made on the canvas of :mod:`vlmcal.report.figures.plain`, not on matplotlib's."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def themed(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Run a drawing function under the house style, whatever the user's own settings are.

    Matplotlib reads its settings when an artist is made; they are restored afterwards.
    """

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        if _PLAIN.get():
            return draw(*args, **kwargs)
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_STYLE)
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of ``width`` x ``height`` inches that spaces its axes by itself."""
    return _empty(width, height, layout="constrained")


def small_figure(
    width: float, height: float, *, left: float, bottom: float, top: float
) -> "Figure":
    """An empty figure with fixed margins in inches, so that the axes of a row of pictures line up."""
    figure = _empty(width, height)
    figure.subplots_adjust(
        left=left / width,
        right=1 - 0.08 / width,
        bottom=bottom / height,
        top=1 - top / height,
        hspace=0.14,
    )
    return figure


def _empty(width: float, height: float, **layout: Any) -> "Figure":
    if _PLAIN.get():
        return cast("Figure", PlainFigure(width, height))
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **layout)


def unit_axes(axes: "Axes", *, x: bool = True, y: bool = True, step: float = 0.2) -> None:
    """Make x and/or y run from 0 to 1 with short tick labels and a light grid."""
    ticks = [round(i * step, 10) for i in range(round(1 / step) + 1)]
    labels = [f"{tick:.10g}" for tick in ticks]
    if x:
        axes.set_xlim(0.0, 1.0)
        axes.set_xticks(ticks, labels)
    if y:
        axes.set_ylim(0.0, 1.0)
        axes.set_yticks(ticks, labels)
    axes.grid(visible=True)


def diagonal(axes: "Axes", label: str | None = None) -> None:
    """The line on which confidence equals accuracy."""
    axes.plot([0, 1], [0, 1], color=MUTED.light, linewidth=1.0, linestyle=(0, (4, 3)), label=label)


def heading(axes: "Axes", *lines: str) -> None:
    """Short lines of text above the axes, left-aligned, so that they never cover data."""
    text = "\n".join(line for line in lines if line)
    if text:
        axes.set_title(text, loc="left", linespacing=1.35)


def short_count(value: float) -> str:
    """A count in at most four characters.

    Example:
        >>> [short_count(n) for n in (0, 7, 950, 1200, 12_345, 412_000, 1_000_000)]
        ['0', '7', '950', '1.2k', '12k', '412k', '1M']
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999.5 rounds up to the next unit, so that "1000k" never appears.
        if value >= size * 0.9995:
            scaled = value / size
            return (
                f"{scaled:.1f}".removesuffix(".0") if scaled < 9.95 else f"{scaled:.0f}"
            ) + suffix
    return f"{value:.0f}"


def count_axis(axes: "Axes") -> None:
    """Label the y axis with short counts, few ticks."""
    axes.yaxis.set_major_formatter(lambda value, _: short_count(value))
    axes.locator_params(axis="y", nbins=3, integer=True)


def percent_axis(axes: "Axes", which: str = "y") -> None:
    """Label an axis of fractions in percent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def bars(
    axes: "Axes",
    left: FloatArray,
    height: FloatArray,
    width: FloatArray,
    *,
    colour: str,
    hatch: str = "",
) -> None:
    """Bars in a data colour; the hatch is drawn in ink, so that it shows in greyscale and in SVG."""
    axes.bar(left, height, width, align="edge", facecolor=colour, alpha=0.7, linewidth=0)
    axes.bar(
        left,
        height,
        width,
        align="edge",
        facecolor="none",
        edgecolor=INK.light,
        linewidth=0.4,
        hatch=hatch,
    )


def legend_below(figure: "Figure", *axes: "Axes", columns: int = 2) -> None:
    """One legend under the picture, each label once, so that it never covers data."""
    entries: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=min(columns, len(entries)),
            columnspacing=1.2,
            handletextpad=0.5,
        )
