"""Small charts as SVG that the style of the page colours; each is described in words, too."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup, escape

from vlmcal.types.arrays import FloatArray

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 30
POINTS: Final = 240


def line(
    values: FloatArray,
    limit: float | None,
    *,
    ticks: Sequence[tuple[float, str]],
    across: str,
    words: str,
) -> Markup:
    """A line over 1, 2, ..., N with a limit.

    Args:
        values: (N,) heights; of very many, the highest of each stretch.
        limit: A dashed line, or None.
        ticks: Heights with what is written beside them.
        across: What is counted from left to right.
        words: What is seen.

    Example:
        >>> drawn = line(np.array([0.0, 1.0]), 1.3, ticks=[(0, "1")], across="rows", words="It rises.")
        >>> drawn.count("<path")
        3
    """
    n = values.size
    cuts = np.unique(np.linspace(0, n, min(n, POINTS) + 1).astype(int))
    heights = np.maximum.reduceat(values, cuts[:-1]) if n else np.empty(0)
    places = cuts[1:]
    low = min([0.0, *heights.tolist(), *(t for t, _ in ticks)])
    high = max(
        [*heights.tolist(), *([] if limit is None else [limit * 1.15]), *(t for t, _ in ticks)]
    )

    def at(place: float, height: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (place / max(n, 1))
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (height - low) / max(high - low, 1e-12)
        return f"{x:.1f},{y:.1f}"

    drawn = "M" + " L".join(
        at(p, h) for p, h in zip(places.tolist(), heights.tolist(), strict=True)
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">',
        f'<path class="axis" d="M{LEFT},{TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}"/>',
    ]
    for height, name in ticks:
        _, y = at(0, height).split(",")
        parts.append(
            f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
    if limit is not None:
        parts.append(f'<path class="limit" d="M{at(0, limit)} L{at(n, limit)}"/>')
    if n:
        parts.append(f'<path class="line" d="{drawn}"/>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">1</text>')
    label = f"{n:,} {across}"
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(label)}</text></svg>'
    )
    return Markup("".join(parts))
