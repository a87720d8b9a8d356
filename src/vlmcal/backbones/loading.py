"""From a backbone's name to its files, and from the files to a model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.families import open_clip
from vlmcal.backbones.families.base import BACKBONES, WEIGHT_SUFFIXES, Layout, Source
from vlmcal.backbones.families.transformers_clip import model_type
from vlmcal.backbones.hub import PICKLED, SAFETENSORS, fetch, hub_errors, matching
from vlmcal.backbones.model_cards import card_of, model_cards
from vlmcal.backbones.variants import applied, split_variant
from vlmcal.errors import BackboneError, nearest

GPUS = ("cuda", "mps")
EMBEDDED = {"pocket": Path(__file__).parent / "pocket"}

_SETTINGS_FILES = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    open_clip.CONFIG,
]


def load_backbone(
    name: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    offline: bool | None = None,
    companions: Sequence[Path] = (),
    tokenizer: bool = True,
) -> DualEncoder:
    """Load a frozen dual encoder.

    Args:
        name: An embedded model ("pocket"), a nickname ("biomedclip", see `vlmcal list backbones`), a hub id
            ("openai/clip-vit-base-patch16", with or without "hf-hub:"), a folder or weight file in any of
            the known layouts ("./dir", "/abs/RN50.pt"), or an encoder of one's own ("package.module:Name").
            Options stand behind it in parentheses ("medclip(pad_to=25)"; see ``variants.Variant``).
        device: Where the weights go.
        dtype: Type of the weights. By default float32, whatever type they are stored in, except that half
            precision stays half on a GPU ("cuda", "mps") unless the options say ``weights=float32``. What is
            learned is float32 in any case.
        offline: True never touches the network; None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.
        companions: Folders with files that a model takes from other repositories (tokenizers).
        tokenizer: False loads without a tokenizer: texts then enter as token ids only.

    Raises:
        BackboneError: Files are missing (names them and the command that downloads them), the hub
            cannot be reached, the family is not supported, or the name is unknown.

    Example:
        >>> encoder = load_backbone("pocket")
        >>> encoder.embed_dim, encoder.text_layers
        (64, 10)
    """
    never = _is_offline() if offline is None else offline
    own, variant = split_variant(name)
    path, fix = _locate(own, never)
    card = card_of(own)
    places = (card.place,) if card is not None and card.place.is_dir() else ()
    source = Source(
        name=name,
        path=path,
        device=device,
        dtype=torch.float32 if dtype is None else dtype,
        keep_half=dtype is None and variant.weights == "stored" and on_gpu(device),
        companions=(*companions, *places),
        tokenizer=tokenizer,
        offline=never,
        fix=fix,
        embedded=own in EMBEDDED,
    )
    loader = BACKBONES.get(own) if path is None else _layout(source)
    # What gives features only is no DualEncoder; those who need more ask require_tokens.
    return cast(DualEncoder, applied(loader.load(source), variant))


def on_gpu(device: str | torch.device) -> bool:
    """Whether half precision is computed quickly there.

    Example:
        >>> on_gpu("cuda:0"), on_gpu("mps"), on_gpu("cpu")
        (True, True, False)
    """
    return torch.device(device).type in GPUS


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a backbone, without loading or downloading anything.

    Raises:
        BackboneError: There is no such folder, card or registered encoder, and a hub id it is not either.
        SpecError: An unknown option in parentheses, or an own encoder that may not be imported.

    Example:
        >>> check_name("pocket"), check_name("openai/clip-vit-base-patch16")
        (None, None)
    """
    own, _ = split_variant(name)
    if own in EMBEDDED or Path(own).expanduser().exists() or card_of(own) is not None:
        return
    if _is_path(own):
        raise _no_folder(own)
    if _is_registered(own):
        BACKBONES.get(own)
    else:
        _hub_id(own)


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or Path(name).is_absolute()


def _no_folder(name: str) -> BackboneError:
    return BackboneError(
        f'backbone "{name}": there is no folder {Path(name).expanduser().absolute()}; expected a folder '
        "with config.json (or open_clip_config.json), weights and tokenizer files, or a weight file"
    )


