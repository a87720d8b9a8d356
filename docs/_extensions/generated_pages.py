"""Write the pages that follow from the code, before anything is read."""

from pathlib import Path
from typing import Any

import site_pages


def write(app: Any) -> None:
    """All of them, into ``docs/generated``."""
    site_pages.write(Path(app.srcdir))


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx."""
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True}
