"""Text features of prompts with learned tokens: the exact fast path."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vlmcal.backbones.base import DualEncoder, WholeTower, require_tokens
from vlmcal.errors import SpecError, require_known
from vlmcal.text_encoding.blocks import run
from vlmcal.text_encoding.layout import PromptLayout
from vlmcal.text_encoding.plan import DeepTokens, make_plan
from vlmcal.text_encoding.whole import encode_whole

ContextAxis = Literal["shared", "class", "image"]

# Above this estimate of what autograd would keep, classes are encoded in pieces and each piece is
# computed again in the backward pass: half more arithmetic for bounded memory.
ACTIVATION_BUDGET = 2 << 30
_KEPT_PER_ROW = 20  # numbers kept per row and layer, in units of the text width


def encode_prompts(
    encoder: DualEncoder,
    layout: PromptLayout,
    context: Tensor,
    *,
    context_axis: ContextAxis = "shared",
    deep: Mapping[int, Tensor] | None = None,
    class_chunk: int | None = None,
    share_prefix: bool = True,
) -> Tensor:
    """Projected, not normalised text features of K prompts with M learned context tokens.

    The same numbers as 77 padded tokens per class through the library's own forward, for less work:
    tokens before the first class-specific one are computed once for all classes, nothing after an
    end token is computed, and the last block runs for end tokens only. All three are exact because
    a causal token depends on earlier tokens alone and only the end token is read.

    Towers whose tokens see later ones (BERT, SigLIP) or are read elsewhere (CONCH) encode every prompt on
    its own, which is exact and slower; see :mod:`vlmcal.text_encoding.whole`.

    Submodules of a layer may be wrapped (LoRA on ``q_proj``, ...); hooks on whole layers do not run.
    With dropout inside the tower, shared tokens share their mask; ``share_prefix=False`` draws one
    per class.

    Args:
        encoder: Gives tower, embeddings and device.
        layout: The K prompts.
        context: Learned tokens, before position embeddings: (M, d) for all classes, (K, M, d) per
            class, or (B, M, d) per image, as ``context_axis`` says.
        context_axis: "shared", "class" or "image".
        deep: Per layer index i (from 0), tokens (n, d), or (K, n, d) per class, that replace
            positions 1 .. n of the input of block i; no position embedding is added to them.
        class_chunk: Classes per piece; pieces are computed again in the backward pass, which bounds
            memory and changes no number. None makes pieces only when the whole pass would keep
            more than ``ACTIVATION_BUDGET`` bytes; for context per image, of images first.
        share_prefix: False computes every token for every class (for comparisons and dropout).

    Returns:
        (K, D), or (B, K, D) for context per image.

    Raises:
        BackboneError: The backbone has no token stream.
        SpecError: A shape, axis or layer does not fit; says what was expected.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> layout = PromptLayout.build(encoder, ["zero", "one", "two"], n_ctx=4)
        >>> tuple(encode_prompts(encoder, layout, torch.zeros(4, encoder.text_width)).shape)
        (3, 64)

    Source:
        Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022, arXiv:2109.01134
        (the prompts); the exactness follows from causal attention.
    """
    deep = dict(sorted((deep or {}).items()))
    _check(encoder, layout, context, context_axis, deep)
    if class_chunk is not None and class_chunk < 1:
        raise SpecError(f"class_chunk: expected 1 or more classes, got {class_chunk}")
    batch = len(context) if context_axis == "image" else 1
    shared = layout.shared_length(class_context=context_axis == "class") if share_prefix else 0
    images, classes = _piece_sizes(encoder, layout, batch, class_chunk, shared)
    recompute = torch.is_grad_enabled() and (images < batch or classes < len(layout))

    def piece(context: Tensor, deep: dict[int, Tensor], start: int) -> Tensor:
        return _encode(
            encoder,
            layout if classes >= len(layout) else layout.classes(start, start + classes),
            context,
            context_axis == "class",
            deep,
            share_prefix,
        )

    rows = []
    for first in range(0, batch, images):
        parts = []
        for start in range(0, len(layout), classes):
            stop = start + classes
            own = {i: t[start:stop] if t.ndim == 3 else t for i, t in deep.items()}
            tokens = context[start:stop] if context_axis == "class" else context
            tokens = context[first : first + images] if context_axis == "image" else tokens
            if recompute:
                parts.append(checkpoint(piece, tokens, own, start, use_reentrant=False))
            else:
                parts.append(piece(tokens, own, start))
        rows.append(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
    features = rows[0] if len(rows) == 1 else torch.cat(rows)
    return features if context_axis == "image" else features[0]


def images_at_once(encoder: DualEncoder, layout: PromptLayout) -> int:
    """For how many images with contexts of their own a step runs in one piece, within the budget.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> images_at_once(encoder, PromptLayout.build(encoder, ["zero", "one"], n_ctx=4)) > 100
        True
    """
    with torch.enable_grad():
        return _piece_sizes(
            encoder, layout, 1 << 30, None, layout.shared_length(class_context=False)
        )[0]


def _encode(
    encoder: DualEncoder,
    layout: PromptLayout,
    context: Tensor,
    class_context: bool,
    deep: dict[int, Tensor],
    share_prefix: bool,
) -> Tensor:
    tower = encoder.text_tower
    if isinstance(tower, WholeTower):
        return encode_whole(encoder, tower, layout, context, per_class=class_context, deep=deep)
    shapes = {i: DeepTokens(t.shape[-2], t.ndim == 3) for i, t in deep.items()}
    plan = layout.cached(
        ("plan", class_context, tuple(shapes.items()), share_prefix, encoder.device),
        lambda: make_plan(
            layout,
            class_context=class_context,
            deep=shapes,
            share_prefix=share_prefix,
            device=encoder.device,
        ),
    )
    dtype, device, width = encoder.dtype, encoder.device, encoder.text_width
    tokens = encoder.embed_tokens(plan.ids)
    context = context.to(device, dtype)
    context = context.reshape(1, -1, width) if class_context or context.ndim == 2 else context
    flat = {i: t.to(device, dtype).reshape(1, -1, width) for i, t in deep.items()}
    return run(tower, plan, tokens, context, flat)


def _piece_sizes(
    encoder: DualEncoder, layout: PromptLayout, batch: int, class_chunk: int | None, shared: int
) -> tuple[int, int]:
    """Images and classes per piece, of prompts with ``shared`` common tokens."""
    n_rows = shared + int((layout.ends + 1 - shared).sum())
    if not encoder.causal:
        n_rows = layout.ids.numel()
    kept = _KEPT_PER_ROW * encoder.text_width * encoder.dtype.itemsize
    if torch.is_grad_enabled():
        kept *= encoder.text_layers
    classes = len(layout)
    if class_chunk is not None:
        classes = min(class_chunk, classes)
    elif n_rows * kept > ACTIVATION_BUDGET:
        pieces = -(-n_rows * kept // ACTIVATION_BUDGET)
        classes = -(-classes // pieces)
    images = ACTIVATION_BUDGET * len(layout) // (n_rows * kept * classes)
    return max(1, min(batch, images)), classes


def _check(
    encoder: DualEncoder,
    layout: PromptLayout,
    context: Tensor,
    axis: str,
    deep: Mapping[int, Tensor],
) -> None:
    require_tokens(encoder)
    require_known(axis, get_args(ContextAxis), "unknown context_axis")
    k, m, d = len(layout), layout.n_ctx, encoder.text_width
    lead = {"shared": (), "class": (k,), "image": (context.shape[0],)}[axis]
    if tuple(context.shape) != (*lead, m, d) or 0 in lead:
        shown = {"shared": "", "class": f"K={k}, ", "image": "B, "}[axis]
        raise SpecError(
            f'context: expected shape ({shown}M={m}, d={d}) for context_axis="{axis}", got '
            f"{tuple(context.shape)}"
        )
    longest = int(layout.ends.min()) - 1
    for layer, tokens in deep.items():
        if not 0 <= layer < encoder.text_layers:
            raise SpecError(
                f"deep tokens for layer {layer}: the text tower has layers 0 to {encoder.text_layers - 1}"
            )
        shape = tuple(tokens.shape)
        n = shape[-2] if len(shape) in {2, 3} else 0
        if shape not in {(n, d), (k, n, d)} or not 1 <= n <= longest:
            raise SpecError(
                f"deep tokens for layer {layer}: expected shape (n, d={d}) or (K={k}, n, d={d}) with n "
                f"from 1 to {longest}, got {shape}"
            )
