"""Vision transformers: CLIP's, timm's, SigLIP's and CONCH's, which differ in their ends only."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward

from vlmcal.backbones.towers.blocks import Mlp, blocks, pre_norm


class Patches(nn.Module):
    """Pixels (B, 3, H, W) to rows (B, [1 +] P, d): patches with positions, after a class token if any."""

    def __init__(self, width: int, patch: int, rows: int, *, bias: bool, class_token: bool) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=bias)
        self.class_embedding = nn.Parameter(torch.empty(width)) if class_token else None
        self.position_embedding = nn.Parameter(torch.empty(rows, width))

    def forward(self, pixels: Tensor) -> Tensor:
        """Rows with their positions."""
        rows = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        if self.class_embedding is not None:
            rows = torch.cat([self.class_embedding.expand(len(rows), 1, -1), rows], dim=1)
        summed: Tensor = rows + self.position_embedding
        return summed


class ClassToken(nn.Module):
    """The state of the class token."""

    class_only = True

    def forward(self, rows: Tensor) -> Tensor:
        """(B, R, d) to (B, d)."""
        return rows[:, 0]


class PatchMean(nn.Module):
    """The mean of the patches, without the class token."""

    class_only = False

    def __init__(self, *, skip: int) -> None:
        super().__init__()
        self.skip = skip

    def forward(self, rows: Tensor) -> Tensor:
        """(B, R, d) to (B, d)."""
        return rows[:, self.skip :].mean(dim=1)


class ProbePool(nn.Module):
    """SigLIP's head: a learned probe attends to all rows, then an MLP with a residual."""

    class_only = False

    def __init__(self, width: int, hidden: int, n_heads: int, act: str, eps: float) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, width))
        self.attention = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, hidden, act)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, R, d) to (B, d)."""
        probe = self.probe.expand(len(rows), -1, -1)
        state = self.attention(probe, rows, rows, need_weights=False)[0]
        pooled: Tensor = (state + self.mlp(self.layernorm(state)))[:, 0]
        return pooled


class QueryPool(nn.Module):
    """CONCH's pooler: one learned query of another width attends to the normalised rows, then a norm."""

    class_only = False

    def __init__(self, width: int, rows_width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Parameter(torch.empty(1, width))
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(rows_width)
        self.attn = nn.MultiheadAttention(width, n_heads, kdim=rows_width, vdim=rows_width)
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, R, d) to (B, width)."""
        keys = self.ln_k(rows).transpose(0, 1)
        query = self.ln_q(self.query)[:, None].expand(-1, keys.shape[1], -1)
        pooled: Tensor = self.norm(_attention(self.attn, query, keys)[0])
        return pooled


def _attention(attn: Any, query: Tensor, keys: Tensor) -> Tensor:
    same = attn.in_proj_weight is not None  # torch keeps one matrix where all widths are equal
    return multi_head_attention_forward(
        query,
        keys,
        keys,
        attn.embed_dim,
        attn.num_heads,
        attn.in_proj_weight,
        attn.in_proj_bias,
        None,
        None,
        False,
        0.0,
        attn.out_proj.weight,
        attn.out_proj.bias,
        training=False,
        need_weights=False,
        use_separate_proj_weight=not same,
        q_proj_weight=None if same else attn.q_proj_weight,
        k_proj_weight=None if same else attn.k_proj_weight,
        v_proj_weight=None if same else attn.v_proj_weight,
    )[0]


class VisionTransformer(nn.Module):
    """Patches, pre-norm blocks, a last norm on every row, a pool and a projection.

    Args:
        embed: Pixels to rows.
        n_layers, width, hidden, n_heads, act, eps: Of the blocks.
        pre_norm: Whether a layer norm stands before the first block (CLIP).
        pool: Rows to one state.
        projection: State to the joint space.
        final_eps: Of the last norm.
    """

    def __init__(
        self,
        embed: Patches,
        *,
        n_layers: int,
        width: int,
        hidden: int,
        n_heads: int,
        act: str,
        eps: float,
        pre_norm: bool,
        pool: nn.Module,
        projection: nn.Module,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.width = width
        self.embed = embed
        self.pre_norm = nn.LayerNorm(width, eps=eps) if pre_norm else nn.Identity()
        self.layers = blocks(n_layers, width, hidden, act, eps)
        self.final_norm = nn.LayerNorm(width, eps=eps)
        self.pool = pool
        self.projection = projection

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, D) of pixels (B, 3, H, W)."""
        rows = self.pre_norm(self.embed(pixels))
        for layer in self.layers:
            rows = pre_norm(layer, rows, self.n_heads, None)
        features: Tensor = self.projection(self.pool(self.final_norm(rows)))
        return features
