"""Swin transformer without classifier: windows, shifted windows, patch merging (MedCLIP's image tower)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import Block, attend


class SwinBlock(Block):
    """A pre-norm block whose attention stays inside windows of ``window`` x ``window`` places."""

    def __init__(
        self, width: int, hidden: int, n_heads: int, window: int, shift: int, eps: float
    ) -> None:
        super().__init__(width, hidden, "gelu", eps)
        self.n_heads, self.window, self.shift = n_heads, window, shift
        self.position_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, n_heads))

    def forward(self, rows: Tensor, side: int) -> Tensor:
        """Rows (B, side * side, d) to the same shape."""
        normed = self.layer_norm1(rows).view(len(rows), side, side, -1)
        rows = rows + self._windows(normed, side)
        result: Tensor = rows + self.mlp(self.layer_norm2(rows))
        return result

    def _windows(self, grid: Tensor, side: int) -> Tensor:
        batch, w = len(grid), self.window
        padding = -side % w
        whole = side + padding
        # A single window holds everything, so there is nothing to shift.
        shift = self.shift if side > w else 0
        grid = nn.functional.pad(grid, (0, 0, 0, padding, 0, padding))
        grid = grid.roll((-shift, -shift), dims=(1, 2))
        count = whole // w
        rows = (
            grid.view(batch, count, w, count, w, -1)
            .transpose(2, 3)
            .reshape(-1, w * w, grid.shape[-1])
        )
        bias = self._bias()[None]
        if shift:
            bias = bias + _shift_mask(whole, w, shift).to(bias)[:, None]
            bias = bias.repeat(batch, 1, 1, 1)
        bias = bias.expand(len(rows), -1, -1, -1)
        mixed = attend(self.self_attn, rows, rows, self.n_heads, bias)
        grid = mixed.view(batch, count, count, w, w, -1).transpose(2, 3).reshape(grid.shape)
        grid = grid.roll((shift, shift), dims=(1, 2))
        return grid[:, :side, :side].reshape(batch, side * side, -1)

    def _bias(self) -> Tensor:
        """Relative position biases (heads, w * w, w * w)."""
        w = self.window
        place = torch.stack(
            torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")
        ).flatten(1)
        between = place[:, :, None] - place[:, None, :] + (w - 1)
        index = (between[0] * (2 * w - 1) + between[1]).to(self.position_table.device)
        return self.position_table[index.flatten()].view(w * w, w * w, -1).permute(2, 0, 1)


def _shift_mask(side: int, window: int, shift: int) -> Tensor:
    """-100 between places that a shift brought into one window but that are not neighbours, (W, w2, w2)."""
    region = torch.zeros(side)
    region[side - window : side - shift] = 1
    region[side - shift :] = 2
    grid = 3 * region[:, None] + region[None, :]
    count = side // window
    rows = grid.view(count, window, count, window).transpose(1, 2).reshape(-1, window * window)
    return (rows[:, None, :] != rows[:, :, None]) * -100.0


class Merging(nn.Module):
    """Four neighbours become one place of twice the width."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=eps)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, rows: Tensor, side: int) -> Tensor:
        """Rows (B, side * side, d) to (B, (side / 2)^2, 2 d)."""
        grid = rows.view(len(rows), side, side, -1)
        grid = nn.functional.pad(grid, (0, 0, 0, side % 2, 0, side % 2))
        four = [grid[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(four, dim=-1).flatten(1, 2)))
        return merged


class Swin(nn.Module):
    """Swin transformer: the mean of the last stage's normalised places, projected.

    Args:
        patch: Side of a patch.
        width: Of the first stage; it doubles from stage to stage.
        depths, n_heads: Blocks and heads of the stages.
        window: Side of a window.
        ratio: Hidden width of the MLPs over their width.
        embed_dim: D.
        eps: Of the layer norms.

    Source:
        Liu et al., Swin Transformer, ICCV 2021, arXiv:2103.14030.
    """

    def __init__(
        self,
        *,
        patch: int,
        width: int,
        depths: Sequence[int],
        n_heads: Sequence[int],
        window: int,
        ratio: float,
        embed_dim: int,
        eps: float,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.patch_norm = nn.LayerNorm(width, eps=eps)
        self.stages = nn.ModuleList()
        self.merges = nn.ModuleList()
        for stage, (depth, heads) in enumerate(zip(depths, n_heads, strict=True)):
            size = width * 2**stage
            self.stages.append(
                nn.ModuleList(
                    SwinBlock(size, int(ratio * size), heads, window, window // 2 * (i % 2), eps)
                    for i in range(depth)
                )
            )
            if stage < len(depths) - 1:
                self.merges.append(Merging(size, eps))
        self.width = width * 2 ** (len(depths) - 1)
        self.final_norm = nn.LayerNorm(self.width, eps=eps)
        self.projection = nn.Linear(self.width, embed_dim, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, D) of square pixels (B, 3, H, H)."""
        grid = self.patch(pixels)
        side = int(grid.shape[-1])
        rows = self.patch_norm(grid.flatten(2).transpose(1, 2))
        for stage, blocks in enumerate(self.stages):
            for block in blocks:  # type: ignore[attr-defined]
                rows = block(rows, side)
            if stage < len(self.merges):
                rows = self.merges[stage](rows, side)
                side = -(-side // 2)
        features: Tensor = self.projection(self.final_norm(rows).mean(dim=1))
        return features
