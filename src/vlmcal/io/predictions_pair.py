"""The toolkit's own format for predictions: arrays in safetensors, everything else in JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from vlmcal.errors import DataError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json
from vlmcal.io.state_files import is_intact, sealed
from vlmcal.types.predictions import Predictions

FORMAT: Final = "vlmcal.predictions"
VERSION: Final = 1
_EXTRA: Final = "extra."
_KEYS: Final = frozenset(
    [
        "format",
        "version",
        "sha256",
        "kind",
        "split",
        "resolution",
        "class_names",
        "ids",
        "groups",
        "provenance",
    ]
)


def save(predictions: Predictions, file: Path) -> None:
    """Write ``file`` (.safetensors) and its ``.json``, the latter last.

    The JSON holds the SHA-256 of the tensor file, so that halves of two different saves are noticed.

    Raises:
        DataError: The provenance is not plain data.
        StoreError: A file cannot be written.
    """
    arrays = {"logits": predictions.logits, "labels": predictions.labels}
    arrays |= {f"{_EXTRA}{name}": array for name, array in predictions.extras.items()}
    # safetensors writes the raw buffer, so a transposed or strided view has to be laid out first.
    tensors = save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    n = len(predictions)
    numbered = np.array_equal(predictions.ids, np.arange(n).astype(np.str_))
    record = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": hashlib.sha256(tensors).hexdigest(),
        "kind": predictions.kind,
        "split": predictions.split,
        "resolution": predictions.resolution,
        "class_names": predictions.class_names,
        "ids": None if numbered else predictions.ids.tolist(),
        "groups": None if predictions.groups is None else predictions.groups.tolist(),
        "provenance": predictions.provenance,
    }
    try:
        text = json.dumps(sealed(record), ensure_ascii=False, indent=1)
    except TypeError as error:
        raise DataError(
            f"{file}: the provenance must be plain data (text, numbers, lists, mappings): {error}"
        ) from error
    atomic_write(file, tensors)
    atomic_write(file.with_suffix(".json"), text)


def load(file: Path) -> Predictions:
    """Read what :func:`save` wrote, bit for bit.

    Raises:
        DataError: One of the two files is missing, damaged, of another save or of a newer version.
    """
    record = _record(file.with_suffix(".json"))
    data = file.read_bytes()
    # Descriptions of earlier versions hold no checksum of their own.
    intact = set(record) == _KEYS or is_intact(record)
    if not intact or hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise DataError(
            f"{file}: damaged, or not from the same save as {file.with_suffix('.json').name} (checksums "
            "differ); save or fetch both again"
        )
    try:
        arrays: dict[str, Any] = load_tensors(data)
    except SafetensorError as error:
        raise DataError(f"{file}: not a readable safetensors file ({error})") from error
    return Predictions(
        logits=arrays["logits"],
        labels=arrays["labels"],
        ids=record["ids"],
        groups=record["groups"],
        class_names=tuple(record["class_names"]),
        kind=record["kind"],
        split=record["split"],
        resolution=record["resolution"],
        extras={n.removeprefix(_EXTRA): a for n, a in arrays.items() if n.startswith(_EXTRA)},
        provenance=record["provenance"],
    )


def _record(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DataError(f"{file}: no such file; it belongs to the .safetensors file beside it")
    try:
        record = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f'{file}: not a description of predictions ("format" is not "{FORMAT}")')
    if record.get("version") != VERSION:
        raise DataError(
            f"{file}: version {record.get('version')} of the format, this program reads version "
            f"{VERSION}; use the vlmcal that wrote it, or a newer one"
        )
    if missing := sorted(_KEYS - set(record)):
        raise DataError(f"{file}: damaged, it lacks {missing}; save or fetch both files again")
    return record
