"""Named random generators: every consumer has its own stream, so adding one changes no other."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, names: tuple[str | int, ...]) -> int:
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the stream ``names`` of ``seed``.

    Example:
        >>> int(numpy_generator(1, "bootstrap").integers(1000))
        410
    """
    return np.random.default_rng(_entropy(seed, names))


def torch_generator(seed: int, *names: str | int) -> "torch.Generator":
    """A torch CPU generator for the stream ``names`` of ``seed``."""
    import torch

    return torch.Generator().manual_seed(_entropy(seed, names) >> 1)
