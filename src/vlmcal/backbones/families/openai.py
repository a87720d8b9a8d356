"""OpenAI's own CLIP files: TorchScript archives (read, never run) and plain state dicts."""

import math
import warnings

import torch

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families import key_maps
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.families.image_towers import (
    HEAD,
    build,
    clip_vit,
    image_side,
    modified_resnet,
)
from vlmcal.backbones.families.open_clip import CONFIG, assemble
from vlmcal.backbones.families.peek import tensor_names
from vlmcal.backbones.families.text_towers import causal_text
from vlmcal.backbones.families.tokenizers import clip_tokens
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.tower_encoder import Parts
from vlmcal.backbones.weights import Rules, need, renamed


def recognises(source: Source) -> bool:
    """Whether the names are CLIP's own and no configuration lies beside them."""
    names = tensor_names(source)
    own = {"visual.conv1.weight", "text_projection", "token_embedding.weight"}
    return own <= names and not (source.folder / CONFIG).is_file()


@layout("openai", "OpenAI's CLIP files (.pt archives and state dicts)", recognises, order=50)
def load(source: Source) -> FeatureEncoder:
    """Read a file of OpenAI's: all sizes come from its tensors, the activation is quick GELU.

    Raises:
        BackboneError: Tensors that do not fit, or no tokenizer.
    """
    weights = source.weights()
    name = source.name
    if all(w.dtype == torch.float32 for w in weights.values() if w.is_floating_point()):
        warnings.warn(
            f"{name}: no configuration lies beside these weights; they are taken for OpenAI's, whose "
            f"activation is quick GELU. Weights of open_clip need their {CONFIG}",
            stacklevel=2,
        )
    residual = "visual.attnpool.positional_embedding" in weights
    if residual:
        rules: Rules = key_maps.CLIP_RESNET
        image = build(lambda: modified_resnet(weights, head=HEAD, name=name))
    else:
        rules = key_maps.CLIP_VIT
        image = build(lambda: clip_vit(weights, act="quick_gelu", head=HEAD, pool="tok", name=name))
    text = build(lambda: causal_text(weights, "", act="quick_gelu", n_heads=None, name=name))
    size = image_side(image, name)
    parts = Parts(
        family="openai",
        image=image,
        text=text,
        tokens=clip_tokens(source),
        preprocess=Preprocess(size=size, resize=size, convert_first=False),
        logit_scale=math.exp(float(need(weights, "logit_scale", name))),
        context_length=len(need(weights, "positional_embedding", name)),
        architecture={"act": "quick_gelu", "head": HEAD},
    )
    return assemble(
        source, parts, renamed(weights, [*key_maps.CAUSAL_TEXT, *rules, *key_maps.SCALARS])
    )
