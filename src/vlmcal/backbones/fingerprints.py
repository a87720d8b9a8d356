"""SHA-256 over what decides an encoder's features."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """The same for equal values in any storage type: weights are hashed as float32.

    Example:
        >>> one = torch.ones(2)
        >>> hash_weights({"a": one}) == hash_weights({"a": one.half()})
        True
    """
    found = hashlib.sha256()
    for name, value in sorted(weights.items()):
        plain = value.detach().to("cpu", torch.float32).contiguous()
        found.update(f"{name}{tuple(plain.shape)}".encode())
        values: Any = plain.flatten().numpy()
        found.update(values)
    return found.hexdigest()
