"""Frozen blocks for autocast: their weights in half precision once, not anew in every step."""

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn


@dataclass(frozen=True)
class _Cast:
    """A block as it was when it was cast."""

    maps: list[nn.Linear]
    state: list[Any]
    block: nn.Module


_CASTS: dict[torch.dtype, WeakKeyDictionary[nn.Module, _Cast]] = defaultdict(WeakKeyDictionary)


def cast_once(blocks: Sequence[nn.Module], dtype: torch.dtype) -> list[nn.Module]:
    """The blocks with linear maps whose weights are of ``dtype``; all else is shared, hooks too.

    Under autocast to ``dtype`` they give the same numbers: it casts the same weights, but keeps only casts
    of those that are trained. Casts are made anew where weights have changed. Blocks that are trained or
    compiled, or not in float32, are given back as they are.

    Example:
        >>> block = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)).requires_grad_(False)
        >>> (cast,) = cast_once([block], torch.bfloat16)
        >>> cast[0].weight.dtype, cast[1] is block[1], cast_once([block], torch.bfloat16)[0] is cast
        (torch.bfloat16, True, True)
    """
    return [_cast(block, dtype) for block in blocks]


def _cast(block: nn.Module, dtype: torch.dtype) -> nn.Module:
    kept = _CASTS[dtype].get(block)
    if kept is None or kept.state != _state(kept.maps):
        maps = [m for m in block.modules() if type(m) is nn.Linear]
        if not _may_be_cast(block, maps):
            return block
        with torch.inference_mode(False), torch.no_grad():  # a later backward pass may need them
            kept = _Cast(maps, _state(maps), _copy(block, dtype))
        _CASTS[dtype][block] = kept
    return kept.block


def _may_be_cast(block: nn.Module, maps: Sequence[nn.Linear]) -> bool:
    weights = [p for m in maps for p in m.parameters()]
    compiled = any(m._compiled_call_impl is not None for m in block.modules())
    return not compiled and all(p.dtype == torch.float32 and not p.requires_grad for p in weights)


def _state(maps: Sequence[nn.Linear]) -> list[Any]:
    """Which tensors the weights are, how often they were changed, and whether they are trained."""
    return [
        (p.data_ptr(), 0 if p.is_inference() else p._version, p.requires_grad)
        for m in maps
        for p in m._parameters.values()
        if p is not None
    ]


def _copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    if not any(type(m) is nn.Linear for m in module.modules()):
        return module
    made = copy.copy(module)
    if type(module) is nn.Linear:
        made._parameters = {
            name: None if p is None else nn.Parameter(p.to(dtype), requires_grad=False)
            for name, p in module._parameters.items()
        }
    made._modules = {
        name: None if part is None else _copy(part, dtype) for name, part in module._modules.items()
    }
    return made
