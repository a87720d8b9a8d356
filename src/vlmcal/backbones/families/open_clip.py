"""The open_clip layout: ``open_clip_config.json`` beside safetensors, ``.bin`` or a trainer's ``.pt``."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families import key_maps
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.families.image_towers import (
    HEAD,
    build,
    clip_vit,
    image_side,
    modified_resnet,
    timm_head,
    timm_vit,
)
from vlmcal.backbones.families.open_clip_library import UnknownArchitectureError, from_library
from vlmcal.backbones.families.text_towers import bert_text, causal_text, read_config
from vlmcal.backbones.families.tokenizers import bert_tokens, clip_tokens
from vlmcal.backbones.preprocess import from_open_clip
from vlmcal.backbones.tower_encoder import Parts, TowerEncoder, require_tokens
from vlmcal.backbones.towers.text import TextStack
from vlmcal.backbones.towers.vit import VisionTransformer
from vlmcal.backbones.weights import Rules, Weights, fill, renamed
from vlmcal.errors import BackboneError
from vlmcal.io.json_text import parse_json

CONFIG = "open_clip_config.json"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

# Settings that change no feature, and those that are read here; any other that is switched on is refused.
_IDLE_IMAGE = {"patch_dropout", "timm_model_pretrained", "timm_drop", "timm_drop_path", "mlp_ratio"}
_READ_IMAGE = {
    "image_size", "layers", "width", "head_width", "patch_size", "timm_model_name", "timm_pool",
    "timm_proj", "timm_proj_bias", "pool_type", "global_average_pool",
}  # fmt: skip
_IDLE_TEXT = {"hf_model_pretrained", "mlp_ratio", "vocab_size", "width", "layers", "pretrained"}
_READ_TEXT = {
    "context_length", "heads", "hf_model_name", "hf_tokenizer_name", "hf_proj_type", "hf_pooler_type",
    "proj", "pooler_type", "proj_type", "tokenizer_kwargs",
}  # fmt: skip


def recognises(source: Source) -> bool:
    """Whether the configuration of open_clip lies there."""
    return (source.folder / CONFIG).is_file()


@layout(
    "open_clip", "open_clip: ViT, ResNet or timm ViT with causal or BERT text", recognises, order=20
)
def load(source: Source) -> FeatureEncoder:
    """Read a folder (or weight file) in the open_clip layout.

    Raises:
        BackboneError: A setting that is not known here (nor to the library, where it is installed), tensors
            that do not fit, or no tokenizer.
    """
    path = source.folder / CONFIG
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BackboneError(f"{path}: not a readable JSON object ({error})") from error
    model = config.get("model_cfg", config) if isinstance(config, Mapping) else None
    parts = [model.get(k) for k in ("vision_cfg", "text_cfg")] if isinstance(model, Mapping) else []
    if model is None or not parts or not all(isinstance(part, Mapping) for part in parts):
        raise BackboneError(f"{path}: expected model_cfg with vision_cfg and text_cfg")
    weights = source.weights(*FILES)
    try:
        return _own(source, config, model, weights)
    except UnknownArchitectureError as reason:
        return from_library(source, {**config, "model_cfg": dict(model)}, weights, reason)


def _own(
    source: Source, config: Mapping[str, Any], model: Mapping[str, Any], weights: Weights
) -> FeatureEncoder:
    path = source.folder / CONFIG
    vision, text = model["vision_cfg"], model["text_cfg"]
    _refuse_unknown(vision, _READ_IMAGE | _IDLE_IMAGE, f"{path}: vision_cfg")
    _refuse_unknown(text, _READ_TEXT | _IDLE_TEXT, f"{path}: text_cfg")
    act = "quick_gelu" if model.get("quick_gelu") else "gelu"
    image_rules, image = _image(weights, vision, act, source.name)
    text_rules, tower = _text(source, weights, text, act)
    size = image_side(image, source.name)
    length = int(text.get("context_length", 77))
    _refuse_other_sizes(path, vision.get("image_size"), size, length, len(tower.position_embedding))
    if "hf_model_name" in text:
        tokens = bert_tokens(source, text.get("hf_tokenizer_name") or text["hf_model_name"])
    else:
        tokens = clip_tokens(source)
    parts = Parts(
        family="open_clip",
        image=image,
        text=tower,
        tokens=tokens,
        preprocess=from_open_clip(config.get("preprocess_cfg") or {}, size, str(path)),
        logit_scale=math.exp(float(weights["logit_scale"])),
        logit_bias=float(weights["logit_bias"]) if "logit_bias" in weights else None,
        context_length=length,
        architecture={
            "act": act,
            "vision": dict(vision),
            "text": dict(text),
            **_unwritten(image, vision),
        },
    )
    if parts.preprocess.size != size:
        raise BackboneError(
            f"{source.name}: images are made {parts.preprocess.size} pixels wide but the tower takes {size}; "
            f"correct preprocess_cfg in {path}"
        )
    return assemble(source, parts, renamed(weights, [*image_rules, *text_rules, *key_maps.SCALARS]))


def _refuse_other_sizes(path: Path, stated: Any, size: int, length: int, positions: int) -> None:
    """Refuse a configuration that speaks of other sizes than the tensors have."""
    sides = set(stated) if isinstance(stated, list) else {stated}
    if sides - {None, size}:
        raise BackboneError(
            f"{path}: image_size is {stated}, but the weights are for images of {size} pixels; the files "
            "belong to different models"
        )
    if length > positions:
        raise BackboneError(
            f"{path}: context_length is {length}, but the weights have {positions} text positions; the files "
            "belong to different models"
        )


def assemble(source: Source, parts: Parts, weights: Weights) -> TowerEncoder:
    """Fill the towers and make the encoder."""
    dtype = source.type_for(weights)
    fill(nn.ModuleDict({"image": parts.image, "text": parts.text}), weights, source.name)
    if source.tokenizer:
        require_tokens(parts, source.name, len(parts.text.state_dict()["token_embedding.weight"]))
    projection = parts.text.get_submodule("projection")
    sizes = [p.shape[0] for n, p in projection.named_parameters() if n.endswith("weight")]
    dimension = sizes[-1] if sizes else parts.text.width
    return TowerEncoder(parts, source.name, int(dimension), device=source.device, dtype=dtype)


def _refuse_unknown(settings: Mapping[str, Any], known: set[str], where: str) -> None:
    switched = sorted(
        k for k, v in settings.items() if k not in known and v not in (None, False, 0, "", {})
    )
    if switched:
        raise UnknownArchitectureError(
            f"{where}: {', '.join(switched)} not known here, and ignoring it would change the features; "
            "supported: ViT and ModifiedResNet image towers, timm ViTs, causal and BERT text towers"
        )


def _image(
    weights: Weights, vision: Mapping[str, Any], act: str, name: str
) -> tuple[Rules, nn.Module]:
    head = int(vision.get("head_width") or HEAD)
    if "visual.trunk.patch_embed.proj.weight" in weights:
        _refuse_other_trunks(weights, str(vision.get("timm_model_name")), name)
        made: dict[str, Any] = {
            "pool": _timm_pool(vision),
            "model": str(vision.get("timm_model_name") or ""),
        }
        tower = build(
            lambda: timm_vit(weights, name=name, projection=timm_head(weights, name), **made)
        )
        return key_maps.TIMM_VIT, tower
    if vision.get("timm_model_name"):
        raise UnknownArchitectureError(
            f'{name}: the image tower "{vision["timm_model_name"]}" is no vision transformer of timm; only '
            "those are supported"
        )
    if "visual.attnpool.positional_embedding" in weights:
        return key_maps.CLIP_RESNET, build(lambda: modified_resnet(weights, head=head, name=name))
    pool = "avg" if vision.get("global_average_pool") else str(vision.get("pool_type") or "tok")
    if pool not in {"tok", "avg"}:
        raise UnknownArchitectureError(
            f'{name}: image pooling "{pool}" is not known here; valid: tok, avg'
        )
    return key_maps.CLIP_VIT, build(
        lambda: clip_vit(weights, act=act, head=head, pool=pool, name=name)
    )


def _refuse_other_trunks(weights: Weights, model: str, name: str) -> None:
    """Refuse trunks with parts that a plain vision transformer has not (norms before it, scales, pools)."""
    known = renamed(
        {k: v for k, v in weights.items() if k.startswith("visual.trunk.")}, key_maps.TIMM_VIT
    )
    others = sorted(key for key in known if key.startswith("visual.trunk."))
    if others:
        raise UnknownArchitectureError(
            f'{name}: the image tower "{model}" of timm is no plain vision transformer (it has {others[0]})'
        )


def _timm_pool(vision: Mapping[str, Any]) -> str:
    """The pool of a timm trunk; the library takes the mean where none is named."""
    return str(vision.get("timm_pool", "avg") or "")


def _unwritten(image: nn.Module, vision: Mapping[str, Any]) -> dict[str, Any]:
    """What decides features and stands neither in the configuration nor in the tensors."""
    if not vision.get("timm_model_name") or not isinstance(image, VisionTransformer):
        return {}
    found: dict[str, Any] = {} if "timm_pool" in vision else {"pool": _timm_pool(vision)}
    return found | ({} if image.n_heads * HEAD == image.width else {"heads": image.n_heads})


def _text(
    source: Source, weights: Weights, text: Mapping[str, Any], act: str
) -> tuple[Rules, TextStack]:
    if "hf_model_name" in text:
        folders = [source.folder, *source.companions]
        flat = str(text["hf_model_name"]).replace("/", "--")
        config = read_config([*(f / flat for f in folders), *folders], "bert")
        pooler = str(text.get("hf_pooler_type") or text.get("pooler_type") or "mean_pooler")
        tower = build(lambda: bert_text(weights, pooler, config, source.name))
        rules: list[tuple[str, str]] = [
            *key_maps.bert(r"text\.transformer", "text", pooler=pooler == "cls_pooler"),
            (r"text\.proj\.(.+)", r"text.projection.\1"),
        ]
        return rules, tower
    prefix = "text." if "text.token_embedding.weight" in weights else ""
    n_heads = int(text.get("heads") or 8)
    made = build(lambda: causal_text(weights, prefix, act=act, n_heads=n_heads, name=source.name))
    return key_maps.CAUSAL_TEXT, made
