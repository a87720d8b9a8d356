"""Margin and logit objectives against numbers worked out by hand."""

import pytest
import torch

from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.predictions import margins
from vlmcal.types.outputs import Outputs

HAND = Outputs(logits=torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]]), labels=torch.tensor([0, 1]))


def test_margins_of_the_worked_example():
    assert margins(HAND.logits, HAND.labels).tolist() == [2, -3]


def test_margin_mean_var_of_the_worked_example():
    # Mean -0.5, population variance 6.25: 0.1 * 0.5 + 0.01 * 6.25.
    assert float(OBJECTIVES.get("margin_mean_var")().loss(HAND)) == pytest.approx(0.1125)


def test_margin_mean_var_of_one_sample_has_no_variance():
    one = Outputs(logits=HAND.logits[:1], labels=HAND.labels[:1])
    assert float(OBJECTIVES.get("margin_mean_var")().loss(one)) == pytest.approx(-0.2)


def test_margin_band_of_the_worked_example():
    # |2 - 1| - 0.2 = 0.8 and |-3 - 1| - 0.2 = 3.8; (0.64 + 14.44) / 2 + 0.01 * 6.25.
    assert float(OBJECTIVES.get("margin_band")().loss(HAND)) == pytest.approx(7.6025)


def test_mbls_counts_every_class_in_its_mean():
    outputs = Outputs(logits=torch.tensor([[0.0, 20.0, 15.0, 5.0]]), labels=torch.tensor([1]))
    hinge = OBJECTIVES.get("mbls")(with_ce=False, alpha=1).loss(outputs)
    assert float(hinge) == pytest.approx((10 + 5) / 4)


def test_acls_hinges():
    outputs = Outputs(
        logits=torch.tensor([[0.0, 13.0, 1.0]], dtype=torch.float64), labels=torch.tensor([1])
    )
    kind = OBJECTIVES.get("acls")
    # Largest logit 13: 3 above the margin; the others are 3 and 2 beyond it.
    got = kind(with_ce=False, alpha=1).loss(outputs)
    assert float(got) == pytest.approx(9 + 0.1 * (9 + 4) / 2)
    centred = kind(with_ce=False, alpha=1, centred=True, negative=0).loss(outputs)
    assert float(centred) == pytest.approx(0)


def test_acls_stops_the_gradient_of_the_largest_logit_in_its_second_hinge():
    logits = torch.tensor([[0.0, 13.0, 1.0]], requires_grad=True)
    outputs = Outputs(logits=logits, labels=torch.tensor([1]))
    objective = OBJECTIVES.get("acls")(with_ce=False, alpha=1, positive=0, negative=1)
    (gradient,) = torch.autograd.grad(objective.loss(outputs), logits)
    assert gradient.tolist() == [[-3, 0, -2]]


def test_crl_against_loops(make_batch):
    outputs = make_batch(batch=6)
    outputs.correctness = torch.tensor([0.0, 2, 2, 5, 1, 0])
    outputs.epoch = 5
    k = torch.softmax(outputs.logits, dim=1).max(dim=1).values.tolist()
    h = [float(c) / 5 for c in outputs.correctness]
    want = 0.0
    for i in range(6):
        j = (i + 1) % 6
        sign = (h[i] > h[j]) - (h[i] < h[j])
        want += max(0, -sign * (k[i] - k[j]) + abs(h[i] - h[j])) / 6
    assert float(OBJECTIVES.get("crl")().loss(outputs)) == pytest.approx(want)


def test_crl_in_the_first_epoch_is_zero(make_batch):
    outputs = make_batch(batch=6)
    outputs.correctness = torch.zeros(6)
    assert float(OBJECTIVES.get("crl")().loss(outputs)) == 0


def test_crl_by_range_needs_the_counts_of_all_samples(make_batch):
    outputs = make_batch(batch=6)
    outputs.correctness, outputs.epoch = torch.arange(6.0) + 1, 7
    objective = OBJECTIVES.get("crl")(normalise="range")
    with pytest.raises(Exception, match="normalise: epochs"):
        objective.loss(outputs)
    outputs.memory = {"correctness": torch.tensor([1.0, 6.0])}
    shifted = OBJECTIVES.get("crl")().loss(
        Outputs(logits=outputs.logits, correctness=torch.arange(6.0), epoch=6)
    )
    torch.testing.assert_close(objective.loss(outputs), shifted)
