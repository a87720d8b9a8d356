"""Transformer blocks with the submodule names that learners wrap, before or after their norms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from vlmcal.errors import BackboneError, nearest


def quick_gelu(x: Tensor) -> Tensor:
    """X * sigmoid(1.702 x), the activation of OpenAI's CLIP.

    Example:
        >>> round(float(quick_gelu(torch.tensor(1.0))), 4)
        0.8458
    """
    return x * torch.sigmoid(1.702 * x)


def tanh_gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, as SigLIP uses it."""
    return gelu(x, approximate="tanh")


_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "gelu_new": tanh_gelu,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called ``name`` in a model's configuration.

    Raises:
        BackboneError: No such activation here.
    """
    if name not in _ACTIVATIONS:
        raise BackboneError(f'unknown activation "{name}"; {nearest(name, _ACTIVATIONS)}')
    return _ACTIVATIONS[name]


class Attention(nn.Module):
    """The four maps of self-attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)


class Mlp(nn.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, width: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


class Block(nn.Module):
    """The submodules of one block; :func:`pre_norm` and :func:`post_norm` run them."""

    def __init__(self, width: int, hidden: int, act: str, eps: float) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.self_attn = Attention(width)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, hidden, act)


def blocks(count: int, width: int, hidden: int, act: str, eps: float) -> nn.ModuleList:
    """That many blocks of one shape."""
    return nn.ModuleList(Block(width, hidden, act, eps) for _ in range(count))


def mixed_values(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Softmax(Q K^T / sqrt(d) + mask) V of (..., Q, d) over (..., R, d), by torch's fused kernel.

    Going back through it in half precision is several times slower on a CPU than in float32, so there it
    is done in float32, on the same rounded inputs.
    """
    kind = queries.dtype
    goes_back = torch.is_grad_enabled() and any(t.requires_grad for t in (queries, keys, values))
    if kind.itemsize > 2 or queries.device.type != "cpu" or not goes_back:
        return scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        exact = mask if mask is None or mask.dtype == torch.bool else mask.float()
        wide = scaled_dot_product_attention(
            queries.float(), keys.float(), values.float(), attn_mask=exact, is_causal=causal
        )
        return wide.to(kind)


def attend(
    attention: Any,
    queries: Tensor,
    rows: Tensor,
    n_heads: int,
    mask: Tensor | None,
    *,
    causal: bool = False,
) -> Tensor:
    """Attention of (N, Q, d) over (N, R, d); ``mask`` is True where a query may look, or added to scores."""

    def heads(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], n_heads, -1).transpose(1, 2)

    mixed = mixed_values(
        heads(attention.q_proj(queries)),
        heads(attention.k_proj(rows)),
        heads(attention.v_proj(rows)),
        mask,
        causal=causal,
    )
    result: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return result


def pre_norm(layer: Any, rows: Tensor, n_heads: int, mask: Tensor | None) -> Tensor:
    """One block of CLIP and its relatives: x + attention(norm(x)), then x + mlp(norm(x))."""
    normed = layer.layer_norm1(rows)
    rows = rows + attend(layer.self_attn, normed, normed, n_heads, mask)
    result: Tensor = rows + layer.mlp(layer.layer_norm2(rows))
    return result


def post_norm(layer: Any, rows: Tensor, n_heads: int, mask: Tensor | None) -> Tensor:
    """One block of BERT: norm(x + attention(x)), then norm(x + mlp(x))."""
    rows = layer.layer_norm1(rows + attend(layer.self_attn, rows, rows, n_heads, mask))
    result: Tensor = layer.layer_norm2(rows + layer.mlp(rows))
    return result


def with_deep(rows: Tensor, tokens: Tensor | None, first: int) -> Tensor:
    """Rows (N, L, d) with learned tokens (n, d) or (N, n, d) in the place of ``first`` and the next ones."""
    if tokens is None:
        return rows
    n = tokens.shape[-2]
    new = tokens.to(rows).expand(len(rows), n, -1)
    return torch.cat([rows[:, :first], new, rows[:, first + n :]], dim=1)


Deep = Mapping[int, Tensor]
Layers = Sequence[Any]
