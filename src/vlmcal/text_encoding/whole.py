"""Prompts through towers whose tokens see each other: every prompt on its own, exactly."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from vlmcal.backbones.base import PromptableEncoder, WholeTower
from vlmcal.backbones.towers.bert import BertClass
from vlmcal.text_encoding.layout import PromptLayout


def encode_whole(
    encoder: PromptableEncoder,
    tower: WholeTower,
    layout: PromptLayout,
    context: Tensor,
    *,
    per_class: bool,
    deep: Mapping[int, Tensor],
) -> Tensor:
    """Features (B, K, D) of K prompts, B = 1 unless the context is (B, M, d) per image.

    Nothing is shared between prompts, since every token may depend on every other one; the padding of
    the layout is that of the model.

    Args:
        encoder: Gives word embeddings and device.
        tower: Its text tower, with wrapped layers where a method wraps them.
        layout: The prompts.
        context: (M, d), (K, M, d) with ``per_class``, or (B, M, d).
        per_class: Each class has its own context.
        deep: Per layer, (n, d) or (K, n, d).
    """
    ids, slots = layout.ids.to(encoder.device), layout.slots.to(encoder.device)
    if context.ndim == 2:
        context = context[None]
    context = context.unsqueeze(0 if per_class or len(context) == 1 else 1)
    words = encoder.embed_tokens(ids)
    if encoder.double_embedding and layout.n_ctx:
        words = cast(BertClass, tower.stack).doubly_embedded(ids)
    words = with_context(words, slots, context)
    batch = len(words)
    own = {i: t.repeat(batch, 1, 1) if t.ndim == 3 else t for i, t in deep.items()}
    features = tower.stack.encode(
        words.flatten(0, 1),
        ids.repeat(batch, 1),
        layers=tower.layers,
        deep=own,
        computing=tower.computing,
    )
    return features.view(batch, len(layout), -1)


def with_context(words: Tensor, slots: Tensor, context: Tensor) -> Tensor:
    """Word embeddings (B, K, L, d) with context where ``slots`` (K, L) is not -1.

    Args:
        words: (K, L, d) embeddings of the fixed tokens.
        slots: Index of the context token at a place, or -1.
        context: (B, K, M, d), where B and K may be 1.
    """
    (k, length, width), batch = words.shape, len(context)
    words = words.expand(batch, k, length, width)
    if not context.shape[-2]:
        return words
    tokens = context.to(words).expand(batch, k, -1, -1)
    at = slots.clamp(min=0)[None, :, :, None].expand(batch, k, length, width)
    return torch.where((slots >= 0)[None, :, :, None], tokens.gather(2, at), words)
