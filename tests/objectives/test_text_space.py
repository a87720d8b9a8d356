"""Text-space objectives against direct formulas."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


def make(name, **fields):
    return OBJECTIVES.get(name)(**fields)


def covariance(rows):
    # np.cov takes a single row for a single variable in some releases
    centred = rows - rows.mean(0)
    return centred.T @ centred / len(rows)


def moments(tuned, frozen):
    difference = tuned.mean(0) - frozen.mean(0)
    spread = covariance(tuned) - covariance(frozen)
    return float(difference @ difference), float((spread**2).sum())


@pytest.mark.parametrize(("classes", "width"), [(3, 8), (8, 3), (5, 5), (2, 4), (1, 4)])
def test_text_moments_are_numpys(make_batch, classes, width):
    outputs = make_batch(classes=classes, width=width)
    tuned, frozen = (
        t.detach().numpy() for t in (outputs.text_features, outputs.frozen_text_features)
    )
    mean, spread = moments(tuned, frozen)
    assert float(make("text_moments").loss(outputs)) == pytest.approx(mean + spread)
    only = make("text_moments", mean_weight=0).loss(outputs)
    assert float(only) == pytest.approx(spread, abs=1e-15)


def test_text_moments_are_zero_at_the_frozen_features(make_batch):
    outputs = make_batch(classes=5, width=9)
    text = outputs.frozen_text_features.clone().requires_grad_()
    value = make("text_moments").loss(replace(outputs, text_features=text))
    (gradient,) = torch.autograd.grad(value, text)
    assert value == 0
    assert not gradient.any()


def test_text_moments_ignore_the_order_of_classes_but_not_a_shift(make_batch):
    outputs = make_batch(classes=5, width=9)
    shuffled = replace(outputs, text_features=outputs.text_features[[4, 2, 0, 1, 3]])
    torch.testing.assert_close(
        make("text_moments").loss(shuffled), make("text_moments").loss(outputs)
    )
    shifted = replace(outputs, text_features=outputs.text_features + 0.1)
    only = make("text_moments", mean_weight=0)
    torch.testing.assert_close(only.loss(shifted), only.loss(outputs))
    assert float(make("text_moments").loss(shifted)) != pytest.approx(
        float(make("text_moments").loss(outputs))
    )


def test_text_moments_keep_their_accuracy_close_to_the_frozen_features():
    stream = torch.Generator().manual_seed(0)
    frozen = normalize(torch.randn(50, 512, generator=stream, dtype=torch.float64), dim=-1)
    step = 1e-4 * torch.randn(50, 512, generator=stream, dtype=torch.float64)
    tuned = normalize(frozen + step, dim=-1)
    objective = make("text_moments", mean_weight=0)
    exact = float(objective.loss(Outputs(text_features=tuned, frozen_text_features=frozen)))
    single = Outputs(text_features=tuned.float(), frozen_text_features=frozen.float())
    assert float(objective.loss(single)) == pytest.approx(exact, rel=2e-3)
    assert exact > 0


def test_angular_separation_of_two_classes_is_their_cosine(make_batch):
    outputs = make_batch(classes=2)
    cosine = outputs.text_features[0] @ outputs.text_features[1]
    torch.testing.assert_close(make("angular_separation").loss(outputs), cosine)


def test_kgcoop_is_half_the_squared_distance(make_batch):
    outputs = make_batch()
    squared = (outputs.text_features - outputs.frozen_text_features).square().sum(1).mean()
    torch.testing.assert_close(make("kgcoop").loss(outputs), squared / 2)
    assert make("kgcoop").weight == 8


def test_dor_only_looks_at_outliers(make_batch):
    outputs = make_batch()
    words = normalize(torch.randn(9, 6, dtype=torch.float64), dim=-1)
    same = Outputs(outlier_text_features=words, frozen_outlier_text_features=words.clone())
    assert float(make("dor").loss(same)) == pytest.approx(0, abs=1e-12)
    opposite = replace(same, outlier_text_features=-words)
    assert float(make("dor").loss(opposite)) == pytest.approx(2)
    with pytest.raises(SpecError, match=r"\(9, 6\).*\(4, 6\)"):
        make("dor").loss(replace(same, frozen_outlier_text_features=words[:4]))
    assert make("dor").weight == 8
    assert "text_features" not in make("dor").required
    assert outputs is not None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_householder_form_equals_the_reflections(make_batch, share):
    outputs = make_batch(classes=5, width=9)
    common = outputs.text_features.mean(0, keepdim=True)
    text = normalize((1 - share) * outputs.text_features + share * common, dim=-1)
    outputs = replace(outputs, text_features=text)
    torch.testing.assert_close(
        make("text_orthogonality").loss(outputs),
        make("text_orthogonality", literal=True).loss(outputs),
    )


def test_orthonormal_features_have_the_right_limit():
    text = torch.eye(3, 5, dtype=torch.float64, requires_grad=True)
    outputs = Outputs(text_features=text)
    value = make("text_orthogonality").loss(outputs)
    (gradient,) = torch.autograd.grad(value, text)
    assert value == 0
    assert torch.isfinite(gradient).all()
    assert torch.isnan(make("text_orthogonality", literal=True).loss(outputs))
    assert float(make("text_orthogonality", form="frobenius").loss(outputs)) == 0


def test_frobenius_orthogonality():
    outputs = Outputs(text_features=torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    value = make("text_orthogonality", form="frobenius").loss(outputs)
    assert float(value) == pytest.approx(2 * 0.36)


def test_dispersion_of_a_triangle():
    turn = [0, 2 * math.pi / 3, 4 * math.pi / 3]
    text = torch.tensor([[math.cos(t), math.sin(t)] for t in turn])
    assert float(make("text_dispersion").loss(Outputs(text_features=text))) == pytest.approx(-1)


def test_dispersion_of_equal_features_has_a_finite_gradient():
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = make("text_dispersion").loss(Outputs(text_features=text))
    (gradient,) = torch.autograd.grad(value, text)
    assert value == 0
    assert torch.isfinite(gradient).all()


def test_angles_and_the_released_sign():
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    outputs = Outputs(text_features=text)
    assert float(make("text_angles").loss(outputs)) == pytest.approx(-math.pi / 2)
    assert float(make("text_angles", released_sign=True).loss(outputs)) == pytest.approx(
        math.pi / 2
    )


def test_minimising_the_described_angle_term_spreads_classes():
    text = torch.tensor([[1.0, 0.0], [0.8, 0.6]], requires_grad=True)
    for released, moves_apart in ((False, True), (True, False)):
        value = make("text_angles", released_sign=released).loss(Outputs(text_features=text))
        (gradient,) = torch.autograd.grad(value, text)
        moved = normalize((text - 0.01 * gradient).detach(), dim=-1)
        assert bool(moved[0] @ moved[1] < 0.8) == moves_apart


def test_prompt_diversity_between_contexts_prompts_and_classes():
    pair = torch.tensor([[1.0, 0.0], [-0.6, 0.8]])
    contexts = Outputs(prompt_text_features=pair)
    assert float(make("prompt_diversity").loss(contexts)) == pytest.approx(0.6)
    classes = Outputs(text_features=pair)
    assert float(make("prompt_diversity", between="classes").loss(classes)) == pytest.approx(0.6)
    # Three classes with these two prompts each.
    prompts = Outputs(text_features=pair.repeat(3, 1, 1), logits=torch.zeros(7, 3))
    assert float(make("prompt_diversity", between="prompts").loss(prompts)) == pytest.approx(0.6)
    with pytest.raises(SpecError, match="found only one"):
        make("prompt_diversity", between="prompts").loss(classes)


def test_groups_of_text_features():
    text = torch.randn(4, 3, 2)
    per_image = Outputs(text_features=text, logits=torch.zeros(4, 3))
    assert torch.equal(text_groups(per_image, "x"), text)
    per_prompt = Outputs(text_features=text, logits=torch.zeros(9, 4))
    assert torch.equal(text_groups(per_prompt, "x"), text.transpose(0, 1))
    shared = Outputs(text_features=text[0])
    assert torch.equal(text_groups(shared, "x"), text[:1])
    with pytest.raises(SpecError, match=r"\(4, 3, 2\).*K = 5"):
        text_groups(Outputs(text_features=text, logits=torch.zeros(9, 5)), "x")


def test_text_losses_refuse_other_classes(make_batch):
    outputs = make_batch(classes=4)
    outputs.frozen_text_features = outputs.frozen_text_features[:3]
    for name in ("text_moments", "kgcoop"):
        with pytest.raises(SpecError, match=r"\(4, 6\).*\(3, 6\)"):
            make(name).loss(outputs)
