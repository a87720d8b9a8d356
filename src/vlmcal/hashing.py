"""Stable content hashes: the same meaning gives the same digest on every machine and in every year."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK = 1 << 20
_PLAIN = frozenset((str, int, bool, type(None)))


def canonical(value: Any) -> Any:
    """Reduce ``value`` to plain JSON data with one form per meaning.

    Mappings are sorted by key, tuples and sets become lists, dataclasses become mappings with their
    type's name, integral floats stay floats. NaN and infinity are refused by :func:`digest`.

    Example:
        >>> canonical({"b": (1, 2), "a": None})
        {'a': None, 'b': [1, 2]}
    """
    if type(value) in _PLAIN:  # by far the most, in lists of hashes and ids
        return value
    if is_dataclass(value) and not isinstance(value, type):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"type": type(value).__name__, **canonical(values)}
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"cannot hash the non-finite number {value}")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot hash a {type(value).__name__}")


def digest(value: Any) -> str:
    """SHA-256, as 64 hexadecimal digits, of the canonical JSON form of ``value``.

    Example:
        >>> digest({"method": "coop", "shots": 16})[:12]
        '1834795a631d'
    """
    text = json.dumps(canonical(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's dtype, shape and bytes (row-major, little-endian)."""
    plain = np.ascontiguousarray(array)
    plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    head = f"{plain.dtype.str}{plain.shape}".encode()
    return hashlib.sha256(head + plain.tobytes()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            state.update(piece)
    return state.hexdigest()
