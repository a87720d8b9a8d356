"""CONCH: a ViT with an attentional pooler beside a causal text tower with an appended class token."""

import math

from torch import nn

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families import key_maps
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.families.image_towers import build, image_side, timm_vit
from vlmcal.backbones.families.open_clip import assemble
from vlmcal.backbones.families.peek import tensor_names
from vlmcal.backbones.families.text_towers import causal_sizes
from vlmcal.backbones.families.tokenizers import conch_tokens
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.text_tokens import Tokens
from vlmcal.backbones.tower_encoder import Parts
from vlmcal.backbones.towers.text import AppendedText
from vlmcal.backbones.towers.vit import QueryPool
from vlmcal.backbones.weights import need, renamed

POOL_HEADS = 8  # of the published configuration; no tensor shows it


def recognises(source: Source) -> bool:
    """Whether the names are CONCH's."""
    return {"visual.attn_pool_contrast.query", "text.cls_emb"} <= tensor_names(source)


@layout("conch", "CONCH (CoCa with an appended class token)", recognises, order=40)
def load(source: Source) -> FeatureEncoder:
    """Read CONCH's weights; its captioning parts are left out.

    Raises:
        BackboneError: Tensors that do not fit, or no tokenizer.
    """
    weights, name = source.weights("pytorch_model.bin"), source.name
    query = need(weights, "visual.attn_pool_contrast.query", name)
    out = need(weights, "visual.proj_contrast", name).shape[1]
    rows_width = need(weights, "visual.attn_pool_contrast.ln_k.weight", name).shape[0]
    image = build(
        lambda: timm_vit(
            weights,
            pool="",
            name=name,
            projection=nn.Linear(query.shape[1], out, bias=False),
            pooling=QueryPool(query.shape[1], rows_width, POOL_HEADS),
        )
    )
    sizes = causal_sizes(weights, "text.", act="gelu", n_heads=None, name=name)
    tokens = conch_tokens(source)
    pad = tokens.pad if isinstance(tokens, Tokens) else 0
    size = image_side(image, name)
    parts = Parts(
        family="conch",
        image=image,
        text=build(lambda: AppendedText(pad_id=pad, **sizes)),
        tokens=tokens,
        preprocess=Preprocess(size=size, resize=size, convert_first=False),
        logit_scale=math.exp(float(need(weights, "logit_scale", name))),
        context_length=sizes["length"] - 1,
        architecture={"pool_heads": POOL_HEADS, "mask": "published"},
        about="the appended class token sees the text as the published mask says, one place off",
    )
    return assemble(source, parts, renamed(weights, [*key_maps.CONCH, *key_maps.SCALARS]))
