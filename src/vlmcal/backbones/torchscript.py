"""Tensors of a TorchScript archive (OpenAI's ``.pt`` files), read without running what it holds."""

import collections
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_archive(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive: it carries code and constants beside its tensors."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name.

    The archive's pickle is read with stand-ins for its modules; names other than tensors, storages
    and ordered dictionaries are never imported, and its code is never looked at.

    Raises:
        pickle.UnpicklingError: It asks for anything else.
    """
    with zipfile.ZipFile(path) as archive:
        (record,) = [n for n in archive.namelist() if n.endswith("/data.pkl") and n.count("/") == 1]
        with archive.open(record) as stream:
            root = _Reader(stream, archive, record.removesuffix("data.pkl")).load()
    found: dict[str, Tensor] = {}
    _collect(root, "", found)
    return found


class _Module:
    """Stand-in for a scripted module: its attributes and nothing else."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle":
            return lambda values, *_: values
        raise pickle.UnpicklingError(f"the archive asks for {module}.{name}")

    def persistent_load(self, key: Any) -> Tensor:
        _, dtype, number, _, size = key
        data = bytearray(self._archive.read(f"{self._prefix}data/{number}"))
        return torch.frombuffer(data, dtype=dtype, count=size)


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()


def _collect(item: Any, prefix: str, found: dict[str, Tensor]) -> None:
    state = getattr(item, "state", None)
    for key, value in state.items() if isinstance(state, dict) else ():
        if isinstance(value, Tensor):
            found[f"{prefix}{key}"] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{key}.", found)
