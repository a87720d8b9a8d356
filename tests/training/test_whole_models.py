"""Training of whole towers and interpolation of their weights."""

import pytest
import torch

from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.training.contrastive_tuning import (
    FLYP,
    ContrastiveTuning,
    Recipe,
    contrastive_tune,
    learning_rate,
)
from vlmcal.training.weight_interpolation import interpolated, with_weights


@pytest.fixture(scope="module")
def encoder():
    return load_backbone("pocket")


def batch(encoder, seed=0, size=3):
    side = encoder.preprocess.size
    stream = torch.Generator().manual_seed(seed)
    pixels = torch.randn(size, 3, side, side, generator=stream)
    ids = torch.full((size, encoder.context_length), encoder.eos_id)
    ids[:, 0] = encoder.sos_id
    ids[:, 1] = torch.arange(size) + 5
    return pixels, ids


def weights(model):
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def test_only_the_student_and_its_teacher_move(encoder):
    before = weights(encoder)
    run = ContrastiveTuning(encoder, 4, Recipe(warmup=0, lr=1e-3))
    run.step(*batch(encoder))
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(encoder).items())
    moved = [n for n, t in weights(run.student).items() if not torch.equal(t, before[n])]
    assert {name.split(".")[0] for name in moved} == {
        *("logit_scale", "text_model", "vision_model", "text_projection", "visual_projection")
    }
    for name, tensor in weights(run.teacher).items():
        if tensor.is_floating_point():
            expected = 0.05 * before[name] + 0.95 * weights(run.student)[name]
            torch.testing.assert_close(tensor, expected)


def test_without_its_three_terms_carot_is_flyp(encoder):
    plain = ContrastiveTuning(encoder, 2, FLYP)
    for _ in range(2):
        losses = plain.step(*batch(encoder))
        assert losses["total"] == losses["contrastive"]


def test_training_lowers_the_loss_and_ends_frozen(encoder):
    run = ContrastiveTuning(encoder, 5, Recipe(lr=1e-4, warmup=0, distillation=0.0))
    losses = [float(run.step(*batch(encoder))["total"]) for _ in range(5)]
    assert losses[-1] < losses[0]
    found = run.finished()
    assert not any(p.requires_grad for p in found.model.parameters())
    again = contrastive_tune(encoder, [batch(encoder)] * 5, 5, run.recipe)
    assert all(torch.equal(t, weights(again)[n]) for n, t in weights(found).items())
    assert float(again.logit_scale) == pytest.approx(float(again.model.logit_scale.exp()))


def test_the_learning_rate_of_a_short_run_by_hand():
    recipe = Recipe(lr=1.0, warmup=2)
    rates = [learning_rate(step, 5, recipe) for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.25])


def test_the_ends_of_the_interpolation_are_the_two_models_bit_for_bit(encoder):
    start = weights(encoder)
    end = {n: t + 0.01 if t.is_floating_point() else t for n, t in start.items()}
    pixels, ids = batch(encoder)
    with torch.no_grad():
        same = with_weights(encoder, interpolated(start, end, 0))
        assert torch.equal(same.encode_pixels(pixels), encoder.encode_pixels(pixels))
        assert torch.equal(same.encode_text_ids(ids), encoder.encode_text_ids(ids))
    assert all(torch.equal(t, end[n]) for n, t in interpolated(start, end, 1).items())
    half = interpolated(start, end, 0.5)["logit_scale"]
    assert float(half) == pytest.approx(float(start["logit_scale"]) + 0.005, abs=1e-6)


def test_what_does_not_fit_is_refused(encoder):
    one = torch.ones(2)
    for other, alpha in (({"b": one}, 0.5), ({"a": torch.ones(3)}, 0.5), ({"a": one}, 1.5)):
        with pytest.raises(SpecError):
            interpolated({"a": one}, other, alpha)
    with pytest.raises(SpecError, match="no tensor"):
        with_weights(encoder, {"logit_scales": one})
    with pytest.raises(SpecError, match="transformers"):
        ContrastiveTuning(object(), 3)
    with pytest.raises(SpecError, match="total_steps"):
        ContrastiveTuning(encoder, 0)
