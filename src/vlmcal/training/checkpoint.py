"""Checkpoints of a training run: one safetensors file, replaced atomically, no pickle."""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vlmcal.io.atomic import atomic_write
from vlmcal.io.state_files import SEAL, is_intact, sealed

FORMAT: Final = 2
_PARTS: Final = ("learner", "initial", "memory")
_HEAD: Final = {"epoch", "history", "param_groups", "optimiser_scalars"}  # all of format 1


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
        run: Digest of what is trained, on what and how; "" where that is not known.
    """

    epoch: int
    learner: dict[str, Tensor]
    optimiser: dict[str, Any]
    initial: dict[str, Tensor]
    memory: dict[str, Tensor]
    history: list[dict[str, Any]]
    run: str = ""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint; a crash leaves either the old file or the new one, never half of one."""
    tensors: dict[str, Tensor] = {}
    for part in _PARTS:
        for name, tensor in getattr(checkpoint, part).items():
            tensors[f"{part}/{name}"] = tensor
    plain: dict[str, dict[str, Any]] = {}
    for index, state in checkpoint.optimiser["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    head = {
        "format": FORMAT,
        "run": checkpoint.run,
        "epoch": checkpoint.epoch,
        "history": checkpoint.history,
        "param_groups": checkpoint.optimiser["param_groups"],
        "optimiser_scalars": plain,
        "tensors": _described(copies),
    }
    text = json.dumps(sealed(head, *_contents(copies)))
    atomic_write(path, save(copies, metadata={"vlmcal": text}))


def load_checkpoint(path: Path, run: str = "") -> Checkpoint | None:
    """The checkpoint at ``path``; None (with a warning) where it cannot be gone on from.

    Args:
        path: The file.
        run: Digest of what is to be trained; a checkpoint of something else is left aside.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            head = json.loads(stream.metadata()["vlmcal"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        _require_sound(head, tensors)
        checkpoint = _checkpoint(head, tensors)
        if run and checkpoint.run and checkpoint.run != run:
            raise ValueError("it belongs to another run")
    except (
        SafetensorError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
        OSError,
    ) as error:
        warnings.warn(
            f"checkpoint {path} cannot be read ({error}); training starts anew", stacklevel=2
        )
        return None
    return checkpoint


def _require_sound(head: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is not as it was written.

    Raises:
        ValueError: Says what is wrong.
    """
    keys, more = set(head), {"format", "run", "tensors", SEAL}
    if keys not in (_HEAD, _HEAD | more):
        raise ValueError(f"expected {sorted(_HEAD | more)}, got {sorted(keys)}")
    if keys != _HEAD:
        if type(head["format"]) is not int or head["format"] != FORMAT:
            raise ValueError(f"format {head['format']!r}, this version reads {FORMAT}")
        found = _described(tensors)
        if head["tensors"] != found:
            raise ValueError(f"other tensors: {_first_difference(head['tensors'], found)}")
        if not is_intact(head, *_contents(tensors)):
            raise ValueError("it does not match its checksum")
    epoch, history = head["epoch"], head["history"]
    if type(epoch) is not int or epoch < 1 or not isinstance(history, list):
        raise ValueError(f"impossible epoch {epoch!r}")
    if [record["epoch"] for record in history] != list(range(epoch)):
        raise ValueError(f"expected the history of {epoch} epochs, got {len(history)}")
    for name, tensor in tensors.items():
        if name.startswith("learner/") and torch.isnan(tensor).any():
            raise ValueError(f"{name} holds numbers that are not finite")


def _checkpoint(head: dict[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
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
        run=head.get("run", ""),
    )


def _described(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: [str(t.dtype), list(t.shape)] for name, t in sorted(tensors.items())}


def _contents(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    for _, tensor in sorted(tensors.items()):
        yield tensor.reshape(-1).view(torch.uint8).numpy().data


def _first_difference(told: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    names = sorted(told.keys() | found.keys())
    name = next(name for name in names if told.get(name) != found.get(name))
    return f"{name} should be {told.get(name, 'absent')}, is {found.get(name, 'absent')}"
