"""What each of several workers on one machine may use: an accelerator and a share of the processors."""

import os
from collections.abc import Mapping

from vlmcal.extras import available


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def accelerators() -> list[str]:
    """Names of the GPUs as CUDA_VISIBLE_DEVICES writes them; [] where there are none."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    if not available("torch"):
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def share(worker: int, workers: int, gpus: list[str], threads: int) -> Mapping[str, str]:
    """Environment of one worker: one GPU of those there are, and its part of the threads.

    Args:
        worker: Its number, from 0.
        workers: How many there are.
        gpus: Names of the GPUs.
        threads: Threads of the machine.

    Example:
        >>> share(3, 4, ["0", "1"], threads=16)
        {'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': '1'}
    """
    own = {"OMP_NUM_THREADS": str(max(1, threads // workers))}
    if gpus:
        own["CUDA_VISIBLE_DEVICES"] = gpus[worker % len(gpus)]
    return own
