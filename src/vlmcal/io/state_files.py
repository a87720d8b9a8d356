"""Learned state as files: readable JSON, large arrays in a safetensors file beside it, no pickle."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

from vlmcal.errors import StoreError, nearest
from vlmcal.io.atomic import atomic_write, is_stream

FORMAT: Final = 2
READABLE: Final = (1, 2)
SEAL: Final = "checksum"
_INTACT: Final = "intact"
_ABOVE: Final = 2000  # numbers; longer arrays would make the JSON unreadable
_NAMES: Final = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
_VALUES: Final = {name: value for value, name in _NAMES.items()} | {"NaN": float("nan")}
_OLD_VALUES: Final = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def encode(value: Any) -> Any:
    """``value`` as JSON data: arrays become ``{"dtype", "shape", "data"}``.

    JSON has no infinity: a number becomes ``{"number": "Infinity"}``, in an array of numbers just the string.

    Args:
        value: Numbers, strings, arrays, and lists and dictionaries of these.

    Example:
        >>> encode({"a": np.array([1.0, np.inf]), "b": "inf", "c": float("inf")})["a"]
        {'dtype': 'float64', 'shape': [2], 'data': [1.0, 'Infinity']}
    """
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else {"number": _NAMES.get(value, "NaN")}
    if not isinstance(value, np.ndarray):
        return value
    data = value.ravel().tolist()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        data = [item if np.isfinite(item) else _NAMES.get(item, "NaN") for item in data]
    kind = "str" if value.dtype.kind == "U" else str(value.dtype)
    return {"dtype": kind, "shape": list(value.shape), "data": data}


def decode(value: Any) -> Any:
    """The value that :func:`encode` was given (tuples come back as lists); text stays text.

    Example:
        >>> decode({"dtype": "float64", "shape": [2], "data": [0.5, "Infinity"]})
        array([0.5, inf])
        >>> decode(encode({"stratum": "inf", "at": float("inf")}))
        {'stratum': 'inf', 'at': inf}
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"dtype", "shape", "data"}:
        kind = np.dtype(value["dtype"])
        named = _VALUES | _OLD_VALUES if kind.kind == "f" else {}
        data = [named.get(item, item) if isinstance(item, str) else item for item in value["data"]]
        return np.array(data, dtype=kind).reshape(value["shape"])
    if set(value) == {"number"}:
        return _VALUES[value["number"]]
    return {key: decode(item) for key, item in value.items()}


def write_state(path: Path, state: dict[str, Any], kind: str) -> list[Path]:
    """Write ``state`` to ``path`` (.json), and its large arrays to the same name with .safetensors.

    Args:
        path: A name that ends in .json; standard output, a device or a pipe gets all in one.
        state: Mapping with the key "format"; see :func:`encode` for what it may hold.
        kind: What it is called in messages.

    Returns:
        The files written.

    Raises:
        StoreError: The place cannot be written to, or the name does not end in .json.
    """
    stream = is_stream(path)
    if not stream:
        _require_json(path, kind)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    data = encode(state if stream else _take_out(state, arrays))
    written = [path]
    stored = b""
    if arrays:
        beside = path.with_suffix(".safetensors")
        data["arrays"] = beside.name
        stored = save(arrays)
        atomic_write(beside, stored)
        written.append(beside)
    atomic_write(path, json.dumps(sealed(data, stored), indent=1, allow_nan=False) + "\n")
    return written


def read_state(path: Path, keys: Sequence[str], kind: str) -> dict[str, Any]:
    """What :func:`write_state` wrote, still encoded, with the large arrays back in their places.

    Args:
        path: The JSON file.
        keys: Keys that it must have; others are returned as well.
        kind: What it is called in messages.

    Returns:
        The data, and whether the checksum fits, for :func:`require_intact`.

    Raises:
        StoreError: No such file, damaged, another kind of file, another format, or the arrays
            beside it are missing.
    """
    _require_json(path, kind)
    data = _read(path, keys, kind)
    stored = b""
    name = data.get("arrays")
    if name is not None:
        beside = path.with_name(Path(str(name)).name)
        if not beside.is_file():
            raise StoreError(
                f"{path} keeps its arrays in {beside}, which does not exist; move both files together"
            )
        stored = beside.read_bytes()
        try:
            arrays = load_arrays(stored)
        except SafetensorError as error:
            raise StoreError(f"{beside}: not a readable safetensors file ({error})") from error
    else:
        arrays = {}
    old = data["format"] == 1 and SEAL not in data
    data[_INTACT] = old or is_intact(data, stored)
    data.pop(SEAL, None)
    data.pop("arrays", None)
    back: dict[str, Any] = _put_back(data, arrays, kind)
    return back


