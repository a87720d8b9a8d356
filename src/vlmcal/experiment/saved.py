"""A trained learner on disk: its tensors in safetensors, everything else in JSON; kilobytes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vlmcal import __version__
from vlmcal.backbones import load_backbone
from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import BackboneError, SpecError, StoreError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.state_files import SEAL, is_intact, sealed
from vlmcal.learners.base import LEARNERS, ClassContext, Learner
from vlmcal.options import call
from vlmcal.types.precision import Precision

FORMAT: Final = 2
HEAD: Final = "learner.json"
TENSORS: Final = "learner.safetensors"


@dataclass(frozen=True)
class Head:
    """What ``learner.json`` says.

    Attributes:
        format: 2; 1 has no checksum.
        method: Registered name.
        config: Options of the method.
        class_names: K names.
        templates: T zero-shot prompts.
        backbone: Name.
        backbone_fingerprint: Of its weights.
        precision: That of the training.
        test_time: How the run adapted it to its images; empty where it did not.
    """

    format: Literal[1, 2]
    method: str
    config: dict[str, Any]
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    backbone: str
    backbone_fingerprint: str
    precision: Precision = "off"
    test_time: dict[str, Any] = field(default_factory=dict)


def save_learner(learner: Learner, folder: Path, **extra: Any) -> None:
    """Write ``learner.safetensors`` and ``learner.json``, which holds a checksum of both, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous().clone() for k, v in learner.state_dict().items()}
    tensors = save(state)
    head = {
        "format": FORMAT,
        "vlmcal": __version__,
        "method": learner.name,
        "config": asdict(learner.config),
        "class_names": list(learner.classes.class_names),
        "templates": list(learner.classes.templates),
        "backbone": learner.encoder.name,
        "backbone_fingerprint": learner.encoder.fingerprint,
        "precision": learner.encoder.precision,
        **{key: value for key, value in extra.items() if isinstance(value, (str, list, dict))},
    }
    atomic_write(folder / TENSORS, tensors)
    write_json(folder / HEAD, sealed(head, tensors))


def read_head(folder: Path) -> Head:
    """What ``learner.json`` in ``folder`` says, each part of its kind; the checksum is not looked at.

    Raises:
        StoreError: No such file, or something in it that :func:`save_learner` does not write.
    """
    return _head(read_json(folder / HEAD), folder)


def load_learner(folder: Path, encoder: DualEncoder | None = None) -> Learner:
    """Rebuild a learner; the backbone is loaded by its recorded name unless given.

    It predicts in the precision that it was trained in.

    Raises:
        StoreError: Files are missing, damaged, edited, or not of one save.
        BackboneError: The backbone at hand has other weights than the one it was trained on.
    """
    data = read_json(folder / HEAD)
    head = _head(data, folder)
    encoder = encoder or load_backbone(head.backbone)
    if encoder.fingerprint != head.backbone_fingerprint:
        raise BackboneError(
            f'{folder} was trained on backbone "{head.backbone}" with fingerprint '
            f"{head.backbone_fingerprint[:12]}, but the one at hand has {encoder.fingerprint[:12]}: "
            "other weights would give other predictions. Use the original weights"
        )
    try:
        kind = LEARNERS.get(head.method)
        config = call(kind.Config, f'method "{head.method}"', head.config)
        encoder = encoder.with_precision(head.precision)
        learner = kind(ClassContext(encoder, head.class_names, head.templates), config)
    except (SpecError, BackboneError) as error:
        raise _damaged(folder / HEAD, str(error)) from error
    _fill(learner, data, folder)
    learner.eval()
    return learner


def _head(data: Mapping[str, Any], folder: Path) -> Head:
    known = {field.name for field in fields(Head)}
    try:
        head = call(Head, HEAD, {key: value for key, value in data.items() if key in known})
    except SpecError as error:
        raise _damaged(folder / HEAD, str(error)) from error
    if ":" in head.method:
        raise _damaged(folder / HEAD, f'"{head.method}" is no registered method')
    names, templates = head.class_names, head.templates
    if not names or not all(names) or len(set(names)) < len(names):
        raise _damaged(folder / HEAD, f"impossible class_names {list(names)[:5]}")
    if not templates or not all(text.count("{}") == 1 for text in templates):
        raise _damaged(folder / HEAD, f"impossible templates {list(templates)[:5]}")
    return head


def _fill(learner: Learner, data: Mapping[str, Any], folder: Path) -> None:
    path = folder / TENSORS
    try:
        stored = path.read_bytes()
        state = load(stored)
        _require_fitting(learner, state)
        learner.load_state_dict(state)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    old = data["format"] == 1 and SEAL not in data
    if not old and not is_intact(data, stored):
        raise _damaged(folder / HEAD, f"it and {TENSORS} do not match their checksum")


def _require_fitting(learner: Learner, state: Mapping[str, Tensor]) -> None:
    """Refuse others than its own tensors, of another type or not finite; loading refuses other shapes."""
    own = learner.state_dict()
    missing, more = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or more:
        raise ValueError(f"missing tensors {missing[:5]}, unknown tensors {more[:5]}")
    trained = {name for name, _ in learner.named_parameters()}
    for name, tensor in state.items():
        if tensor.dtype != own[name].dtype:
            raise ValueError(f"{name}: expected {own[name].dtype}, got {tensor.dtype}")
        bad = torch.isnan(tensor) if name not in trained else ~torch.isfinite(tensor)
        if bad.any():
            raise ValueError(f"{name}: {int(bad.sum())} numbers are not finite")


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} cannot be loaded ({why}); it was damaged or edited, or is not from the same save as the "
        "file beside it. Remove the run and repeat it"
    )
