"""The layers of a text tower, run over packed rows by their own submodules."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlmcal.backbones.base import TextTower
from vlmcal.backbones.towers.blocks import mixed_values
from vlmcal.text_encoding.packing import Packing, Tiles
from vlmcal.text_encoding.plan import Plan, Step


def run(
    tower: TextTower, plan: Plan, tokens: Tensor, context: Tensor, deep: Mapping[int, Tensor]
) -> Tensor:
    """Features (B, K, D) of the planned prompts.

    Args:
        tower: The text transformer.
        plan: Row lists and sources.
        tokens: (N, d) embedding of the fixed tokens.
        context: (B, n, d) context tokens, class after class when each class has its own.
        deep: Per layer, (1, n, d) replacing tokens, class after class when each has its own.
    """
    rows = _apply(plan.start, tokens[None], context) + tower.positions[plan.positions]
    packing = plan.start.packing
    last = len(tower.layers) - 1
    with tower.computing():
        for index, layer in enumerate(tower.layers):
            if index in plan.deep:
                rows = _apply(plan.deep[index], rows, deep[index])
                packing = plan.deep[index].packing
            rows = _layer(layer, rows, packing, tower.n_heads, ends_only=index == last)
    features: Tensor = tower.projection(tower.final_norm(rows))
    return features


def _apply(step: Step, rows: Tensor, tokens: Tensor) -> Tensor:
    batch = max(rows.shape[0], tokens.shape[0])
    both = torch.cat([rows.expand(batch, -1, -1), tokens.expand(batch, -1, -1)], dim=1)
    return both.index_select(1, step.index)


def _layer(layer: Any, rows: Tensor, packing: Packing, n_heads: int, *, ends_only: bool) -> Tensor:
    """One pre-norm block; ``ends_only`` keeps (B, K, d) end tokens, all that pooling reads."""
    normed = layer.layer_norm1(rows)
    attention = layer.self_attn
    keys, values = attention.k_proj(normed), attention.v_proj(normed)
    if ends_only:
        rows = rows.index_select(1, packing.end_rows)
        normed = normed.index_select(1, packing.end_rows)
    queries = attention.q_proj(normed)
    tiles = packing.end_tiles if ends_only else packing.tiles
    rows = rows + attention.out_proj(_attend(queries, keys, values, tiles, n_heads))
    result: Tensor = rows + layer.mlp(layer.layer_norm2(rows))
    return result


def _attend(queries: Tensor, keys: Tensor, values: Tensor, tiles: Tiles, n_heads: int) -> Tensor:
    """Attention of (B, Q, d) over (B, N, d), all tiles in one call."""
    batch, _, width = queries.shape

    def heads(tensor: Tensor, rows: Tensor | None) -> Tensor:
        placed = tensor if rows is None else tensor.index_select(1, rows)
        tiled = placed.view(batch * len(tiles.allowed), -1, n_heads, width // n_heads)
        return tiled.transpose(1, 2)

    mixed = mixed_values(
        heads(queries, tiles.queries),
        heads(keys, tiles.keys),
        heads(values, tiles.keys),
        tiles.bias(queries.dtype, batch),
    )
    mixed = mixed.transpose(1, 2).reshape(batch, -1, width)
    return mixed if tiles.places is None else mixed.index_select(1, tiles.places)
