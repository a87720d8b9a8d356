"""Small JSON files: written in one step, read with a clear word when damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmcal.errors import StoreError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as indented JSON, atomically."""
    atomic_write(path, json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist; is this a finished run?") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); remove it and run again") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}: expected a mapping; remove it and run again")
    return data
