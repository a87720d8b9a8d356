"""Conformal methods as files: readable JSON, large arrays in a safetensors file beside it, no pickle."""

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vlmcal.conformal.base import ConformalPredictor, from_dict
from vlmcal.errors import StoreError, nearest
from vlmcal.io.atomic import atomic_write

FORMAT: Final = 1
_KEYS: Final = ("format", "conformal", "parameters", "alpha", "state", "messages", "fitted_on")
_ABOVE: Final = 2000  # numbers; longer arrays would make the JSON unreadable
_ARRAY: Final = {"dtype", "shape", "data"}


def save_conformal(predictor: ConformalPredictor, path: str | os.PathLike[str]) -> list[Path]:
    """Write a method to ``path`` (.json), and large arrays to the same name with .safetensors.

    Returns:
        The files written.

    Raises:
        StoreError: The place cannot be written to, or the name does not end in .json.

    Example:
        >>> import tempfile
        >>> from vlmcal.conformal.lac import LAC
        >>> from vlmcal.types.predictions import Predictions
        >>> fitted = LAC().fit(Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1]), alpha=0.4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_conformal(fitted, f"{folder}/conf.json")
        ...     load_conformal(f"{folder}/conf.json").threshold_ == fitted.threshold_
        True
    """
    target = _checked(Path(path))
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    data = _take_out(predictor.to_dict(), tensors)
    written = [target]
    if tensors:
        beside = target.with_suffix(".safetensors")
        data["arrays"] = beside.name
        atomic_write(beside, save(tensors))
        written.append(beside)
    atomic_write(target, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return written


def load_conformal(path: str | os.PathLike[str]) -> ConformalPredictor:
    """Read a method that :func:`save_conformal` wrote.

    Raises:
        StoreError: No such file, damaged, a newer format, or the arrays beside it are missing.
        SpecError: The method is not known here.
    """
    source = _checked(Path(path))
    data = _read(source)
    tensors: dict[str, Any] = {}
    if "arrays" in data:
        beside = source.with_name(Path(str(data["arrays"])).name)
        if not beside.is_file():
            raise StoreError(
                f"{source} keeps its arrays in {beside}, which does not exist; move both files together"
            )
        try:
            tensors = load_file(beside)
        except SafetensorError as error:
            raise StoreError(f"{beside}: not a readable safetensors file ({error})") from error
    try:
        return from_dict(_put_back({key: data[key] for key in _KEYS}, tensors))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{source} is damaged ({type(error).__name__}: {error}); it was cut off or edited, fit it again"
        ) from error


def _take_out(value: Any, tensors: dict[str, Any]) -> Any:
    """``value`` with its large arrays of numbers moved to ``tensors``."""
    if isinstance(value, list):
        return [_take_out(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == _ARRAY and value["dtype"] != "str" and len(value["data"]) > _ABOVE:
        key = f"array_{len(tensors)}"
        tensors[key] = np.array(value["data"], dtype=value["dtype"]).reshape(value["shape"])
        return {"tensor": key}
    return {key: _take_out(item, tensors) for key, item in value.items()}


def _put_back(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_put_back(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tensor"}:
        array = tensors[value["tensor"]]
        return {"dtype": str(array.dtype), "shape": array.shape, "data": array.ravel().tolist()}
    return {key: _put_back(item, tensors) for key, item in value.items()}


def _read(source: Path) -> dict[str, Any]:
    if not source.is_file():
        others = (
            [item.name for item in source.parent.glob("*.json")] if source.parent.is_dir() else []
        )
        raise StoreError(f"no conformal method at {source}; {nearest(source.name, others)}")
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            f"{source} is not valid JSON ({error}); it was cut off or edited"
        ) from error
    if not isinstance(data, dict) or not set(_KEYS) <= set(data):
        raise StoreError(
            f"{source} is not a saved conformal method; expected the keys {', '.join(_KEYS)}"
        )
    if data["format"] != FORMAT:
        raise StoreError(
            f"{source} has format {data['format']}, this version reads format {FORMAT}; update vlmcal"
        )
    return data


def _checked(path: Path) -> Path:
    if path.suffix != ".json":
        raise StoreError(f'a conformal method is saved as .json, got "{path}"')
    return path
