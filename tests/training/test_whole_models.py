"""Interpolation of the weights of whole models."""

import pytest
import torch

from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.learners.averaging import interpolated
from vlmcal.learners.whole_model import encode_with, tower_tensors


def test_the_ends_of_the_interpolation_are_the_two_models_bit_for_bit():
    encoder = load_backbone("pocket")
    side = encoder.preprocess.size
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    start = tower_tensors(encoder, "image")
    end = {name: tensor + 0.01 for name, tensor in start.items()}
    with torch.no_grad():
        same = encode_with(encoder, "image", interpolated(start, end, 0), pixels)
        assert torch.equal(same, encoder.encode_pixels(pixels))
    assert all(torch.equal(t, end[n]) for n, t in interpolated(start, end, 1).items())
    half = interpolated(start, end, 0.5)
    assert all(torch.allclose(t, start[n] + 0.005, atol=1e-6) for n, t in half.items())


def test_what_does_not_fit_is_refused():
    one = torch.ones(2)
    for other, alpha in (({"b": one}, 0.5), ({"a": torch.ones(3)}, 0.5), ({"a": one}, 1.5)):
        with pytest.raises(SpecError):
            interpolated({"a": one}, other, alpha)
