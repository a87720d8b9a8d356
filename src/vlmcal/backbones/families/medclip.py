"""MedCLIP: Swin or ResNet-50 beside Bio_ClinicalBERT, in its ``pytorch_model.bin``."""

import math

from torch import nn

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families import key_maps
from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.families.image_towers import build
from vlmcal.backbones.families.open_clip import assemble
from vlmcal.backbones.families.peek import tensor_names
from vlmcal.backbones.families.text_towers import bert_sizes, read_config
from vlmcal.backbones.families.tokenizers import bert_tokens
from vlmcal.backbones.preprocess import PaddedGrey
from vlmcal.backbones.tower_encoder import Parts, companion_folders
from vlmcal.backbones.towers.bert import BertMean
from vlmcal.backbones.towers.resnet import ResNet
from vlmcal.backbones.towers.swin import Swin
from vlmcal.backbones.weights import Weights, count, need, renamed

BERT = "emilyalsentzer/Bio_ClinicalBERT"
SIDE, CONTEXT, LARGEST = 224, 77, 4.6052  # of the published code; no tensor shows them
_MEAN, _DEVIATION = 0.5862785803043838, 0.27950088968644304


def recognises(source: Source) -> bool:
    """Whether the names are MedCLIP's."""
    names = tensor_names(source)
    return "text_model.projection_head.weight" in names and any(
        name.startswith("vision_model.model.") for name in names
    )


@layout("medclip", "MedCLIP: Swin or ResNet-50 with Bio_ClinicalBERT", recognises, order=30)
def load(source: Source) -> FeatureEncoder:
    """Read MedCLIP's weights; tokenizer and configuration of its BERT lie beside them or on the hub.

    A text feature is the mean over all positions, padding included: it depends on the longest prompt it
    is encoded with. That is the published model.

    Raises:
        BackboneError: Tensors that do not fit, or no tokenizer.
    """
    weights, name = source.weights("pytorch_model.bin"), source.name
    folders = companion_folders(source.folder, source.companions, BERT)
    sizes = bert_sizes(weights, "text_model.model.", read_config(folders, "bert"), name)
    out, width = need(weights, "text_model.projection_head.weight", name).shape
    swin = "vision_model.projection_head.weight" in weights
    parts = Parts(
        family="medclip",
        image=build(lambda: _swin(weights, name) if swin else _resnet(weights, name)),
        text=build(lambda: BertMean(**sizes, projection=nn.Linear(width, out, bias=False))),
        tokens=bert_tokens(source, BERT, clean=False),
        preprocess=PaddedGrey(size=SIDE, resize=SIDE, mean=(_MEAN,) * 3, std=(_DEVIATION,) * 3),
        logit_scale=math.exp(min(max(float(need(weights, "logit_scale", name)), 0.0), LARGEST)),
        context_length=CONTEXT,
        architecture={k: sizes[k] for k in ("n_heads", "act", "eps")} | {"padding": "longest"},
        about="text features are means over padding too; prompts are padded to the longest of their set",
    )
    rules = key_maps.MEDCLIP_SWIN if swin else key_maps.MEDCLIP_RESNET
    return assemble(
        source, parts, renamed(weights, [*key_maps.MEDCLIP_TEXT, *rules, *key_maps.SCALARS])
    )


def _swin(weights: Weights, name: str) -> Swin:
    stem = "vision_model.model."
    patches = need(weights, f"{stem}embeddings.patch_embeddings.projection.weight", name)
    stages = count(
        weights, r"vision_model\.model\.encoder\.layers\.(\d+)\.blocks\.0\.layernorm_before\.weight"
    )
    table = "blocks.0.attention.self.relative_position_bias_table"
    tables = [need(weights, f"{stem}encoder.layers.{i}.{table}", name) for i in range(stages)]
    fc = need(weights, f"{stem}encoder.layers.0.blocks.0.intermediate.dense.weight", name)
    return Swin(
        patch=patches.shape[-1],
        width=patches.shape[0],
        depths=[
            count(
                weights,
                rf"vision_model\.model\.encoder\.layers\.{i}\.blocks\.(\d+)\.layernorm_before\.weight",
            )
            for i in range(stages)
        ],
        n_heads=[t.shape[1] for t in tables],
        window=(math.isqrt(len(tables[0])) + 1) // 2,
        ratio=fc.shape[0] / fc.shape[1],
        embed_dim=need(weights, "vision_model.projection_head.weight", name).shape[0],
        eps=1e-5,
    )


def _resnet(weights: Weights, name: str) -> ResNet:
    width = need(weights, "vision_model.model.conv1.weight", name).shape[0]
    layers = [
        count(weights, rf"vision_model\.model\.layer{n}\.(\d+)\.conv1\.weight") for n in range(1, 5)
    ]
    out = need(weights, "vision_model.model.fc.weight", name).shape[0]
    return ResNet(layers, width, out)
