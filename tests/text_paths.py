"""The fast path of learned prompts against the padded forward, values and gradients."""

import torch

from padded_prompts import encode_prompts_reference
from vlmcal.text_encoding import encode_prompts

FEATURES = {torch.float32: 1e-6, torch.float64: 1e-10}
GRADIENTS = {torch.float32: 1e-5, torch.float64: 1e-9}


def draw(encoder, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = 0.3 * torch.randn(*shape, encoder.text_width, generator=generator, dtype=torch.float64)
    return values.to(encoder.dtype).requires_grad_()


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def agree(encoder, layout, context, deep=None, axis="shared", **options):
    """Features and gradients of both paths agree; returns the fast features."""
    deep = deep or {}
    ours = encode_prompts(encoder, layout, context, context_axis=axis, deep=deep, **options)
    theirs = encode_prompts_reference(encoder, layout, context, context_axis=axis, deep=deep)
    assert ours.shape == theirs.shape
    assert relative(ours, theirs) < FEATURES[encoder.dtype]
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(ours.shape, generator=generator, dtype=encoder.dtype)
    inputs = [t for t in (context, *deep.values()) if t.numel()]
    pairs = zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    )
    for mine, reference in pairs:
        assert reference.abs().max() > 1e-3
        assert relative(mine, reference) < GRADIENTS[encoder.dtype]
    return ours


def shape_of(axis, count, n_ctx, batch=3):
    return {"shared": (n_ctx,), "class": (count, n_ctx), "image": (batch, n_ctx)}[axis]
