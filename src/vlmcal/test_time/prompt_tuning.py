"""One image at a time: a few optimiser steps on a fresh copy of the prompt, predict, reset; in batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.objectives.base import Objective, weighted_sum
from vlmcal.objectives.tpt_entropy import confident_views, mean_entropy
from vlmcal.options import check_fields
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.types.limits import NotNegative, Part, Positive, Whole
from vlmcal.types.outputs import Outputs

Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How one image tunes the prompt.

    Attributes:
        steps: Optimiser steps; 0 leaves the prompt as it is.
        lr: Learning rate of AdamW (betas 0.9 and 0.999, eps 1e-8); its first step moves every coordinate by
            about this much, whatever the size of the gradient.
        weight_decay: Of AdamW, decoupled.
        share: Share of the views, those of lowest entropy, that the loss sees; at least one. They are
            chosen once, under the prompt before the first step.

    Raises:
        SpecError: A value is out of range.
    """

    steps: Whole = 1
    lr: Positive = 5e-3
    weight_decay: NotNegative = 0.01
    share: Part = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "test time")


class Tuned(NamedTuple):
    """What tuning on B images gave, one prompt each.

    Attributes:
        context: (B, M, d) learned tokens after the last step.
        text_features: (B, K, D), normalised.
        logits: (B, V, K) of all views under the tuned prompts; view 0 is the answer.
        selected: (B, n) views that the loss saw, by rising entropy.
        losses: (steps, B) minimised value before each step.
        entropy: (steps, B) its entropy part, in nats.
        gradient: (B, M, d) of the last step; zeros without a step.
    """

    context: Tensor
    text_features: Tensor
    logits: Tensor
    selected: Tensor
    losses: Tensor
    entropy: Tensor
    gradient: Tensor


def tune(
    encoder: DualEncoder,
    layout: PromptLayout,
    start: Tensor,
    views: Tensor,
    regulariser: Objective | None = None,
    steps: Steps = Steps(),
) -> Tuned:
    r"""Tune a fresh copy of the prompt on each image, all images of a batch side by side.

    For image i with views v the loss is

    .. math:: L_i = H\Bigl( \frac{1}{|S_i|} \sum_{v \in S_i} p_{iv} \Bigr) + w R(t(\theta_i))

    with H the entropy in nats, S_i the confident views, and R a regulariser of the text features. Every
    image has its own prompt and optimiser state: the optimiser works on each coordinate alone, so stacking
    the prompts changes no number. The text tower sees only the tokens that depend on the prompt.

    Args:
        encoder: The frozen dual encoder.
        layout: The K prompts.
        start: (M, d) prompt that every image starts from.
        views: (B, V, D) normalised image features; view 0 is the evaluation view and competes like any.
        regulariser: Objective on text features, with its weight; None for TPT.
        steps: Number and size of the steps.

    Source: Shu et al., Test-time prompt tuning, NeurIPS 2022, arXiv 2209.07511.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> layout = PromptLayout.build(encoder, ["zero", "one", "two"], n_ctx=2)
        >>> views = normalize(torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
        >>> out = tune(encoder, layout, torch.zeros(2, encoder.text_width), views)
        >>> tuple(out.logits.shape), bool((out.context[0] != out.context[1]).any())
        ((2, 8, 3), True)
    """
    scale = encoder.logit_scale.detach()
    encode = features_in(
        lambda tokens: encode_prompts(encoder, layout, tokens, context_axis="image"), views.dtype
    )
    with torch.no_grad():
        before = encode(start.detach()[None])[0]
    return tune_prompt(encode, scale, start.detach(), views, before, regulariser, steps)


def tune_prompt(
    encode: Encode,
    scale: Tensor,
    start: Tensor,
    views: Tensor,
    before: Tensor,
    regulariser: Objective | None = None,
    steps: Steps = Steps(),
) -> Tuned:
    """:func:`tune` for any way from contexts to text features.

    Args:
        encode: Normalised text features (B, K, D) under contexts (B, M, d).
        scale: The logit scale.
        start: (M, d).
        views: (B, V, D).
        before: (K, D) features under ``start``.
        regulariser: As in :func:`tune`.
        steps: Likewise.
    """
    context = start.expand(len(views), *start.shape).clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([context], lr=steps.lr, weight_decay=steps.weight_decay)
    with torch.no_grad():
        logits = scale * views @ before.T
        selected = torch.stack([confident_views(one, steps.share) for one in logits])
    seen = torch.take_along_dim(views, selected[..., None], dim=1)
    losses, entropies = [], []
    for _ in range(steps.steps):
        with torch.enable_grad():
            text = encode(context)
            entropy = torch.stack([mean_entropy(z) for z in scale * seen @ text.mT])
            loss = entropy
            if regulariser is not None:
                terms = (regulariser.terms(Outputs(text_features=one)) for one in text)
                loss = entropy + torch.stack([weighted_sum(each) for each in terms])
        (context.grad,) = torch.autograd.grad(loss.sum(), context)
        optimiser.step()
        losses.append(loss.detach())
        entropies.append(entropy.detach())
    with torch.no_grad():
        text = encode(context) if steps.steps else before.expand(len(views), -1, -1)
    gradient = torch.zeros_like(context) if context.grad is None else context.grad
    empty = views.new_zeros(0, len(views))
    return Tuned(
        context=context.detach(),
        text_features=text,
        logits=scale * views @ text.mT,
        selected=selected,
        losses=torch.stack(losses) if losses else empty,
        entropy=torch.stack(entropies) if entropies else empty,
        gradient=gradient,
    )


def features_in(encode: Encode, dtype: torch.dtype) -> Encode:
    """``encode`` with its features normalised and of one type."""
    return lambda tokens: normalize(encode(tokens).to(dtype), dim=-1)


def view_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the prediction of each view, (..., V) of logits (..., V, K).

    Example:
        >>> round(float(view_entropy(torch.zeros(1, 2))[0]), 4)
        0.6931
    """
    log_p = log_softmax(logits, dim=-1)
    p = log_p.exp()
    return -torch.where(p > 0, p * log_p, 0).sum(dim=-1)  # a logit of minus infinity has none
