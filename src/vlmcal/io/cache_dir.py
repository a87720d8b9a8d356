"""Where what can be computed again is kept between runs."""

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """``$VLMCAL_CACHE``, or ``~/.cache/vlmcal``."""
    return Path(os.environ.get("VLMCAL_CACHE") or Path.home() / ".cache" / "vlmcal").expanduser()
