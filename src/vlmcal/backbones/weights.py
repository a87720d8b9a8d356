"""Tensors from weight files of any kind, by name; nothing stored in a file is ever executed."""

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vlmcal.backbones import torchscript
from vlmcal.errors import BackboneError

Weights = dict[str, Tensor]
Rules = Sequence[tuple[str, str]]
_WRAPPERS = ("module.", "model.")
_INSIDE = ("state_dict", "model_state_dict", "model")


def read_weights(path: Path, name: str) -> Weights:
    """All tensors of a weight file.

    safetensors files are memory-mapped; pickled ones are read with ``weights_only``, TorchScript archives
    by a reader that knows tensors only. A trainer's checkpoint gives its ``state_dict``, and a prefix that
    every name shares ("module.", "model.") is dropped.

    Args:
        path: ``.safetensors``, ``.bin``, ``.pt``, ``.pth`` or ``.ckpt``.
        name: What the user called the model, for messages.

    Raises:
        BackboneError: The file is damaged, holds no tensors, or holds objects that would need code.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        elif zipfile.is_zipfile(path) and torchscript.is_archive(path):
            found = torchscript.read_tensors(path)
        else:
            mapped = zipfile.is_zipfile(path)  # the old format cannot be mapped into memory
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except BackboneError:
        raise
    except Exception as error:  # damaged files raise many types
        raise BackboneError(
            f"{name}: cannot read {path} as tensors ({type(error).__name__}: {str(error)[:300]}); files "
            "that need more than tensors are not loaded, since that would run code from the file; a "
            "damaged file must be downloaded again"
        ) from error
    return _plain(found, path, name)


def _plain(found: Any, path: Path, name: str) -> Weights:
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = (
        {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise BackboneError(f"{name}: {path} holds no named tensors")
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def half_type(weights: Mapping[str, Tensor]) -> torch.dtype | None:
    """float16 or bfloat16, where all matrices are of that type; else None.

    Example:
        >>> half_type({"proj": torch.ones(2, 2).half(), "norm": torch.ones(2)})
        torch.float16
    """
    kinds = {w.dtype for w in weights.values() if w.is_floating_point() and w.ndim > 1}
    only = kinds.pop() if len(kinds) == 1 else None
    return only if only in (torch.float16, torch.bfloat16) else None


def read_folder(folder: Path, files: Iterable[str], name: str) -> Weights:
    """Tensors of all shards in a folder."""
    return {
        key: value for file in files for key, value in read_weights(folder / file, name).items()
    }


def renamed(weights: Mapping[str, Tensor], rules: Rules) -> Weights:
    """The same tensors under other names, by the first rule whose pattern matches the whole name.

    A replacement of "" drops the tensor; ``a|b|c`` splits it along its first axis into as many equal
    parts; a leading ``.T `` transposes. Names without a rule stay and show as unexpected.

    Example:
        >>> found = renamed({"in": torch.arange(6.0)}, [("in", "q|k|v")])
        >>> found["k"].tolist()
        [2.0, 3.0]
    """
    patterns = [(re.compile(pattern), target) for pattern, target in rules]
    result: Weights = {}
    for key, value in weights.items():
        for pattern, target in patterns:
            match = pattern.fullmatch(key)
            if match is None:
                continue
            new = match.expand(target)
            if new.startswith(".T "):
                new, value = new[3:], value.T.contiguous()
            names = [part for part in new.split("|") if part]
            if names:
                parts = value.chunk(len(names)) if len(names) > 1 else (value,)
                result.update(zip(names, parts, strict=True))
            break
        else:
            result[key] = value
    return result


def fill(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Put float32 tensors into a module built on the meta device.

    Raises:
        BackboneError: Names are missing or not expected, or a shape differs; lists them. Or a value is not
            finite.
    """
    wanted = module.state_dict()
    weights = {
        key: value.reshape(wanted[key].shape)
        if key in wanted and value.squeeze().shape == wanted[key].squeeze().shape
        else value
        for key, value in weights.items()
    }
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - weights.keys() - counters)
    unexpected = sorted(weights.keys() - wanted.keys())
    shapes = [
        f"{key}: {tuple(weights[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & weights.keys())
        if weights[key].shape != wanted[key].shape
    ]
    faults = [
        f"{len(keys)} {kind} ({', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''})"
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if keys
    ]
    if faults:
        raise BackboneError(
            f"{name}: the tensors do not fit the layout that was recognised: {'; '.join(faults)}; the "
            "weights belong to another architecture or are incomplete"
        )
    broken = [k for k, w in weights.items() if w.is_floating_point() and not w.isfinite().all()]
    if broken:
        raise BackboneError(
            f"{name}: {len(broken)} tensors hold NaN or infinity (first {broken[0]}); the file is damaged, "
            "or training diverged"
        )
    ready = {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in weights.items()
    }
    ready |= {key: torch.zeros((), dtype=torch.long) for key in counters - weights.keys()}
    module.load_state_dict(ready, assign=True)
    module.eval().requires_grad_(False)


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers the group of ``pattern`` takes (layers are counted from their names).

    Example:
        >>> count({"a.0.w": torch.zeros(1), "a.1.w": torch.zeros(1)}, r"a[.]([0-9]+)[.]w")
        2
    """
    compiled = re.compile(pattern)
    return len({m.group(1) for key in weights if (m := compiled.fullmatch(key))})


def need(weights: Mapping[str, Tensor], key: str, name: str) -> Tensor:
    """A tensor that the layout cannot do without.

    Raises:
        BackboneError: It is not there; says what is.
    """
    if key not in weights:
        shown = ", ".join(sorted(weights)[:8])
        raise BackboneError(
            f"{name}: the weights lack {key}; they hold {len(weights)} tensors: {shown}, ..."
        )
    return weights[key]
