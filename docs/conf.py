"""The site: ``make site``. Offline, strict, and what it shows is run while it is built."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent / "scripts"), str(HERE.parent / "src")]

from vlmcal import __version__

project = "vlmcal"
author = "The vlmcal developers"
copyright = "The vlmcal developers, Apache-2.0"
release = version = __version__
extensions = [
    "myst_parser",
    "markdown_pages",
    "mathml",
    "shown_blocks",
    "generated_pages",
]
exclude_patterns = ["_build", "_extensions", "images"]
html_theme = "furo"
html_title = f"vlmcal {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "source_repository": "https://github.com/vlmcal/vlmcal/",
    "source_branch": "main",
    "source_directory": "docs/",
}
suppress_warnings = ["myst.header"]  # results that start at a deeper level
pygments_style = "friendly"
pygments_dark_style = "native"
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3
python_display_short_literal_types = True
toc_object_entries = False
smartquotes = False  # two hyphens are an option