def _is_registered(name: str) -> bool:
    """Whether it is an encoder of one's own by its place, or one that a plug-in registered."""
    if ":" in name and not name.startswith("hf-hub:"):
        return True
    return name in BACKBONES and not isinstance(BACKBONES.get(name), Layout)


def _hub_id(name: str) -> str:
    repo = name.removeprefix("hf-hub:")
    if repo.count("/") != 1:
        raise BackboneError(
            f'unknown backbone "{name}"; {nearest(name, [*EMBEDDED, *model_cards()])} Other choices: a '
            'folder ("./dir") or a hub id ("openai/clip-vit-base-patch16")'
        )
    return repo


def _is_offline() -> bool:
    values = (os.environ.get(key, "") for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.strip().upper() in {"1", "ON", "YES", "TRUE"} for value in values)


def layouts() -> list[tuple[str, Layout]]:
    """Names and layouts of files, in the order in which they are asked."""
    found = [(name, entry) for name, entry in BACKBONES.items() if isinstance(entry, Layout)]
    return sorted(found, key=lambda pair: pair[1].order)


def _locate(name: str, offline: bool) -> tuple[Path | None, str]:
    """The folder or file, and what to do when one is missing; None for a registered encoder."""
    if name in EMBEDDED:
        return EMBEDDED[name], "reinstall vlmcal: its package data is incomplete"
    path = Path(name).expanduser()
    if path.is_dir():
        return path, f"copy it into {path}"
    if path.is_file():
        return path, f"copy it into {path.parent}"
    if _is_path(name):
        raise _no_folder(name)
    card = card_of(name)
    if card is not None:
        if card.hub is None or _has_weights(card.place):
            if not card.place.is_dir():
                raise BackboneError(
                    f'backbone "{name}" is not on the hub; put its files into {card.place}, or anywhere and '
                    f"name the folder:\n{card.command}"
                )
            return card.place, f"get it:\n{card.command}"
        return _from_hub(name, card.hub, offline), f"get it:\n{card.command}"
    if _is_registered(name):
        return None, ""
    repo = _hub_id(name)
    return _from_hub(name, repo, offline), f"download it: hf download {repo}"


def _has_weights(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix in WEIGHT_SUFFIXES for path in folder.iterdir())


def _from_hub(name: str, repo: str, offline: bool) -> Path:
    def check(folder: Path) -> None:
        _refuse_type(Source(name, folder))

    def weights(folder: Path) -> Sequence[Sequence[str]]:
        own = [[file] for file in open_clip.FILES]
        if not open_clip.recognises(Source(name, folder)):
            return [SAFETENSORS, PICKLED]
        return [SAFETENSORS, PICKLED, *own] if (folder / "config.json").is_file() else own

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
        return fetch(repo, _SETTINGS_FILES, check, weights=weights, offline=offline)


def _layout(source: Source) -> Layout:
    """The layout that recognises the files.

    Raises:
        BackboneError: None does; says what is missing or what was found.
    """
    found = next((layout for _, layout in layouts() if layout.recognises(source)), None)
    if found is None:
        _refuse_type(source)
    whole = source.path is not None and source.path.is_dir()
    if found is None or (whole and found is BACKBONES.get("clip")):
        _require_files(source, complete=found is not None)
    assert found is not None
    return found


def _refuse_type(source: Source) -> None:
    known = ("clip", "siglip", "siglip2")
    kind = model_type(source)
    if kind is not None and kind not in known and not open_clip.recognises(source):
        raise BackboneError(
            f'backbone "{source.name}" is of type "{kind}"; supported families: {", ".join(known)}, and the '
            "layouts of open_clip, OpenAI, MedCLIP and CONCH"
        )


def _require_files(source: Source, *, complete: bool) -> None:
    folder, missing = source.folder, []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not matching(folder, SAFETENSORS + PICKLED):
        missing.append("model.safetensors (or pytorch_model.bin)")
    if not (folder / "tokenizer.json").is_file():
        missing += [f for f in ("vocab.json", "merges.txt") if not (folder / f).is_file()]
    if missing:
        raise BackboneError(
            f'backbone "{source.name}": {folder} lacks {", ".join(missing)}; {source.fix}'
        )
    if not complete:
        raise BackboneError(
            f'backbone "{source.name}": the files in {folder} are of no layout known here '
            f"({', '.join(name for name, _ in layouts())})"
        )
