"""Objectives compute in 32 bits or more, whatever precision the encoders run in."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from vlmcal.types.outputs import Outputs

_NARROW = (torch.float16, torch.bfloat16)
_NAMES = tuple(field.name for field in fields(Outputs) if field.name != "memory")


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it was float16 or bfloat16; anything else is returned as it is.

    Example:
        >>> widened(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor.float() if tensor.dtype in _NARROW else tensor


def promoted(outputs: Outputs) -> Outputs:
    """The outputs with every narrow floating-point tensor widened; the same object if there is none."""
    changed: dict[str, Any] = {}
    for name in _NAMES:
        value = getattr(outputs, name)
        if isinstance(value, Tensor):
            if value.dtype in _NARROW:
                changed[name] = value.float()
        elif isinstance(value, Mapping) and any(v.dtype in _NARROW for v in value.values()):
            changed[name] = {key: widened(tensor) for key, tensor in value.items()}
    return replace(outputs, **changed) if changed else outputs


def full_precision(outputs: Outputs) -> AbstractContextManager[Any]:
    """A context without autocast on the device of ``outputs``; nothing if autocast is off."""
    for name in _NAMES:
        value = getattr(outputs, name)
        if isinstance(value, Tensor):
            device = value.device.type
            if torch.is_autocast_enabled(device):
                return torch.autocast(device, enabled=False)
            break
    return nullcontext()
