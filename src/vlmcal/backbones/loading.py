"""From a backbone's name to a folder of files, and from the folder to a model."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.hub import PICKLED, SAFETENSORS, fetch, hub_errors, matching
from vlmcal.errors import BackboneError, nearest

EMBEDDED = {"pocket": Path(__file__).parent / "pocket"}
FAMILIES = {"clip": "vlmcal.backbones.hf_clip:HFClip"}

_SETTINGS_FILES = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
]


def load_backbone(
    name: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    offline: bool | None = None,
) -> DualEncoder:
    """Load a frozen dual encoder.

    Args:
        name: An embedded model ("pocket"), a folder in the transformers layout ("./dir", "/abs/dir"),
            or a hub id ("openai/clip-vit-base-patch16", with or without "hf-hub:").
        device: Where the weights go.
        dtype: Type of the weights; float32 by default, whatever type they are stored in.
        offline: True never touches the network; None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.

    Raises:
        BackboneError: Files are missing (names them and the command that downloads them), the hub
            cannot be reached, the family is not supported, or the name is unknown.

    Example:
        >>> encoder = load_backbone("pocket")
        >>> encoder.embed_dim, encoder.text_layers
        (64, 10)
    """
    folder, fix = _locate(name, _is_offline() if offline is None else offline)
    _require_files(name, folder, fix)
    encoder_class = _family(name, folder)
    encoder: DualEncoder = encoder_class.load(
        folder, name, device=device, dtype=torch.float32 if dtype is None else dtype
    )
    return encoder


def _is_offline() -> bool:
    values = (os.environ.get(key, "") for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.strip().upper() in {"1", "ON", "YES", "TRUE"} for value in values)


def _locate(name: str, offline: bool) -> tuple[Path, str]:
    """The folder of files, and what to do when one is missing."""
    if name in EMBEDDED:
        return EMBEDDED[name], "reinstall vlmcal: its package data is incomplete"
    path = Path(name).expanduser()
    if path.is_dir():
        return path, f"copy it into {path}"
    if name.startswith((".", "/", "~")) or path.is_absolute():
        raise BackboneError(
            f'backbone "{name}": there is no folder {path.absolute()}; expected a folder with '
            "config.json, weights and tokenizer files"
        )
    repo = name.removeprefix("hf-hub:")
    if repo.count("/") != 1:
        raise BackboneError(
            f'unknown backbone "{name}"; {nearest(name, EMBEDDED)} Other choices: a folder ("./dir") '
            'or a hub id ("openai/clip-vit-base-patch16")'
        )
    return _from_hub(name, repo, offline), f"download it: hf download {repo}"


def _from_hub(name: str, repo: str, offline: bool) -> Path:
    def check(folder: Path) -> None:
        if (folder / "config.json").is_file():
            _family(name, folder)

    why = (
        "offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or offline=True)"
        if offline
        else "the hub cannot be reached"
    )
    with hub_errors(
        f'backbone "{name}"',
        repo,
        spelling=f", embedded models are: {', '.join(EMBEDDED)}",
        why=why,
        instead='pass a folder that holds it ("./dir"), or use the embedded model "pocket"',
    ):
        return fetch(repo, _SETTINGS_FILES, check, offline=offline)


def _require_files(name: str, folder: Path, fix: str) -> None:
    missing = []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not matching(folder, SAFETENSORS + PICKLED):
        missing.append("model.safetensors (or pytorch_model.bin)")
    if not (folder / "tokenizer.json").is_file():
        missing += [f for f in ("vocab.json", "merges.txt") if not (folder / f).is_file()]
    if missing:
        hint = ""
        if (folder / "open_clip_config.json").is_file():
            hint = "; it is in the open_clip layout, convert it to the transformers layout"
        raise BackboneError(f'backbone "{name}": {folder} lacks {", ".join(missing)}{hint}; {fix}')


def _family(name: str, folder: Path) -> Any:
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise BackboneError(f"{path}: not a readable JSON object ({error})") from error
    if kind not in FAMILIES:
        raise BackboneError(
            f'backbone "{name}" is of type "{kind}"; supported families: {", ".join(FAMILIES)}'
        )
    module, _, attribute = FAMILIES[kind].partition(":")
    loader: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return loader
