"""Run what pages show, and put below it what it prints and draws.

In the folders of ``RUN`` every ``console`` and ``python`` block is run, from top to bottom of a page, in a
folder of its own. A page that cannot be run is a warning, which ends a strict build.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from docutils import nodes

import shown

RUN = ("start/", "choose/", "learn/", "migrate/", "generated/gallery")
LONGEST = 60  # lines of what is printed
PICTURES = (".png", ".svg")


def run(app: Any, tree: nodes.document) -> None:
    """Run the blocks of one page."""
    from sphinx.util import logging

    name = app.env.docname
    blocks = [
        node
        for node in tree.findall(nodes.literal_block)
        if node.get("language") in ("console", "python")
    ]
    if not blocks or not app.config.run_blocks or not name.startswith(RUN):
        return
    kept = Path(app.srcdir, "generated", "shown", name)
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        page = shown.session(Path(folder) / "inputs")
        for number, block in enumerate(blocks):
            try:
                said, files = page.block(block["language"], block.astext())
            except shown.ShownError as error:
                logging.getLogger(__name__).warning("not as shown: %s", error, location=block)
                break
            new = [*_printed(said), *_made(files, page.folder, kept, number, app)]
            block.parent[block.parent.index(block) + 1 : block.parent.index(block) + 1] = new


def _printed(said: str) -> list[nodes.Node]:
    lines = [line.rstrip() for line in said.strip("\n").splitlines()]
    if not any(lines):
        return []
    if len(lines) > LONGEST:
        more = len(lines) - LONGEST
        lines = [*lines[:LONGEST], f"... ({more} more lines)"]
    text = "\n".join(lines)
    return [nodes.literal_block(text, text, language="text", classes=["shown-output"])]


def _made(files: list[Path], folder: Path, kept: Path, number: int, app: Any) -> list[nodes.Node]:
    """Pictures and pages among the files that a block made."""
    found: list[nodes.Node] = []
    for file in files:
        inside = file.relative_to(folder)
        if (
            len(inside.parts) > 2
            or ".cache" in inside.parts
            or file.suffix not in (*PICTURES, ".html")
        ):
            continue
        target = kept / f"{number}-{'-'.join(inside.parts)}"
        shutil.copyfile(file, target)
        uri = "/" + os.path.relpath(target, app.srcdir)
        if file.suffix == ".html":
            found.append(_page(app, target, inside.name))
        else:
            picture = nodes.image(
                uri=uri, alt=f"The picture {inside.name} that the block above writes"
            )
            found.append(nodes.container("", picture, classes=["shown-picture"]))
    return found


def _page(app: Any, file: Path, name: str) -> nodes.Node:
    """A link to a report, which stands in the site as it was written."""
    place = file.relative_to(Path(app.srcdir, "generated"))
    target = Path(app.outdir, "_reports", place)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    up = "../" * app.env.docname.count("/")
    link = nodes.reference("", f"Open {name}", refuri=f"{up}_reports/{place}", internal=True)
    return nodes.paragraph("", "", link, classes=["shown-report"])


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx."""
    app.add_config_value("run_blocks", True, "env")  # -D run_blocks=0: a quick look at the pages
    app.connect("doctree-read", run, priority=100)  # before pictures are collected
    return {"parallel_read_safe": False}
