"""Checkpoints of a training run: one safetensors file, replaced atomically, no pickle."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vlmcal.io.atomic import atomic_write


@dataclass
class Checkpoint:
    """State at the start of an epoch.

    Attributes:
        epoch: The epoch to run next.
        learner: The learner's state.
        optimiser: The optimiser's state_dict.
        initial: Learned tensors before training.
        memory: Tensors that objectives keep between steps.
        history: Records of the epochs so far.
    """

    epoch: int
    learner: dict[str, Tensor]
    optimiser: dict[str, Any]
    initial: dict[str, Tensor]
    memory: dict[str, Tensor]
    history: list[dict[str, Any]]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint; a crash leaves either the old file or the new one, never half of one."""
    tensors: dict[str, Tensor] = {}
    for part in ("learner", "initial", "memory"):
        for name, tensor in getattr(checkpoint, part).items():
            tensors[f"{part}/{name}"] = tensor
    plain: dict[str, dict[str, Any]] = {}
    for index, state in checkpoint.optimiser["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    head = {
        "epoch": checkpoint.epoch,
        "history": checkpoint.history,
        "param_groups": checkpoint.optimiser["param_groups"],
        "optimiser_scalars": plain,
    }
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    atomic_write(path, save(copies, metadata={"vlmcal": json.dumps(head)}))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``; None (with a warning) if there is none or it cannot be read."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            head = json.loads(stream.metadata()["vlmcal"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        warnings.warn(
            f"checkpoint {path} cannot be read ({error}); training starts anew", stacklevel=2
        )
        return None
    parts: dict[str, dict[str, Tensor]] = {"learner": {}, "initial": {}, "memory": {}}
    state: dict[int, dict[str, Any]] = {}
    for index, scalars in head["optimiser_scalars"].items():
        state.setdefault(int(index), {}).update(scalars)
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        if part == "optimiser":
            index, _, key = rest.partition("/")
            state.setdefault(int(index), {})[key] = tensor
        else:
            parts[part][rest] = tensor
    return Checkpoint(
        epoch=head["epoch"],
        learner=parts["learner"],
        optimiser={"state": state, "param_groups": head["param_groups"]},
        initial=parts["initial"],
        memory=parts["memory"],
        history=head["history"],
    )
