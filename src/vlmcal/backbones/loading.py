"""From a backbone's name to a folder of files, and from the folder to a model."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from vlmcal.backbones.base import DualEncoder
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
_SAFETENSORS = ["model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
_PICKLED = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]


def load(
    name: str, *, device: str | torch.device, dtype: torch.dtype | None, offline: bool | None
) -> DualEncoder:
    """See :func:`vlmcal.backbones.load_backbone`."""
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
    def fetch(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(repo_id=repo, allow_patterns=patterns, local_files_only=offline)
        )

    try:
        folder = fetch(_SETTINGS_FILES)
        if (folder / "config.json").is_file():
            _family(name, folder)  # before a large download
        if not _matches(fetch(_SAFETENSORS), _SAFETENSORS):
            fetch(_PICKLED)
        return folder
    except BackboneError:
        raise
    except HFValidationError as error:
        raise BackboneError(f'"{name}" is not a valid hub id ({error})') from error
    except GatedRepoError as error:
        raise BackboneError(
            f'backbone "{name}" asks for access on the hub; accept its terms there, then: '
            f"hf auth login && hf download {repo}"
        ) from error
    except RepositoryNotFoundError as error:
        raise BackboneError(
            f'the hub has no public model "{repo}"; check the spelling, embedded models are: '
            f"{', '.join(EMBEDDED)}. A private model needs: hf auth login"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        why = (
            "offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or offline=True)"
            if offline
            else "the hub cannot be reached"
        )
        raise BackboneError(
            f'backbone "{name}" is not on this machine and {why}; where there is network, run:\n'
            f"  hf download {repo}\n"
            'or pass a folder that holds it ("./dir"), or use the embedded model "pocket"'
        ) from error


def _matches(folder: Path, patterns: list[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def _require_files(name: str, folder: Path, fix: str) -> None:
    missing = []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not _matches(folder, _SAFETENSORS + _PICKLED):
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
