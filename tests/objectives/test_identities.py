"""Identities between objectives that must hold whatever the numbers are."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


def make(name: str, **fields: object) -> Objective:
    return OBJECTIVES.get(name)(**fields)


def value_and_gradient(objective: Objective, outputs: Outputs) -> tuple[Tensor, Tensor]:
    outputs.logits.requires_grad_(True)
    value = objective.loss(outputs)
    (gradient,) = torch.autograd.grad(value, outputs.logits)
    return value, gradient


SAME = [
    (make("smac", alpha=0), make("mdca")),
    (make("mbls", margin=math.inf), make("ce")),
    (make("mbls", alpha=0), make("ce")),
    (make("label_smoothing", alpha=0), make("ce")),
    (make("label_smoothing", alpha=0, form="others"), make("ce")),
    (make("label_smoothing", alpha=0.2), make("label_smoothing", alpha=0.15, form="others")),
    (make("focal", gamma=0), make("ce")),
    (make("dual_focal", gamma=0), make("ce")),
    (make("flsd", gamma_low=2, gamma_high=2), make("focal", gamma=2)),
    (make("flsd", switch=0), make("focal", gamma=3)),
    (make("ada_focal", gamma=3), make("focal", gamma=3)),
    (make("entropy_penalty", alpha=0), make("ce")),
    (make("l1_penalty", alpha=0), make("ce")),
    (make("acls", alpha=0), make("ce")),
    (make("clue", alpha=1), make("ce")),
]


@pytest.mark.parametrize(("left", "right"), SAME, ids=lambda o: repr(o))
@pytest.mark.parametrize("seed", [0, 1])
def test_same_value_and_gradient(make_batch, left, right, seed):
    outputs = make_batch(seed=seed)
    for got, want in zip(
        value_and_gradient(left, outputs), value_and_gradient(right, outputs), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_smoothing_forms_convert_for_any_number_of_classes(make_batch):
    for classes in (2, 3, 7):
        outputs = make_batch(classes=classes)
        spread = make("label_smoothing", alpha=0.3)
        others = make("label_smoothing", alpha=0.3 * (classes - 1) / classes, form="others")
        torch.testing.assert_close(spread.loss(outputs), others.loss(outputs))


def test_smoothing_against_an_explicit_target(make_batch):
    outputs = make_batch(classes=5)
    hot = one_hot(outputs.labels, 5).double()
    target = hot * 0.8 + (1 - hot) * 0.2 / 4
    want = cross_entropy(outputs.logits, target)
    got = make("label_smoothing", alpha=0.2, form="others").loss(outputs)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", ["focal", "dual_focal", "ada_focal"])
def test_powers_below_one_keep_a_finite_gradient_at_certainty(name):
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    outputs = Outputs(logits=logits, labels=torch.tensor([0]))
    (gradient,) = torch.autograd.grad(make(name, gamma=0.5).loss(outputs), logits)
    assert torch.isfinite(gradient).all()


def test_batch_sums_are_means_times_the_batch_size(make_batch):
    outputs = make_batch(batch=8)
    for name in ("focal", "flsd", "dual_focal", "ada_focal"):
        summed = make(name, reduction="sum").loss(outputs)
        torch.testing.assert_close(summed, 8 * make(name).loss(outputs))


def test_penalty_vanishes_inside_the_zero_shot_range(make_batch):
    outputs = make_batch()
    equal = replace(outputs, zero_shot_logits=outputs.logits.detach())
    assert make("zs_penalty").loss(equal) == 0
    wider = replace(outputs, zero_shot_logits=2 * outputs.logits.detach())
    low, high = wider.zero_shot_logits.aminmax(dim=1, keepdim=True)
    inside = (outputs.logits >= low) & (outputs.logits <= high)
    assert bool(inside.all()) == (float(make("zs_penalty").loss(wider)) == 0)


def test_penalty_against_loops(make_batch):
    outputs = make_batch(batch=3, classes=4)
    excess = 0.0
    for z, u in zip(outputs.logits.tolist(), outputs.zero_shot_logits.tolist(), strict=True):
        excess += sum(max(0, value - max(u)) + max(0, min(u) - value) for value in z)
    assert float(make("zs_penalty").loss(outputs)) == pytest.approx(excess / 12)
    assert make("zs_penalty").weight == 10


def test_zs_norm_is_a_temperature_per_sample(make_batch):
    outputs = make_batch()
    z, u = outputs.logits, outputs.zero_shot_logits
    ratio = (u.max(1).values - u.min(1).values) / (z.max(1).values - z.min(1).values)
    want = cross_entropy(z * ratio[:, None], outputs.labels)
    torch.testing.assert_close(make("zs_norm").loss(outputs), want)
    equal = replace(outputs, zero_shot_logits=z.detach())
    torch.testing.assert_close(make("zs_norm").loss(equal), make("ce").loss(outputs))


def test_zs_norm_of_constant_rows_is_uniform_and_the_released_form_is_nan():
    outputs = Outputs(
        logits=torch.full((2, 4), 3.0),
        labels=torch.tensor([0, 1]),
        zero_shot_logits=torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(2, 1),
    )
    assert float(make("zs_norm").loss(outputs)) == pytest.approx(math.log(4))
    assert torch.isnan(make("zs_norm", epsilon=0).loss(outputs))


def test_logit_norm_ignores_the_length_of_logits(make_batch):
    outputs = make_batch()
    longer = replace(outputs, logits=7 * outputs.logits)
    torch.testing.assert_close(
        make("logit_norm").loss(outputs), make("logit_norm").loss(longer), rtol=1e-6, atol=0
    )


def test_calibration_terms_vanish_for_calibrated_batches():
    logits = torch.log(torch.tensor([[0.75, 0.25]] * 4, dtype=torch.float64))
    outputs = Outputs(logits=logits, labels=torch.tensor([0, 0, 0, 1]))
    for name in ("dca", "mdca"):
        assert float(make(name).loss(outputs)) == pytest.approx(0, abs=1e-12)
    assert float(make("soft_ece").loss(outputs)) == pytest.approx(0, abs=1e-12)
    assert float(make("mmce", form="unweighted").loss(outputs)) == pytest.approx(0, abs=1e-12)
    # The weighted form averages each side by itself: (0.25 - 0.75)^2.
    assert float(make("mmce").loss(outputs)) == pytest.approx(0.5)


def test_two_class_smac_and_confidence_gap(make_batch):
    outputs = make_batch(classes=2)
    p = softmax(outputs.logits, dim=1)
    share = outputs.labels.double().mean()
    want = (p[:, 1].mean() - (0.9 * share + (1 - share) * 0.1)).abs()
    torch.testing.assert_close(make("smac", alpha=0.1).loss(outputs), want)
