"""The pieces of SVG that the canvas for pages, :mod:`vlmcal.report.figures.plain`, is written in."""

from html import escape

import numpy as np

from vlmcal.report.theme import TONES
from vlmcal.types.arrays import FloatArray

_PAINT = {tone.light: f"var({tone.variable},{tone.light})" for tone in TONES}
_MARKS = {
    "v": "m0 {0}l{0} -{1}h-{1}z",
    "^": "m0 -{0}l{0} {1}h-{1}z",
    "s": "m-{0} -{0}h{1}v{1}h-{1}z",
}


def line_of(x: FloatArray, y: FloatArray) -> str:
    """A line through points, broken where one is unknown."""
    known, parts, pen = np.isfinite(x) & np.isfinite(y), [], "M"
    for a, b, there in zip(x.tolist(), y.tolist(), known.tolist(), strict=True):
        parts.append(f"{pen}{short(a)} {short(b)}" if there else "")
        pen = "L" if there else "M"
    return "".join(parts)


def shape_of(marker: str, size: float) -> str:
    """A mark around the point where the path is."""
    if marker == "o":
        half = short(size / 2)
        return (
            f"m-{half} 0a{half} {half} 0 1 0 {short(size)} 0a{half} {half} 0 1 0 -{short(size)} 0z"
        )
    return _MARKS[marker].format(short(size / 2), short(size))


def paint(colour: str) -> str:
    """A colour of the palette as the page's variable; others as they are.

    Example:
        >>> paint("#0072b2")
        'var(--vc-blue,#0072b2)'
    """
    return _PAINT.get(colour, colour)


def short(value: float) -> str:
    """A coordinate: hundredths of a point will do.

    Example:
        >>> short(12.5), short(3.0)
        ('12.5', '3')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def path_of(d: str, style: str) -> str:
    """A path in a style; nothing where it is empty.

    Example:
        >>> path_of("M0 0H1", "fill:none"), path_of("", "fill:none")
        ('<path d="M0 0H1" style="fill:none"/>', '')
    """
    return f'<path d="{d}" style="{style}"/>' if d else ""


def text_of(
    text: str, x: float, y: float, size: float, colour: str, anchor: str, more: str = ""
) -> str:
    """Words at a place in points.

    Example:
        >>> text_of("a < b", 1, 2, 8.5, "#1b1f24", "end").split(">")[1]
        'a &lt; b</text'
    """
    style = f"font-size:{size:g}px;text-anchor:{anchor};fill:{paint(colour)}"
    return f'<text x="{short(x)}" y="{short(y)}" style="{style}"{more}>{escape(text)}</text>'
