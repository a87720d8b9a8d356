"""What the pages say to a reader of the repository, said to the site.

Links to files that are no pages lead to the repository, those to folders to their README; blocks of ``math``
are formulas.
"""

import os
import re
from pathlib import Path
from typing import Any

SOURCE = "https://github.com/vlmcal/vlmcal/blob/main/"
PAGES = {"CONTRIBUTING.md": "generated/contributing.md", "CHANGELOG.md": "generated/changelog.md"}
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def led(target: str, page: Path, docs: Path) -> str:
    """Where a link of a page leads."""
    if target.startswith("https://github.com/vlmcal/vlmcal/blob/main/docs/"):
        inside = docs / target.partition("/blob/main/docs/")[2]
        return os.path.relpath(inside, page.parent)
    if ":" in target or target.startswith("#"):
        return target
    path, _, anchor = target.partition("#")
    anchor = f"#{anchor}" if anchor else ""
    # Normalised as text: a link of a file system must not matter.
    place = Path(os.path.normpath(page.parent / path))
    root = docs.parent
    if place.is_dir():
        place = place / "README.md"
    inside = os.path.relpath(place, root)
    if inside in PAGES:
        return os.path.relpath(docs / PAGES[inside], page.parent) + anchor
    if not place.is_relative_to(docs):
        return SOURCE + inside.removesuffix("/README.md") + anchor
    return os.path.relpath(place, page.parent) + anchor


def rewrite(app: Any, name: str, source: list[str]) -> None:
    """Change one page before it is read."""
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md":
        docs = Path(app.srcdir)
        text = _LINK.sub(lambda m: m[1] + led(m[2], page, docs) + m[3], source[0])
        source[0] = text.replace("```math\n", "```{math}\n")


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
