"""Frozen blocks that autocast need not cast in every step."""

import pytest
import torch
from torch import nn

from vlmcal.backbones.cast_once import cast_once
from vlmcal.learners.image_tokens import encode_image, image_tower
from vlmcal.text_encoding import PromptLayout, encode_prompts

KINDS = [torch.bfloat16, torch.float16]


def text_and_image(encoder):
    layout = PromptLayout.build(encoder, ["cat", "dog", "the photo"], n_ctx=2)
    context = torch.full((2, encoder.text_width), 0.1, requires_grad=True)
    tokens = {0: torch.full((1, encoder.image_width), 0.1, requires_grad=True)}
    pixels = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)
    text = encode_prompts(encoder, layout, context)
    image = encode_image(encoder, pixels, tokens)
    graded = torch.autograd.grad(text[0].sum() + image[0].sum(), [context, tokens[0]])
    return text, image, *graded


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_numbers_are_those_of_autocast(tiny_encoder, precision, monkeypatch):
    mixed = tiny_encoder.with_precision(precision)
    once = text_and_image(mixed)
    monkeypatch.setattr(type(tiny_encoder), "as_computed", lambda self, blocks: blocks)
    anew = text_and_image(tiny_encoder.with_precision(precision))
    for got, wanted in zip(once, anew, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_one_cast_serves_every_copy_of_an_encoder(tiny_encoder):
    first, second = (tiny_encoder.with_precision("bfloat16") for _ in range(2))
    for block, same in zip(first.text_tower.layers, second.text_tower.layers, strict=True):
        assert block is same
        assert block.mlp.fc1.weight.dtype == torch.bfloat16
        assert block.layer_norm1.weight.dtype == torch.float32
    assert image_tower(first).layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16
    assert tiny_encoder.text_tower.layers[0].mlp.fc1.weight.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_changed_weights_are_cast_anew(kind):
    block = nn.Sequential(nn.Linear(3, 3)).requires_grad_(False)
    (before,) = cast_once([block], kind)
    with torch.no_grad():
        block[0].weight.add_(1.0)
    (after,) = cast_once([block], kind)
    torch.testing.assert_close(after[0].weight, block[0].weight.to(kind))
    assert after is not before
    block[0].weight.data = torch.zeros(3, 3)
    assert not cast_once([block], kind)[0][0].weight.any()


def test_what_is_trained_compiled_or_not_in_single_precision_stays_as_it_is():
    trained = nn.Sequential(nn.Linear(2, 2))
    double = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64)).requires_grad_(False)
    compiled = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    compiled[0].compile(backend="eager")
    for block in (trained, double, compiled):
        assert cast_once([block], torch.bfloat16)[0] is block
    frozen = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    assert cast_once([frozen], torch.bfloat16)[0] is not frozen
    frozen.requires_grad_()
    assert cast_once([frozen], torch.bfloat16)[0] is frozen


def test_casts_made_in_inference_serve_a_backward_pass():
    block = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    with torch.inference_mode():
        (cast,) = cast_once([block], torch.bfloat16)
    rows = torch.ones(1, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast(rows).sum().backward()
    assert bool(rows.grad.any())
