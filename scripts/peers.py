"""Ask an index, through pip, for the newest versions of the packages that docs/compare.md compares with.

``peers.py`` prints what is newer than the page says, and ends with exit code 1 if anything is.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "compare.md"
# As the page calls them, by the names of an index.
PEERS = {
    "torch-uncertainty": "torch-uncertainty",
    "probmetrics": "probmetrics",
    "netcal": "netcal",
    "TorchCP": "torchcp",
    "MAPIE": "mapie",
    "crepes": "crepes",
    "UQLM": "uqlm",
    "lm-polygraph": "lm-polygraph",
}


def compared(text: str) -> dict[str, str]:
    """Name -> version in the head of the table."""
    (head,) = re.findall(r"^\| \| .*\|$", text, re.M)
    return {name: re.search(rf"{re.escape(name)} ([\d.]+)", head)[1] for name in PEERS}


def newest(package: str) -> str:
    """The newest version, or nothing where no index answers."""
    words = [sys.executable, "-m", "pip", "index", "versions", package]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = re.search(rf"^{re.escape(package)} \(([^)]+)\)", told)
    return found[1] if found else ""


if __name__ == "__main__":
    stale = []
    for name, version in compared(PAGE.read_text(encoding="utf-8")).items():
        now = newest(PEERS[name])
        print(f"{name:18} compared {version:8} newest {now or 'unknown'}")
        stale += [name] if now not in ("", version) else []
    sys.exit(bool(stale))
