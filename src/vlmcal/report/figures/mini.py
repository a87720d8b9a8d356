"""Pictures of a few hundred bytes, for pages that hold hundreds of them: plain SVG, no figure behind it."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from vlmcal.types.arrays import FloatArray

SIDE = 96  # of a small picture, in its own units
_LARGE = (360, 300)
_MARGIN = 44


class Point(NamedTuple):
    """A mark of a scatter plot.

    Attributes:
        x, y: Where it is.
        label: What it is; shown where the mouse rests on it.
        group: Number of its colour.
    """

    x: float
    y: float
    label: str
    group: int = 0


def bars_and_diagonal(confidence: FloatArray, accuracy: FloatArray, title: str) -> str:
    """A small reliability diagram: accuracy against mean confidence of the filled bins, and the diagonal.

    Args:
        confidence: (M,) mean confidence of each bin, NaN where it is empty.
        accuracy: (M,) of each bin.
        title: Accessible name.

    Example:
        >>> import numpy as np
        >>> bars_and_diagonal(np.array([0.5]), np.array([0.25]), "one").count("<path")
        3
    """
    known = [(c, a) for c, a in zip(confidence, accuracy, strict=True) if c == c and a == a]
    # From the diagonal to the accuracy.
    stems = "".join(f"M{_at(c)} {_at(1 - c)}V{_at(1 - a)}m-2 0h4" for c, a in known)
    return _small(f'<path class="axis" d="M0 {SIDE}L{SIDE} 0"/><path d="{stems}"/>', title)


def curve(values: Sequence[tuple[float, float]], title: str) -> str:
    """A small line, scaled to its own range on both axes.

    Example:
        >>> curve([(0, 1.0), (1, 0.5)], "loss").count("L")
        1
    """
    xs, ys = [x for x, _ in values], [y for _, y in values]
    spans = (min(xs), max(xs) - min(xs) or 1.0), (min(ys), max(ys) - min(ys) or 1.0)
    points = [
        f"{_at((x - spans[0][0]) / spans[0][1])} {_at(1 - (y - spans[1][0]) / spans[1][1])}"
        for x, y in values
    ]
    return _small(f'<path d="M{"L".join(points)}"/>', title)


def scatter(points: Sequence[Point], x: str, y: str, title: str, *, diagonal: bool = False) -> str:
    """A scatter plot with axes from the smallest to the largest value.

    Args:
        points: At least one mark with finite numbers.
        x: Name of the axis to the right.
        y: Name of the axis upwards.
        title: Accessible name.
        diagonal: Both axes have one range, and the line where they agree is drawn.

    Example:
        >>> scatter([Point(0.0, 1.0, "a"), Point(1.0, 0.0, "b")], "x", "y", "two").count("<circle")
        2
    """
    low_x, high_x = _range([p.x for p in points])
    low_y, high_y = _range([p.y for p in points])
    if diagonal:
        low_x = low_y = min(low_x, low_y)
        high_x = high_y = max(high_x, high_y)
    width, height = _LARGE
    inner_w, inner_h = width - _MARGIN - 8, height - _MARGIN - 8

    def place(px: float, py: float) -> tuple[str, str]:
        across = _MARGIN + inner_w * (px - low_x) / (high_x - low_x)
        down = 8 + inner_h * (1 - (py - low_y) / (high_y - low_y))
        return f"{across:.1f}", f"{down:.1f}"

    marks = []
    for point in points:
        cx, cy = place(point.x, point.y)
        name = escape(f"{point.label}: {point.x:.3g}, {point.y:.3g}")
        marks.append(
            f'<circle class="g{point.group % 6}" cx="{cx}" cy="{cy}" r="3"><title>{name}</title></circle>'
        )
    bottom, right = 8 + inner_h, _MARGIN + inner_w
    lines = f"M{_MARGIN} 8V{bottom}H{right}"
    if diagonal:
        lines += f"M{_MARGIN} {bottom}L{right} 8"
    texts = (
        f'<text x="{_MARGIN}" y="{bottom + 14}">{low_x:.3g}</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{high_x:.3g}</text>'
        f'<text x="{_MARGIN - 4}" y="{bottom}" text-anchor="end">{low_y:.3g}</text>'
        f'<text x="{_MARGIN - 4}" y="18" text-anchor="end">{high_y:.3g}</text>'
        f'<text x="{_MARGIN + inner_w / 2}" y="{height - 8}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="12" y="{height / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {height / 2})">{escape(y)}</text>'
    )
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f'<path class="axis" d="{lines}"/>{"".join(marks)}{texts}</svg>'
    )


def _small(inner: str, title: str) -> str:
    box = f"-2 -2 {SIDE + 4} {SIDE + 4}"
    return (
        f'<svg class="mini" viewBox="{box}" role="img" aria-label="{escape(title)}">'
        f'<path class="axis" d="M0 0V{SIDE}H{SIDE}"/>{inner}</svg>'
    )


def _at(share: float) -> str:
    return f"{SIDE * share:.0f}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room
