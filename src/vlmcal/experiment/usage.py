"""How much memory this process has used."""

import sys

import torch


def peak_memory(device: str = "cpu") -> int | None:
    """Largest memory in bytes that this process has had, on an accelerator its share there; None if unknown.

    Example:
        >>> peak_memory() > 1_000_000
        True
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
