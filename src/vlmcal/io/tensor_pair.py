"""Two files that belong together: arrays in safetensors, everything else in the ``.json`` beside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from vlmcal.errors import DataError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json
from vlmcal.io.state_files import is_intact, sealed


class PairFormat(NamedTuple):
    """A kind of pair.

    Attributes:
        name: Stands in the JSON as "format".
        version: Stands in the JSON; others are refused.
        keys: What the JSON must hold beside "format", "version" and "sha256".
        what: What it describes, for messages.
    """

    name: str
    version: int
    keys: frozenset[str]
    what: str

    def save(self, file: Path, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write ``file`` (.safetensors) and its ``.json``, the latter last.

        The JSON holds the SHA-256 of the tensor file, so that halves of two different saves are noticed.

        Raises:
            DataError: The record is not plain data.
            StoreError: A file cannot be written.
        """
        # safetensors writes the raw buffer, so a transposed or strided view has to be laid out first.
        tensors = save_tensors({name: np.ascontiguousarray(each) for name, each in arrays.items()})
        head = {"format": self.name, "version": self.version}
        whole = {**head, "sha256": hashlib.sha256(tensors).hexdigest(), **record}
        try:
            text = json.dumps(sealed(whole), ensure_ascii=False, indent=1)
        except TypeError as error:
            raise DataError(
                f"{file}: the provenance must be plain data (text, numbers, lists, mappings): {error}"
            ) from error
        atomic_write(file, tensors)
        atomic_write(file.with_suffix(".json"), text)

    def load(self, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """The record and the arrays that :meth:`save` wrote, bit for bit.

        Raises:
            DataError: One of the two files is missing, damaged, of another save or of a newer version.
        """
        beside = file.with_suffix(".json")
        record = self._record(beside)
        data = file.read_bytes()
        # Descriptions of earlier versions hold no checksum of their own.
        intact = set(record) == self._all_keys or is_intact(record)
        if not intact or hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise DataError(
                f"{file}: damaged, or not from the same save as {beside.name} (checksums differ); save or "
                "fetch both again"
            )
        try:
            return record, load_tensors(data)
        except SafetensorError as error:
            raise DataError(f"{file}: not a readable safetensors file ({error})") from error

    @property
    def _all_keys(self) -> frozenset[str]:
        return self.keys | {"format", "version", "sha256"}

    def _record(self, file: Path) -> dict[str, Any]:
        if not file.is_file():
            raise DataError(f"{file}: no such file; it belongs to the .safetensors file beside it")
        try:
            record = parse_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file}: not readable as JSON ({error})") from error
        if not isinstance(record, dict) or record.get("format") != self.name:
            raise DataError(
                f'{file}: not a description of {self.what} ("format" is not "{self.name}")'
            )
        if record.get("version") != self.version:
            raise DataError(
                f"{file}: version {record.get('version')} of the format, this program reads version "
                f"{self.version}; use the vlmcal that wrote it, or a newer one"
            )
        if missing := sorted(self._all_keys - set(record)):
            raise DataError(f"{file}: damaged, it lacks {missing}; save or fetch both files again")
        return record
