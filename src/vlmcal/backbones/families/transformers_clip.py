"""CLIP in the transformers layout, and what the layouts of that library share."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.hub import PICKLED, SAFETENSORS, matching
from vlmcal.backbones.preprocess import Preprocess, from_settings
from vlmcal.backbones.weights import read_folder
from vlmcal.errors import BackboneError
from vlmcal.io.json_text import parse_json

_OWN = ("model.safetensors", "pytorch_model.bin")  # a folder is meant where one of these is named


def model_type(source: Source) -> str | None:
    """``model_type`` of a folder's ``config.json``, or None without one.

    Raises:
        BackboneError: The file cannot be read.
    """
    path = source.folder / "config.json"
    own = source.path is not None and (source.path.is_dir() or source.path.name in _OWN)
    if not own or not path.is_file():
        return None
    try:
        kind = parse_json(path.read_text(encoding="utf-8")).get("model_type")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise BackboneError(f"{path}: not a readable JSON object ({error})") from error
    return None if kind is None else str(kind)


def shards(source: Source) -> list[str]:
    """Names of the weight files: safetensors where there are any, else pickled ones.

    Raises:
        BackboneError: There are none.
    """
    if source.path is not None and source.path.is_file():
        return [source.path.name]
    for patterns in (SAFETENSORS, PICKLED):
        found = [p.name for p in matching(source.folder, patterns) if p.suffix != ".json"]
        if found:
            return found
    raise BackboneError(
        f'backbone "{source.name}": {source.folder} lacks model.safetensors (or '
        f"pytorch_model.bin); {source.fix}"
    )


def read_preprocess(folder: Path, image_size: int) -> Preprocess:
    """The recipe of ``preprocessor_config.json`` (or ``processor_config.json``); CLIP's with a warning."""
    for name, part in (
        ("preprocessor_config.json", None),
        ("processor_config.json", "image_processor"),
    ):
        path = folder / name
        if path.is_file():
            settings = parse_json(path.read_text(encoding="utf-8"))
            settings = settings if part is None else settings.get(part)
            if isinstance(settings, Mapping):
                return from_settings(settings, str(path))
    warnings.warn(
        f"{folder} has no preprocessor_config.json; using the original CLIP mean, deviation and "
        f"bicubic resizing to {image_size} pixels",
        stacklevel=3,
    )
    return Preprocess(size=image_size, resize=image_size)


def recognises(source: Source) -> bool:
    """Whether ``config.json`` says CLIP, and its weights are not only in open_clip's files."""
    foreign = (source.folder / "open_clip_config.json").is_file()
    weights = matching(source.folder, SAFETENSORS + PICKLED)
    return model_type(source) == "clip" and (bool(weights) or not foreign)


@layout("clip", "CLIP in the transformers layout", recognises)
def load(source: Source) -> FeatureEncoder:
    """See :meth:`vlmcal.backbones.hf_clip.HFClip.load`."""
    from vlmcal.backbones.hf_clip import HFClip

    dtype = source.dtype
    if source.embedded:
        return HFClip.load_lean(source.folder, source.name, device=source.device, dtype=dtype)
    if source.keep_half:
        dtype = source.type_for(read_folder(source.folder, shards(source), source.name))
    return HFClip.load(source.folder, source.name, device=source.device, dtype=dtype)
