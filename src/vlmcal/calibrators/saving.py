"""Calibrators as files: readable JSON, large arrays in a safetensors file beside it, no pickle."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from vlmcal.calibrators.base import Calibrator, from_state
from vlmcal.calibrators.codec import decode, encode
from vlmcal.errors import StoreError, nearest
from vlmcal.io.atomic import atomic_write

FORMAT = 1
_KEYS = ("format", "calibrator", "parameters", "state", "fitted_on", "arrays")
_ABOVE = 2000  # numbers; longer arrays would make the JSON unreadable


def save_calibrator(calibrator: Calibrator, path: str | os.PathLike[str]) -> list[Path]:
    """Write a calibrator to ``path`` (.json), and large arrays to the same name with .safetensors.

    Returns:
        The files written.

    Raises:
        StoreError: The place cannot be written to, or the name does not end in .json.

    Example:
        >>> import tempfile
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> from vlmcal.types.predictions import Predictions
        >>> cal = Temperature().fit(Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_calibrator(cal, f"{folder}/cal.json")
        ...     load_calibrator(f"{folder}/cal.json").temperature_ == cal.temperature_
        True
    """
    target = _checked(Path(path))
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    data = encode(calibrator.to_state(), arrays, _ABOVE)
    written = [target]
    beside = target.with_suffix(".safetensors")
    if arrays:
        data["arrays"] = beside.name
        atomic_write(beside, save(arrays))
        written.append(beside)
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    atomic_write(target, text)
    return written


def load_calibrator(path: str | os.PathLike[str]) -> Calibrator:
    """Read a calibrator that :func:`save_calibrator` wrote; keys from newer versions are left out.

    Raises:
        StoreError: No such file, not such a file, a newer format, or the arrays beside it are missing.
        SpecError: The calibrator is not known here.
    """
    source = _checked(Path(path))
    data = _read(source)
    unknown = sorted(set(data) - set(_KEYS))
    if unknown:
        warnings.warn(
            f"{source}: the keys {unknown} are not known to this version and are ignored",
            stacklevel=2,
        )
    arrays: dict[str, Any] = {}
    if "arrays" in data:
        beside = source.with_name(Path(str(data["arrays"])).name)
        if not beside.is_file():
            raise StoreError(
                f"{source} keeps its arrays in {beside}, which does not exist; move both files together"
            )
        arrays = load_file(beside)
    return from_state({key: decode(data[key], arrays) for key in _KEYS[:5]})


def _read(source: Path) -> dict[str, Any]:
    if not source.is_file():
        others = (
            [item.name for item in source.parent.glob("*.json")] if source.parent.is_dir() else []
        )
        raise StoreError(f"no calibrator at {source}; {nearest(source.name, others)}")
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            f"{source} is not valid JSON ({error}); it was cut off or edited"
        ) from error
    if not isinstance(data, dict) or not set(_KEYS[:5]) <= set(data):
        raise StoreError(f"{source} is not a saved calibrator; expected the keys {_KEYS[:5]}")
    if data["format"] != FORMAT:
        raise StoreError(
            f"{source} has format {data['format']}, this version reads format {FORMAT}; update vlmcal"
        )
    return data


def _checked(path: Path) -> Path:
    if path.suffix != ".json":
        raise StoreError(f'a calibrator is saved as .json, got "{path}"')
    return path
