"""Text towers of the open_clip, OpenAI, CONCH and MedCLIP layouts, sized by their tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vlmcal.backbones.families.image_towers import HEAD, heads
from vlmcal.backbones.families.open_clip_library import UnknownArchitectureError
from vlmcal.backbones.towers.bert import BertClass, BertTokenMean
from vlmcal.backbones.towers.text import CausalText, TextStack
from vlmcal.backbones.weights import count, need
from vlmcal.errors import BackboneError, nearest
from vlmcal.io.json_text import parse_json


def causal_text(
    weights: Mapping[str, Tensor], prefix: str, *, act: str, n_heads: int | None, name: str
) -> CausalText:
    """CLIP's text tower under "" or "text."; heads of 64 where their number is not given."""
    return CausalText(**causal_sizes(weights, prefix, act=act, n_heads=n_heads, name=name))


def causal_sizes(
    weights: Mapping[str, Tensor], prefix: str, *, act: str, n_heads: int | None, name: str
) -> dict[str, Any]:
    """Sizes of a text tower with open_clip's names."""
    vocabulary, width = need(weights, f"{prefix}token_embedding.weight", name).shape
    out = need(weights, f"{prefix}text_projection", name).shape[1]
    if n_heads is not None and width % n_heads:
        raise BackboneError(f"{name}: {n_heads} heads do not divide the text width {width}")
    key = f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"
    escaped = prefix.replace(".", r"\.")
    return {
        "vocabulary": vocabulary,
        "length": len(need(weights, f"{prefix}positional_embedding", name)),
        "width": width,
        "hidden": need(weights, key, name).shape[0],
        "n_layers": count(weights, escaped + r"transformer\.resblocks\.(\d+)\.ln_1\.weight"),
        "n_heads": heads(width, HEAD, name) if n_heads is None else n_heads,
        "act": act,
        "eps": 1e-5,
        "projection": nn.Linear(width, out, bias=False),
    }


def bert_sizes(
    weights: Mapping[str, Tensor], prefix: str, config: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Sizes of a BERT; heads of 64, exact GELU and 1e-12 where no configuration says otherwise."""
    vocabulary, width = need(weights, f"{prefix}embeddings.word_embeddings.weight", name).shape
    escaped = prefix.replace(".", r"\.")
    hidden = need(weights, f"{prefix}encoder.layer.0.intermediate.dense.weight", name).shape[0]
    stated = config.get("num_attention_heads") if config.get("hidden_size") == width else None
    return {
        "vocabulary": vocabulary,
        "length": len(need(weights, f"{prefix}embeddings.position_embeddings.weight", name)),
        "width": width,
        "hidden": hidden,
        "n_layers": count(weights, escaped + r"encoder\.layer\.(\d+)\.output\.dense\.weight"),
        "n_heads": int(stated) if stated else heads(width, HEAD, name),
        "act": str(config.get("hidden_act", "gelu")),
        "eps": float(config.get("layer_norm_eps", 1e-12)),
        "pad_id": int(config.get("pad_token_id", 0)),
    }


def bert_text(
    weights: Mapping[str, Tensor], pooler: str, config: Mapping[str, Any], name: str
) -> TextStack:
    """open_clip's BERT under "text.transformer" with its projection under "text.proj".

    Raises:
        UnknownArchitectureError: No BERT.
        BackboneError: A pooler that is not known here (the library's ``max_pooler`` fails in the library).
    """
    types = weights.get("text.transformer.embeddings.token_type_embeddings.weight")
    if types is None or len(types) != 2:  # RoBERTa has one type, T5 and others none
        raise UnknownArchitectureError(f"{name}: the Hugging Face text tower is no BERT")
    sizes = bert_sizes(weights, "text.transformer.", config, name)
    sizes["projection"] = _projection(weights, name)
    if pooler in {"cls_last_hidden_state_pooler", "cls_pooler"}:
        return BertClass(pooler=pooler == "cls_pooler", **sizes)
    if pooler == "mean_pooler":
        return BertTokenMean(**sizes)
    known = ("cls_last_hidden_state_pooler", "cls_pooler", "mean_pooler")
    raise BackboneError(f'{name}: unknown text pooler "{pooler}"; {nearest(pooler, known)}')


def _projection(weights: Mapping[str, Tensor], name: str) -> nn.Module:
    linear = weights.get("text.proj.weight")
    if linear is not None:
        return nn.Linear(linear.shape[1], linear.shape[0], bias="text.proj.bias" in weights)
    first = weights.get("text.proj.0.weight")
    if first is None:
        return nn.Identity()
    second = need(weights, "text.proj.2.weight", name)
    return nn.Sequential(
        nn.Linear(first.shape[1], first.shape[0], bias="text.proj.0.bias" in weights),
        nn.GELU(),
        nn.Linear(second.shape[1], second.shape[0], bias="text.proj.2.bias" in weights),
    )


def read_config(folders: Sequence[Path], kind: str) -> dict[str, Any]:
    """The first ``config.json`` of a model of that type, or an empty one."""
    for folder in folders:
        path = folder / "config.json"
        if path.is_file():
            config: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
            if config.get("model_type") == kind:
                return config
    return {}
