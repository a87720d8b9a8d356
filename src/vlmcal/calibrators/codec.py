"""Learned state as plain JSON data and back, bit for bit."""

from typing import Any

import numpy as np

from vlmcal.errors import StoreError

_NAMES = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
_VALUES = {name: value for value, name in _NAMES.items()} | {"NaN": float("nan")}


def encode(value: Any, store: dict[str, Any] | None = None, above: int = 0) -> Any:
    """``value`` as JSON data: arrays become ``{"dtype", "shape", "data"}``.

    JSON has no infinity: a number becomes ``{"number": "Infinity"}``, in an array just the string.

    Args:
        value: Numbers, strings, arrays, and lists and dictionaries of these.
        store: Where to put arrays of more than ``above`` numbers instead; they become ``{"tensor": key}``.
        above: Size above which an array goes to ``store``.

    Example:
        >>> encode({"a": np.array([1, 2])})
        {'a': {'dtype': 'int64', 'shape': [2], 'data': [1, 2]}}
    """
    if isinstance(value, dict):
        return {str(key): encode(item, store, above) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, store, above) for item in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else {"number": _NAMES.get(value, "NaN")}
    if not isinstance(value, np.ndarray):
        return value
    if store is not None and value.size > above:
        key = f"array_{len(store)}"
        store[key] = np.ascontiguousarray(value)
        return {"tensor": key}
    data = value.ravel().tolist()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        data = [item if np.isfinite(item) else _NAMES.get(item, "NaN") for item in data]
    return {"dtype": str(value.dtype), "shape": list(value.shape), "data": data}


def decode(value: Any, store: dict[str, Any] | None = None) -> Any:
    """The value that :func:`encode` was given (tuples come back as lists).

    Raises:
        StoreError: An array that lies in the safetensors file is missing there.

    Example:
        >>> decode({"dtype": "float64", "shape": [2], "data": [0.5, "Infinity"]})
        array([0.5, inf])
    """
    if isinstance(value, list):
        return [decode(item, store) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"dtype", "shape", "data"}:
        data = [
            _VALUES.get(item, item) if isinstance(item, str) else item for item in value["data"]
        ]
        return np.array(data, dtype=value["dtype"]).reshape(value["shape"])
    if set(value) == {"number"}:
        return _VALUES[value["number"]]
    if set(value) == {"tensor"}:
        if store is None or value["tensor"] not in store:
            raise StoreError(
                f"the array {value['tensor']!r} is missing; the .safetensors file beside the JSON "
                "belongs to the calibrator, move both together"
            )
        return store[value["tensor"]]
    return {key: decode(item, store) for key, item in value.items()}
