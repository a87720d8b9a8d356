"""AdaFocal's powers follow the validation split."""

import math

import pytest
import torch

from vlmcal.objectives.ada_focal import EDGES, GAMMAS, AdaFocal
from vlmcal.objectives.compose import parse_objective
from vlmcal.types.outputs import Outputs


def validation(confidences, correct):
    c = torch.tensor(confidences, dtype=torch.float64)
    labels = 1 - torch.tensor(correct, dtype=torch.int64)
    return Outputs(validation_logits=torch.stack([c, 1 - c], dim=1).log(), validation_labels=labels)


def test_powers_grow_in_overconfident_bins():
    memory = {}
    objective = AdaFocal(bins=2)
    objective.on_epoch_end(validation([0.6, 0.7, 0.8, 0.9], [1, 1, 0, 0]), memory)
    # Median edge 0.75; gaps: 0.65 - 1 and 0.85 - 0.
    assert memory[EDGES].tolist() == pytest.approx([0.75])
    assert memory[GAMMAS].tolist() == pytest.approx([math.exp(-0.35), math.exp(0.85)])
    objective.on_epoch_end(validation([0.6, 0.7, 0.8, 0.9], [1, 1, 0, 0]), memory)
    assert memory[GAMMAS].tolist() == pytest.approx([math.exp(-0.7), math.exp(1.7)])


def test_small_powers_change_sign_and_all_are_clipped():
    rule = AdaFocal()
    powers = rule.next_gammas(
        torch.tensor([0.25, -0.25, 15.0, -1.9]), torch.tensor([-0.9, 0.9, 0.9, -0.9])
    )
    assert powers.tolist() == pytest.approx([-0.2, 0.2, 20, -2])


def test_the_loss_uses_the_bin_of_the_true_class_probability():
    memory = {GAMMAS: torch.tensor([2.0, -1.0]), EDGES: torch.tensor([0.5])}
    p = torch.tensor([[0.3, 0.7], [0.8, 0.2]], dtype=torch.float64)
    outputs = Outputs(logits=p.log(), labels=torch.tensor([0, 0]), memory=memory)
    want = -(0.7**2) * math.log(0.3) - 1.8 * math.log(0.8)
    assert float(AdaFocal(reduction="sum").loss(outputs)) == pytest.approx(want)


def test_bins_without_validation_samples_keep_their_power():
    memory = {}
    AdaFocal(bins=15).on_epoch_end(validation([0.6, 0.9], [1, 1]), memory)
    assert memory[GAMMAS].shape == (15,)
    assert int((memory[GAMMAS] != 1).sum()) == 2
    assert torch.isfinite(memory[GAMMAS]).all()
    memory = {}
    AdaFocal(bins=3, gamma=0.1).on_epoch_end(validation([0.6, 0.6], [1, 1]), memory)
    assert sorted(memory[GAMMAS].tolist()) == pytest.approx([-0.2, 0.1, 0.1])


def test_one_bin_works():
    memory = {}
    AdaFocal(bins=1).on_epoch_end(validation([0.6, 0.9], [1, 0]), memory)
    assert memory[GAMMAS].tolist() == pytest.approx([math.exp(0.25)])
    outputs = Outputs(logits=torch.zeros(2, 2), labels=torch.tensor([0, 1]), memory=memory)
    assert torch.isfinite(AdaFocal(bins=1).loss(outputs))


def test_a_sum_passes_the_end_of_the_epoch_on():
    memory = {}
    objective = parse_objective(["ada_focal", "dca"])
    assert {"validation_logits", "validation_labels"} <= objective.needs
    objective.on_epoch_end(validation([0.6, 0.9], [1, 0]), memory)
    assert set(memory) == {GAMMAS, EDGES}
