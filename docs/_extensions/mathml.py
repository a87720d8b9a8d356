"""Formulas as MathML, which browsers draw by themselves: no script, no font, nothing from elsewhere."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

# What docutils does not know, in what it does.
SPELLED = {r"\tfrac": r"\frac", r"\dfrac": r"\frac", r"\operatorname*": r"\operatorname"}


def drawn(text: str, *, block: bool) -> str:
    """MathML of a formula.

    Raises:
        MathError: The formula cannot be read.
    """
    for old, new in SPELLED.items():
        text = text.replace(old, new)
    if block and (r"\\" in text or "&" in text) and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    return str(tex2mathml(text, as_block=block))


def _visit(translator: Any, node: Any, *, block: bool) -> None:
    from sphinx.util import logging

    try:
        translator.body.append(drawn(node.astext(), block=block))
    except MathError as error:
        logging.getLogger(__name__).warning("formula: %s", error, location=node)
        translator.body.append(f"<code>{translator.encode(node.astext())}</code>")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        (lambda t, n: _visit(t, n, block=False), None),
        (lambda t, n: _visit(t, n, block=True), None),
    )
    return {"parallel_read_safe": True}
