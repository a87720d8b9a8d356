"""Figures as text: compact inline SVG that follows the page's colours, and files for papers."""

import hashlib
import io
import math
import os
import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from vlmcal.errors import StoreError, require_known
from vlmcal.io.atomic import atomic_write
from vlmcal.report.figures.plain import PlainFigure
from vlmcal.report.theme import INK, TONES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
# CSS pixels of the smallest letters on any screen.
LEGIBLE = 9.05
_SALT = "vlmcal"
_NO_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


def to_svg(figure: "Figure | PlainFigure", *, title: str, desc: str, uid: str | None = None) -> str:
    """The figure as one ``<svg>`` element to put inside an HTML page.

    Colours of the house palette become CSS variables with the light value as fall-back, so that the
    same markup serves light mode, dark mode and print. Text stays text, in the page's font. Equal
    input gives equal bytes.

    Args:
        figure: Any figure; colours outside the palette are kept as they are.
        title: Accessible name.
        desc: What the picture shows, in a sentence, for those who do not see it.
        uid: Prefix of all ids, distinct within a page; by default made from the content.

    Example:
        >>> from vlmcal.report.figures.style import new_figure
        >>> svg = to_svg(new_figure(1, 1), title="Nothing", desc="An empty picture.", uid="f1")
        >>> svg.split(">")[0]
        '<svg class="vc-fig" role="img" aria-labelledby="f1-t f1-d" viewBox="0 0 72 72"'
    """
    if isinstance(figure, PlainFigure):
        width, height = figure.size
        view_box = f"0 0 {width:g} {height:g}"
        inner = figure.content(uid or "{uid}")
    else:
        raw = _render(figure, "svg").decode()
        body = re.sub(r"<metadata>.*?</metadata>", "", raw, flags=re.S)
        view_box = _group(r'viewBox="([^"]+)"', body)
        inner = _compact(_group(r"<svg[^>]*>(.*)</svg>", body))
    uid = uid or "f" + hashlib.sha256((title + inner).encode()).hexdigest()[:10]
    if isinstance(figure, PlainFigure):
        inner = inner.replace("{uid}", uid)
    else:
        inner = _recolour(_share_styles(_rename_ids(inner, uid), uid))
    return (
        f'<svg class="vc-fig" role="img" aria-labelledby="{uid}-t {uid}-d" '
        f'viewBox="{_round_numbers(view_box)}"{_least_width(view_box, inner)}>'
        f'<title id="{uid}-t">{escape(title)}</title><desc id="{uid}-d">{escape(desc)}</desc>'
        f"{inner}</svg>"
    )


def _least_width(view_box: str, inner: str) -> str:
    """A style that keeps the smallest letters legible on narrow screens, where the figure then scrolls."""
    sizes = [float(size) for size in re.findall(r"font(?:-size)?:\s*([\d.]+)px", inner)]
    if not sizes:
        return ""
    width = float(view_box.split()[2]) * LEGIBLE / min(sizes)
    return f' style="min-width:{math.ceil(width)}px"'


def save_figure(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 200) -> Path:
    """Write the figure as PNG, PDF or SVG, by the ending of ``path``, without dates.

    Args:
        figure: What to write; it is not changed.
        path: Target; an existing file is replaced in one step.
        dpi: Pixels per inch of a PNG.

    Returns:
        The path written.

    Raises:
        StoreError: Unknown ending, or the folder cannot be written to.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    require_known(kind, FORMATS, f"{target}: cannot write a picture as", StoreError)
    atomic_write(target, _render(figure, kind, dpi=dpi))
    return target


def _render(figure: "Figure", kind: str, dpi: int = 200) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": _SALT, "pdf.fonttype": 42}
    with mpl.rc_context(settings):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=_NO_METADATA[kind])
    return buffer.getvalue()


def _group(pattern: str, text: str) -> str:
    match = re.search(pattern, text, flags=re.S)
    if match is None:
        import matplotlib as mpl

        raise RuntimeError(f"unexpected SVG from matplotlib {mpl.__version__}: no {pattern!r}")
    return match.group(1)


def _compact(svg: str) -> str:
    """Drop what no viewer needs: comments, unused ids, default styles, digits past 0.01 point."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m.group(0) if m.group(1) in used else "", svg)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r' style="([^"]*)"', lambda m: _plain_style(m.group(1)), svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(
        r' (d|x|y|x1|x2|y1|y2|width|height|transform)="([^"]*)"',
        lambda m: f' {m.group(1)}="{_round_numbers(m.group(2))}"',
        svg,
    )
    svg = re.sub(r' d="([^"]*)"', lambda m: f' d="{_tight(m.group(1))}"', svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r">\s+<", "><", svg)
    return _flatten(svg.replace("<defs/>", "")).strip()


def _flatten(svg: str) -> str:
    """Remove groups that carry no attribute; they only nest."""
    kept: list[bool] = []

    def keep(match: re.Match[str]) -> str:
        tag = match.group(0)
        if tag == "</g>":
            return tag if kept.pop() else ""
        if not tag.endswith("/>"):
            kept.append(tag != "<g>")
        return "" if tag in ("<g>", "<g/>") else tag

    return re.sub(r"</?g\b[^>]*>", keep, svg)


def _plain_style(style: str) -> str:
    defaults = {"stroke-linejoin: miter", "font-style: normal", "font-weight: 400"}
    parts = [part.strip() for part in style.split(";")]
    kept = [
        part.replace(": ", ":")
        for part in parts
        if part and part not in defaults and not part.startswith("font-family")
    ]
    return f' style="{";".join(kept)}"' if kept else ""


def _round_numbers(text: str) -> str:
    def shorten(match: re.Match[str]) -> str:
        return f"{float(match.group(0)):.2f}".rstrip("0").rstrip(".")

    return re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+(?:e-?\d+)?", shorten, text)).strip()


def _tight(path: str) -> str:
    return re.sub(r" ?([A-Za-z]) ?", r"\1", path)


def _rename_ids(svg: str, uid: str) -> str:
    names = {name: f"{uid}-{i}" for i, name in enumerate(re.findall(r' id="([^"]+)"', svg))}
    for old, new in names.items():
        svg = svg.replace(f'id="{old}"', f'id="{new}"')
        svg = svg.replace(f'href="#{old}"', f'href="#{new}"').replace(
            f"url(#{old})", f"url(#{new})"
        )
    return svg


def _share_styles(svg: str, uid: str) -> str:
    """Give a style that many elements repeat one class name, local to this picture."""
    svg = re.sub(r' clip-path="([^"]+)" style="', r' style="clip-path:\1;', svg)
    counts = Counter(re.findall(r' style="([^"]*)"', svg))
    shared = {style: f"{uid}-s{i}" for i, (style, n) in enumerate(counts.items()) if n >= 3}
    for style, name in shared.items():
        svg = svg.replace(f' style="{style}"', f' class="{name}"')
    rules = "".join(f".{name}{{{style}}}" for style, name in shared.items())
    return (f"<style>{rules}</style>" if rules else "") + svg


def _recolour(svg: str) -> str:
    """Turn palette colours into CSS variables; unpainted text takes the page's ink."""
    for tone in TONES:
        svg = re.sub(re.escape(tone.light), f"var({tone.variable},{tone.light})", svg, flags=re.I)
    return svg.replace("currentColor", f"var({INK.variable},{INK.light})")
