"""Small JSON files: written in one step, read with a clear word when damaged."""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vlmcal.errors import StoreError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json
from vlmcal.io.state_files import SEAL, damage_named, is_intact, sealed

T = TypeVar("T")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as indented JSON, atomically."""
    atomic_write(path, json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """``value`` as JSON data: NaN and infinity become None.

    Example:
        >>> finite({"nll": float("inf"), "n": (1, 2.5)})
        {'nll': None, 'n': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def write_sealed(path: Path, data: Mapping[str, Any]) -> None:
    """As :func:`write_json`, with a checksum that :func:`read_sealed` looks at."""
    write_json(path, sealed(data))


def read_sealed(path: Path) -> dict[str, Any]:
    """What :func:`write_sealed` wrote; a file without a checksum, of an older version, is taken as it is.

    Raises:
        StoreError: The file is missing or damaged, or another one than was written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.json")
        >>> write_sealed(path, {"ece": 0.1})
        >>> read_sealed(path)
        {'ece': 0.1}
        >>> _ = path.write_text(path.read_text().replace("0.1", "0.2"))
        >>> read_sealed(path)
        Traceback (most recent call last):
        vlmcal.errors.StoreError: ...a.json does not match its checksum; it was damaged or edited...
    """
    data = read_json(path)
    if SEAL in data and not is_intact(data):
        raise StoreError(
            f"{path} does not match its checksum; it was damaged or edited. Remove it and run again"
        )
    data.pop(SEAL, None)
    return data


def remembered(
    path: Path,
    make: Callable[[], T],
    read: Callable[[dict[str, Any]], T],
    plain: Callable[[T], Mapping[str, Any]],
) -> T:
    """What was computed earlier and is kept in ``path``; where it is missing or damaged, it is made again.

    Args:
        path: Where it is kept.
        make: Computes it.
        read: From plain data.
        plain: To plain data.
    """
    if path.is_file():
        try:
            data = read_sealed(path)
            with damage_named(path):
                return read(data)
        except StoreError as error:
            warnings.warn(f"{error}; it is measured again", stacklevel=3)
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, plain(made))
    return made
