"""SigLIP and SigLIP2 of fixed resolution, in the transformers layout."""

import math
from typing import Any

from torch import nn

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families import key_maps
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.families.image_towers import build
from vlmcal.backbones.families.open_clip import assemble
from vlmcal.backbones.families.transformers_clip import model_type, read_preprocess, shards
from vlmcal.backbones.text_tokens import read_siglip_tokens
from vlmcal.backbones.tower_encoder import Parts
from vlmcal.backbones.towers.text import LastText
from vlmcal.backbones.towers.vit import Patches, ProbePool, VisionTransformer
from vlmcal.backbones.weights import need, read_folder, renamed
from vlmcal.errors import BackboneError
from vlmcal.io.json_text import parse_json


def recognises(source: Source) -> bool:
    """Whether ``config.json`` says SigLIP."""
    return model_type(source) in {"siglip", "siglip2"}


@layout(
    "siglip", "SigLIP and SigLIP2 of fixed resolution (transformers layout)", recognises, order=10
)
def load(source: Source) -> FeatureEncoder:
    """Read a folder with ``config.json``, weights, tokenizer and image settings.

    Raises:
        BackboneError: Variable resolution, tensors that do not fit, or missing files.
    """
    path = source.folder / "config.json"
    config = parse_json(path.read_text(encoding="utf-8"))
    if config["model_type"] != "siglip":
        raise BackboneError(
            f"{source.name}: SigLIP2 of variable resolution (naflex) is not supported; use one of fixed "
            "resolution, such as google/siglip2-base-patch16-224"
        )
    vision: dict[str, Any] = {**_VISION, **config.get("vision_config", {})}
    text: dict[str, Any] = {**_TEXT, **config.get("text_config", {})}
    _refuse_misfits(source.name, vision, text)
    weights = read_folder(source.folder, shards(source), source.name)
    out = need(weights, "text_model.head.weight", source.name).shape[0]
    length, width = need(
        weights, "text_model.embeddings.position_embedding.weight", source.name
    ).shape
    tokens = read_siglip_tokens(source.folder) or (
        f"{source.folder} holds no tokenizer; copy spiece.model or tokenizer.json into it"
    )
    parts = Parts(
        family="siglip",
        image=build(lambda: _image(vision)),
        text=build(
            lambda: LastText(
                vocabulary=text["vocab_size"],
                length=length,
                width=width,
                hidden=text["intermediate_size"],
                n_layers=text["num_hidden_layers"],
                n_heads=text["num_attention_heads"],
                act=text["hidden_act"],
                eps=text["layer_norm_eps"],
                projection=nn.Linear(width, out),
            )
        ),
        tokens=tokens,
        preprocess=read_preprocess(source.folder, int(vision["image_size"])),
        logit_scale=math.exp(float(need(weights, "logit_scale", source.name))),
        logit_bias=float(need(weights, "logit_bias", source.name)),
        context_length=length,
        architecture={"vision": _ends(vision), "text": _ends(text)},
    )
    if parts.preprocess.size != vision["image_size"]:
        raise BackboneError(
            f"{source.name}: images are made {parts.preprocess.size} pixels wide but the tower takes "
            f"{vision['image_size']}; correct preprocessor_config.json"
        )
    return assemble(source, parts, renamed(weights, [*key_maps.SIGLIP, *key_maps.SCALARS]))


def _refuse_misfits(name: str, vision: dict[str, Any], text: dict[str, Any]) -> None:
    for part, settings in (("vision_config", vision), ("text_config", text)):
        width, heads = settings["hidden_size"], settings["num_attention_heads"]
        if width % heads:
            raise BackboneError(f"{name}: {part}: {heads} heads do not divide a width of {width}")
    if not vision.get("vision_use_head", True):
        raise BackboneError(
            f"{name}: vision_config: a tower without its pooling head (vision_use_head) gives no features of "
            "whole images"
        )


# What the library assumes where a configuration is silent.
_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip
_TEXT = {
    "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip


def _ends(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in ("num_attention_heads", "hidden_act", "layer_norm_eps")}


def _image(vision: dict[str, Any]) -> VisionTransformer:
    width, patch = vision["hidden_size"], vision["patch_size"]
    shape = {
        "width": width,
        "hidden": vision["intermediate_size"],
        "n_heads": vision["num_attention_heads"],
        "act": vision["hidden_act"],
        "eps": vision["layer_norm_eps"],
    }
    rows = (vision["image_size"] // patch) ** 2
    return VisionTransformer(
        Patches(width, patch, rows, bias=True, class_token=False),
        n_layers=vision["num_hidden_layers"],
        pre_norm=False,
        pool=ProbePool(**shape),
        projection=nn.Identity(),
        **shape,
    )
