"""Deviations from a published model, only under a name: ``medclip(pad_to=25)``."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.tower_encoder import TowerEncoder
from vlmcal.backbones.towers.bert import BertClass
from vlmcal.errors import BackboneError
from vlmcal.hashing import digest
from vlmcal.options import call, read
from vlmcal.types.precision import Precision

Scores = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Variant:
    """Options of a backbone, written behind its name in parentheses.

    Attributes:
        scores: How class probabilities are read off a model that was trained on pairs with a bias (SigLIP):
            by softmax over classes of s cos, the convention, in which the bias cancels; or by independent
            sigmoids of s cos + b, brought to sum one where an image has one label.
        pad_to: Tokens to which every prompt is padded where the model sees its padding (MedCLIP; BAPLe and
            CalibPrompt take 25); by default the longest prompt of the set.
        double_embedding: Learned prompts of a BERT tower with positions and norms applied twice to the fixed
            tokens, as in the released code of BAPLe and CalibPrompt.
        logit_scale: Another factor s.
        encode_precision: Mixed precision of the pass that encodes images ("bfloat16" is quicker on newer
            CPUs); features are kept in float32, under another key.
        weights: "stored": half-precision weights stay half on a GPU; "float32": nowhere, for mixed precision.
    """

    scores: Scores = "softmax"
    pad_to: int | None = None
    double_embedding: bool = False
    logit_scale: float | None = None
    encode_precision: Precision = "off"
    weights: Literal["stored", "float32"] = "stored"


def split_variant(name: str) -> tuple[str, Variant]:
    """The name of the backbone itself, and the options behind it.

    Raises:
        SpecError: An unknown option, or a value of another type.

    Example:
        >>> split_variant("medclip(pad_to=25)")
        ('medclip', Variant(scores='softmax', pad_to=25, double_embedding=False, logit_scale=None, ...))
    """
    if not name.endswith(")") or "(" not in name or Path(name).expanduser().exists():
        return name, Variant()
    own, _, rest = name.rpartition("(")
    _, options = read(f"backbone({rest}", "backbone")
    return own, call(Variant, f'backbone "{own}"', options)


def applied(encoder: FeatureEncoder, variant: Variant) -> FeatureEncoder:
    """The encoder (shared weights) with the variant's changes, and a fingerprint that tells them.

    Raises:
        BackboneError: The model has nothing that the option could change.
    """
    if variant.logit_scale is not None:
        encoder = encoder.with_logit_scale(variant.logit_scale)
    if variant.scores != "softmax":
        encoder = _sigmoid(encoder, variant.scores)
    if variant.encode_precision != "off":
        encoder = _encoding(encoder, variant.encode_precision)
    if variant.pad_to is not None:
        encoder = _padded(encoder, variant.pad_to)
    return _double(encoder) if variant.double_embedding else encoder


def _sigmoid(encoder: FeatureEncoder, scores: str) -> FeatureEncoder:
    if scores not in get_args(Scores) or encoder.logit_bias is None:
        raise BackboneError(
            f"{encoder.name}: scores={scores} needs a model with a logit bias, trained on pairs (SigLIP); "
            "this one has none, its class probabilities are by softmax"
        )
    return _with(encoder, {"scores": scores}, scores=scores)


def _encoding(encoder: FeatureEncoder, precision: Precision) -> FeatureEncoder:
    if encoder.dtype != torch.float32 or encoder.family == "precomputed":
        raise BackboneError(
            f"{encoder.name}: encode_precision starts from a model with float32 weights; leave it out"
        )
    return _with(encoder, {"encode_precision": precision}, encode_precision=precision)


def _padded(encoder: FeatureEncoder, length: int) -> FeatureEncoder:
    if not isinstance(encoder, TowerEncoder) or encoder.padding != "longest":
        raise BackboneError(
            f"{encoder.name}: pad_to is for models whose features depend on padding as MedCLIP's do; here "
            "padding is fixed or changes nothing"
        )
    if not 3 <= length <= encoder.context_length:
        raise BackboneError(
            f"{encoder.name}: pad_to must be 3 to {encoder.context_length}, got {length}"
        )
    about = f"text features are means over padding too; prompts are padded to {length} tokens"
    facts = {"context_length": length, "padding": "full", "about": about}
    return _with(encoder, {"pad_to": length}, **facts)


def _double(encoder: FeatureEncoder) -> FeatureEncoder:
    if not isinstance(encoder, TowerEncoder) or not isinstance(encoder.parts.text, BertClass):
        raise BackboneError(
            f"{encoder.name}: double_embedding is for models with a BERT text tower"
        )
    return _with(encoder, {"double_embedding": True}, double_embedding=True)


def _with(encoder: FeatureEncoder, told: dict[str, Any], **facts: Any) -> FeatureEncoder:
    """A copy (shared weights) with other attributes; its fingerprint tells ``told``."""
    changed = copy.copy(encoder)
    for name, value in facts.items():
        setattr(changed, name, value)
    changed.fingerprint = digest({"encoder": encoder.fingerprint, **told})
    return changed
