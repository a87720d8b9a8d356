"""Image features of a frozen tower with learned tokens beside the patches, or with changed layers.

The only place that runs a vision transformer by hand. It uses the tower's own submodules and leaves
nothing behind in the model; without tokens the numbers are those of ``encode_pixels``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import DualEncoder, FeatureEncoder
from vlmcal.backbones.towers.blocks import mixed_values
from vlmcal.backbones.towers.vit import ClassToken, VisionTransformer
from vlmcal.errors import BackboneError, SpecError


@dataclass(frozen=True)
class ImageTower:
    """The parts of a vision transformer.

    Attributes:
        embed: Pixels (B, 3, H, W) to a class token, if there is one, and the patches with positions,
            (B, R, d).
        pre_norm: Layer norm before the first block.
        layers: Pre-norm blocks with the submodules of ``TextTower.layers``; any may be wrapped.
        n_heads: Attention heads of every block.
        final_norm: Layer norm of each row after the last block.
        pool: Rows (B, R, d) to one state (B, d): the class token, the mean of the patches, or an
            attention pool. Learned tokens are not among the rows that are pooled.
        projection: Map from the state to embed_dim.
        class_only: The pool reads the first row alone, so that the last block computes no other.
        rows: R, the rows that the pool may read; learned tokens come after them.
        computing: Context in which the blocks run; see ``DualEncoder.computing``.
    """

    embed: nn.Module
    pre_norm: nn.Module
    layers: Sequence[Any]
    n_heads: int
    final_norm: nn.Module
    pool: Callable[[Tensor], Tensor]
    projection: nn.Module
    class_only: bool
    rows: int
    computing: Callable[[], AbstractContextManager[Any]] = nullcontext


def image_tower(encoder: FeatureEncoder) -> ImageTower:
    """The parts of an encoder's image tower.

    Raises:
        BackboneError: It is no vision transformer, or gives features only.
    """
    model: Any = getattr(encoder, "model", None)
    if hasattr(model, "vision_model"):  # the names of the transformers library
        tower: Any = model.vision_model
        return ImageTower(
            embed=tower.embeddings,
            pre_norm=tower.pre_layrnorm,
            layers=encoder.as_computed(tower.encoder.layers),
            n_heads=int(model.config.vision_config.num_attention_heads),
            final_norm=tower.post_layernorm,
            pool=ClassToken(),
            projection=model.visual_projection,
            class_only=True,
            rows=int(tower.embeddings.num_positions),
            computing=encoder.computing,
        )
    own: Any = model["image"] if isinstance(model, nn.ModuleDict) else None
    if not isinstance(own, VisionTransformer):
        kind = "gives features only" if own is None else f"has a {type(own).__name__} for images"
        raise BackboneError(
            f"{encoder.name} {kind}: learned image tokens and maps need a vision transformer; methods that "
            "change only the text, and adapters and probes, work"
        )
    return ImageTower(
        embed=own.embed,
        pre_norm=own.pre_norm,
        layers=encoder.as_computed(list(own.layers)),
        n_heads=own.n_heads,
        final_norm=own.final_norm,
        pool=own.pool,
        projection=own.projection,
        class_only=bool(own.pool.class_only),
        rows=len(own.embed.position_embedding),
        computing=encoder.computing,
    )


def encode_image(
    encoder: DualEncoder,
    pixels: Tensor,
    tokens: Mapping[int, Tensor] | None = None,
    *,
    tower: ImageTower | None = None,
) -> Tensor:
    """Projected, not normalised image features (B, D) under learned tokens.

    Args:
        encoder: Gives the tower and its type.
        pixels: (B, 3, H, W), normalised.
        tokens: (n, d) by block: those of block 0 are appended after the patches, without positions
            and before the tower's first layer norm; those of block i replace the last n positions of
            its input.
        tower: The encoder's tower with wrapped submodules, instead of its own.

    Raises:
        SpecError: Tokens for a block that does not exist, or of another shape.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> tokens = {0: torch.zeros(2, encoder.image_width), 3: torch.zeros(2, encoder.image_width)}
        >>> tuple(encode_image(encoder, torch.zeros(1, 3, 32, 32), tokens).shape)
        (1, 64)

    Source:
        Jia et al., Visual prompt tuning, ECCV 2022, arXiv:2203.12119; tokens placed as in MaPLe's code
        (without masks and positions their place makes no difference).
    """
    tower = tower or image_tower(encoder)
    tokens = _checked(encoder, tokens or {})
    rows = first_rows(encoder, tower, pixels, tokens.get(0))
    rows = run_blocks(tower, rows, range(len(tower.layers)), tokens)
    return pooled(tower, rows)


def first_rows(
    encoder: DualEncoder, tower: ImageTower, pixels: Tensor, tokens: Tensor | None = None
) -> Tensor:
    """Input of block 0, (B, 1 + N + n, d)."""
    rows: Tensor = tower.embed(pixels.to(encoder.device, encoder.dtype))
    if tokens is not None:
        rows = torch.cat([rows, tokens.expand(len(rows), -1, -1)], dim=1)
    normed: Tensor = tower.pre_norm(rows)
    return normed


def run_blocks(
    tower: ImageTower, rows: Tensor, blocks: range, tokens: Mapping[int, Tensor]
) -> Tensor:
    """Rows after ``blocks``; after the tower's last block only those that are pooled."""
    last = len(tower.layers) - 1
    with tower.computing():
        for i in blocks:
            if i > 0 and i in tokens:
                kept = rows[:, : rows.shape[1] - len(tokens[i])]
                rows = torch.cat([kept, tokens[i].expand(len(rows), -1, -1)], dim=1)
            # The last block computes only the rows that are pooled, often the class token's alone.
            wanted = (1 if tower.class_only else tower.rows) if i == last else None
            rows = _block(tower.layers[i], rows, tower.n_heads, n_queries=wanted)
    return rows


def pooled(tower: ImageTower, rows: Tensor) -> Tensor:
    """Features (B, D) from the rows after the last block."""
    features: Tensor = tower.projection(tower.pool(tower.final_norm(rows)))
    return features


def _block(layer: Any, rows: Tensor, n_heads: int, *, n_queries: int | None) -> Tensor:
    def heads(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], n_heads, -1).transpose(1, 2)

    normed = layer.layer_norm1(rows)
    attention = layer.self_attn
    keys, values = heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    rows, normed = rows[:, :n_queries], normed[:, :n_queries]
    queries = heads(attention.q_proj(normed))
    mixed = mixed_values(queries, keys, values).transpose(1, 2).flatten(2)
    rows = rows + attention.out_proj(mixed)
    result: Tensor = rows + layer.mlp(layer.layer_norm2(rows))
    return result


def _checked(encoder: DualEncoder, tokens: Mapping[int, Tensor]) -> dict[int, Tensor]:
    if tokens and 0 not in tokens:
        raise SpecError("image tokens must start at block 0, whose input they are appended to")
    count = len(tokens[0]) if tokens else 0
    for block, each in tokens.items():
        if not 0 <= block < encoder.image_layers:
            raise SpecError(
                f"image tokens for block {block}: the image tower has blocks 0 to "
                f"{encoder.image_layers - 1}"
            )
        if tuple(each.shape) != (count, encoder.image_width):
            raise SpecError(
                f"image tokens for block {block}: expected shape (n={count}, "
                f"d={encoder.image_width}), got {tuple(each.shape)}"
            )
    return {block: each.to(encoder.device, encoder.dtype) for block, each in tokens.items()}
