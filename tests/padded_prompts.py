"""The plain way: every class as a padded prompt through the library's own forward.

For contract tests and benchmarks; slow by design, and written without any of the fast path.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmcal.backbones.base import DualEncoder
from vlmcal.text_encoding.layout import PromptLayout


def encode_prompts_reference(
    encoder: DualEncoder,
    layout: PromptLayout,
    context: Tensor,
    *,
    context_axis: str = "shared",
    deep: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """Projected text features (K, D), or (B, K, D) for context per image.

    Each prompt is padded to the full context length. A hook on the token embedding puts the context
    in, and hooks before the layers put deep tokens in; everything else is the library's code.

    Args:
        encoder: A CLIP of the transformers library, or an encoder of own towers.
        layout: The K prompts.
        context: (M, d), (K, M, d) or (B, M, d).
        context_axis: "shared", "class" or "image".
        deep: Per layer, (n, d) or (K, n, d).
    """
    if context_axis == "image":
        return torch.stack([_encode(encoder, layout, row, deep or {}) for row in context])
    return _encode(encoder, layout, context, deep or {})


def _encode(
    encoder: DualEncoder, layout: PromptLayout, context: Tensor, deep: Mapping[int, Tensor]
) -> Tensor:
    k, length = layout.ids.shape
    window = length if encoder.padding == "longest" else encoder.window
    ids = torch.full((k, window), encoder.pad_id, dtype=torch.long)
    slots = torch.full_like(ids, -1)
    ids[:, :length], slots[:, :length] = layout.ids, layout.slots
    # The library pools at the first end token, so placeholders must be ordinary tokens.
    used = {encoder.sos_id, encoder.eos_id, encoder.pad_id}
    ids[slots >= 0] = next(token for token in range(4) if token not in used)
    ids, put = ids.to(encoder.device), _put_context(context, slots)
    model: Any = encoder.model
    if not hasattr(model, "text_model"):  # the names of the transformers library
        return model["text"].encode(put(None, None, encoder.embed_tokens(ids)), ids, deep=deep)  # type: ignore[no-any-return]
    with ExitStack() as hooks:
        embedding = model.text_model.embeddings.token_embedding
        hooks.enter_context(_hook(embedding.register_forward_hook(put)))
        for layer, tokens in deep.items():
            block: Any = encoder.text_tower.layers[layer]
            hooks.enter_context(_hook(block.register_forward_pre_hook(_put_deep(tokens))))
        return encoder.encode_text_ids(ids)


def _put_context(context: Tensor, slots: Tensor) -> Callable[[Any, Any, Tensor], Tensor]:
    def hook(_module: Any, _args: Any, embedded: Tensor) -> Tensor:
        if not context.shape[-2]:
            return embedded
        at = slots.clamp(min=0).to(embedded.device)
        per_class = context if context.ndim == 3 else context.expand(len(at), -1, -1)
        chosen = per_class.to(embedded).gather(1, at[..., None].expand_as(embedded))
        return torch.where((slots >= 0).to(embedded.device)[..., None], chosen, embedded)

    return hook


def _put_deep(tokens: Tensor) -> Callable[[Any, Any], tuple[Any, ...]]:
    def hook(_module: Any, args: Any) -> tuple[Any, ...]:
        hidden: Tensor = args[0]
        n = tokens.shape[-2]
        new = tokens.to(hidden).expand(len(hidden), -1, -1)
        return (torch.cat([hidden[:, :1], new, hidden[:, n + 1 :]], dim=1), *args[1:])

    return hook


@contextmanager
def _hook(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