def require_intact(data: Mapping[str, Any], path: Path, kind: str) -> None:
    """Refuse what :func:`read_state` read if it is not what was written; asked last, as others say more.

    Raises:
        StoreError: The checksum is another one, or is missing.
    """
    if not data[_INTACT]:
        raise StoreError(
            f"{path} does not match its checksum; it or the file beside it was damaged or edited. Fit the "
            f"{kind} again"
        )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside, while state is rebuilt from a file, is the fault of that file.

    Raises:
        StoreError: Instead of the errors that unexpected data cause.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); it was cut off or edited, fit it again"
        ) from error


def sealed(data: Mapping[str, Any], *stored: bytes | memoryview) -> dict[str, Any]:
    """``data`` with the checksum of what they say and of the bytes that lie beside them.

    Args:
        data: What JSON can hold.
        *stored: Contents of the files, or bytes of the tensors, that belong to them, in a fixed order.

    Example:
        >>> sealed({"format": 2})
        {'format': 2, 'checksum': 'c55bd0cc246763821321170314237223'}
        >>> is_intact(sealed({"format": 2}, b"ab"), b"ab"), is_intact(sealed({"format": 2}, b"ab"), b"ac")
        (True, False)
    """
    return {**data, SEAL: _checksum(data, stored)}


def is_intact(data: Mapping[str, Any], *stored: bytes | memoryview) -> bool:
    """Whether ``data`` and the bytes beside them are those that :func:`sealed` saw."""
    rest = {key: value for key, value in data.items() if key != SEAL}
    return bool(data.get(SEAL) == _checksum(rest, stored))


def _checksum(data: Mapping[str, Any], stored: Iterable[bytes | memoryview]) -> str:
    # Read back first: JSON makes text of keys that are numbers, which sort otherwise.
    read = json.loads(json.dumps(data))
    text = json.dumps(read, sort_keys=True, separators=(",", ":"))
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for piece in stored:
        found.update(piece)
    return found.hexdigest()


def _take_out(value: Any, arrays: dict[str, Any]) -> Any:
    """``value`` with its large arrays of numbers moved to ``arrays``."""
    if isinstance(value, dict):
        return {key: _take_out(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_take_out(item, arrays) for item in value]
    if not isinstance(value, np.ndarray) or value.dtype.kind == "U" or value.size <= _ABOVE:
        return value
    key = f"array_{len(arrays)}"
    arrays[key] = np.ascontiguousarray(value)
    return {"tensor": key}


def _put_back(value: Any, arrays: dict[str, Any], kind: str) -> Any:
    if isinstance(value, list):
        return [_put_back(item, arrays, kind) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {"tensor"}:
        return {key: _put_back(item, arrays, kind) for key, item in value.items()}
    if value["tensor"] not in arrays:
        raise StoreError(
            f"the array {value['tensor']!r} is missing; the .safetensors file beside the JSON "
            f"belongs to the {kind}, move both together"
        )
    return arrays[value["tensor"]]


def _read(path: Path, keys: Sequence[str], kind: str) -> dict[str, Any]:
    if not path.is_file():
        folder = path.parent
        others = [item.name for item in folder.glob("*.json")] if folder.is_dir() else []
        raise StoreError(f"no {kind} at {path}; {nearest(path.name, others)}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not valid JSON ({error}); it was cut off or edited") from error
    if not isinstance(data, dict) or not set(keys) <= set(data):
        raise StoreError(f"{path} is not a saved {kind}; expected the keys {', '.join(keys)}")
    if type(data["format"]) is not int or data["format"] not in READABLE:
        raise StoreError(
            f"{path} has format {data['format']}, this version reads format {FORMAT} and older ones; update "
            "vlmcal"
        )
    return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _require_json(path: Path, kind: str) -> None:
    if path.suffix != ".json":
        raise StoreError(f'a {kind} is saved as .json, got "{path}"')
