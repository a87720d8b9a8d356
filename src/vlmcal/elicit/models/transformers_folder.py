"""From the name of an image-text chat model to its files, and from these to model and processor."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from vlmcal.backbones.hub import PICKLED, SAFETENSORS, fetch, hub_errors, matching
from vlmcal.backbones.quiet import quiet
from vlmcal.errors import BackboneError, require_known
from vlmcal.hashing import digest, digest_file

_SETTINGS = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "spiece.model",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def model_folder(name: str, revision: str | None = None) -> Path:
    """The folder of a local model, or of a model of the hub in the hub's own cache.

    What is not in the cache is downloaded, unless HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set.

    Args:
        name: A folder in the transformers layout, or a hub id ("google/medgemma-4b-it").
        revision: Branch, tag or commit on the hub; not for a folder.

    Raises:
        BackboneError: There is no such folder, no such model or no network, or files are missing, or the
            model does not answer about images.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise BackboneError(
                f'model "{name}" is a folder, which has no revision "{revision}"; leave it out'
            )
        require_image_text_model(name, folder)
    elif name.startswith((".", "/", "~")) or folder.is_absolute() or name.count("/") != 1:
        raise BackboneError(
            f'model "{name}": expected a folder with config.json, weights and processor files, or a hub id '
            f'such as "google/medgemma-4b-it"; there is no folder {folder.absolute()}'
        )
    else:
        folder = _from_hub(name, revision)
    if not matching(folder, SAFETENSORS + PICKLED):
        raise BackboneError(
            f'model "{name}": {folder} lacks model.safetensors (or pytorch_model.bin); copy it there'
        )
    return folder


def require_image_text_model(name: str, folder: Path) -> None:
    """Check that config.json describes a model that writes text about images and text.

    Raises:
        BackboneError: It does not, or it cannot be read; tells what was found.
    """
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f'model "{name}": {folder} lacks config.json; expected a folder in the transformers layout'
        )
    try:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library raises many types for damaged or unknown settings
        raise BackboneError(
            f'model "{name}": cannot read {folder / "config.json"} ({type(error).__name__}: '
            f"{_first_line(error)}); models that bring their own code are not run here, serve them "
            "with a server that trusts it and give its URL"
        ) from error
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise BackboneError(
            f'model "{name}" is of type "{config.model_type}", which takes no images; expected an '
            "image-text model such as llava, gemma3, idefics3 or mllama"
        )


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over weights, settings, tokenizer and chat template, by content: not by place or date.

    Files beside them do not count, nor do pickled weights where there are safetensors.
    """
    weights = matching(folder, SAFETENSORS) or matching(folder, PICKLED)
    return digest({path.name: digest_file(path) for path in weights + matching(folder, _SETTINGS)})


def load_model(
    name: str, folder: Path, *, device: torch.device, dtype: str | torch.dtype | None
) -> Any:
    """The model, frozen and in evaluation mode, without attention to its generation settings.

    Args:
        name: What the user called it.
        folder: As :func:`model_folder` gives it.
        device: Where it goes.
        dtype: Of its weights; None is float32 on the CPU and the stored type elsewhere.

    Raises:
        BackboneError: The weights are damaged or do not fit the configuration or the device.
    """
    stored = "auto" if device.type != "cpu" else torch.float32
    if isinstance(dtype, str):
        require_known(dtype, _DTYPES, "dtype: unknown type", BackboneError)
    kind = _DTYPES[dtype] if isinstance(dtype, str) else dtype or stored
    try:
        with quiet():
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=kind, local_files_only=True, output_loading_info=True
            )
        model = model.eval().requires_grad_(False).to(device)
    except Exception as error:  # the library raises many types for damaged files
        raise BackboneError(
            f'model "{name}": cannot load {folder} on {device} ({type(error).__name__}: {error})'
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackboneError(
            f'model "{name}": the weights in {folder} lack {len(missing)} tensors, first {missing[0]}; '
            "they belong to another architecture or are incomplete"
        )
    return model


def load_processor(name: str, folder: Path) -> Any:
    """Tokenizer, image processor and chat template.

    Raises:
        BackboneError: One of them is missing or damaged, or needs a package that is not installed.
    """
    try:
        with quiet():
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            if hasattr(processor, "image_processor"):
                # Never the variant on torchvision, so that all machines see the same pixels.
                processor.image_processor = AutoImageProcessor.from_pretrained(
                    folder, backend="pil", local_files_only=True
                )
    except ImportError as error:
        raise BackboneError(
            f'model "{name}": its processor needs a package that is not installed ({_first_line(error)}), '
            "most often torchvision for videos; install it in the version that fits the installed torch, "
            "or let a server such as vLLM run this model and give its URL"
        ) from error
    except Exception as error:  # the library raises many types for damaged files
        raise BackboneError(
            f'model "{name}": cannot read the processor in {folder} ({type(error).__name__}: '
            f"{_first_line(error)})"
        ) from error
    if not hasattr(processor, "image_processor"):
        raise BackboneError(
            f'model "{name}": {folder} has no image processor; copy preprocessor_config.json or '
            "processor_config.json into it"
        )
    if processor.chat_template is None:
        raise BackboneError(
            f'model "{name}" has no chat template, so it is no chat model or a file is missing; put its '
            f"template into {folder / 'chat_template.jinja'}"
        )
    return processor


def _from_hub(repo: str, revision: str | None) -> Path:
    with hub_errors(
        f'model "{repo}"',
        repo,
        revision=revision,
        why="the hub cannot be reached or offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)",
        instead='give a folder that holds it ("hf:./dir")',
    ):
        return fetch(repo, _SETTINGS, partial(require_image_text_model, repo), revision=revision)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
