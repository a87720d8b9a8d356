"""Narrow inputs are widened, wide ones are never narrowed."""

import torch

from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.precision import full_precision, promoted
from vlmcal.types.outputs import Outputs


def test_only_narrow_tensors_are_widened():
    outputs = Outputs(
        logits=torch.ones(1, 2, dtype=torch.float16),
        labels=torch.tensor([0]),
        text_features=torch.ones(2, 2, dtype=torch.float64),
        parameters={"a": torch.ones(1, dtype=torch.bfloat16)},
    )
    wide = promoted(outputs)
    assert wide.logits.dtype == torch.float32
    assert wide.labels.dtype == torch.int64
    assert wide.text_features.dtype == torch.float64
    assert wide.parameters["a"].dtype == torch.float32
    assert wide.memory is outputs.memory
    assert promoted(wide) is wide


def test_gradients_reach_the_narrow_tensor():
    logits = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = OBJECTIVES.get("ce")().loss(Outputs(logits=logits, labels=torch.tensor([0])))
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16
    assert loss.dtype == torch.float32


def test_products_are_taken_outside_of_autocast():
    outputs = Outputs(logits=torch.ones(2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (outputs.logits @ outputs.logits).dtype == torch.bfloat16
        with full_precision(outputs):
            assert (outputs.logits @ outputs.logits).dtype == torch.float32


def test_small_covariance_differences_survive_bfloat16_autocast():
    stream = torch.Generator().manual_seed(0)
    frozen = torch.nn.functional.normalize(torch.randn(50, 512, generator=stream), dim=-1)
    tuned = torch.nn.functional.normalize(
        frozen + 0.01 * torch.randn(50, 512, generator=stream), dim=-1
    )
    objective = OBJECTIVES.get("text_moments")(mean_weight=0)
    outputs = Outputs(text_features=tuned, frozen_text_features=frozen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = objective.loss(outputs)
    exact = objective.loss(
        Outputs(text_features=tuned.double(), frozen_text_features=frozen.double())
    )
    torch.testing.assert_close(cast.double(), exact, rtol=1e-3, atol=0)
