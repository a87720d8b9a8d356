"""The test-time objective on views of one image."""

import math

import pytest
import torch

from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.tpt_entropy import confident_views
from vlmcal.types.outputs import Outputs


def test_keeps_the_floor_of_the_share_and_at_least_one():
    logits = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    chosen = confident_views(logits, 0.1)
    assert chosen.tolist() == entropy.argsort()[:6].tolist()
    assert confident_views(logits[:8], 0.1).tolist() == [int(entropy[:8].argmin())]
    assert confident_views(logits[:8], 0.1, 0).tolist() == []
    assert len(confident_views(logits[:3], 1.0, 9)) == 3


def test_few_views_are_nan_only_as_released():
    outputs = Outputs(logits=torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    kind = OBJECTIVES.get("tpt_entropy")
    assert torch.isfinite(kind().loss(outputs))
    assert torch.isnan(kind(minimum_views=0).loss(outputs))


def test_entropy_of_the_mean_prediction():
    p = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]], dtype=torch.float64)
    value = OBJECTIVES.get("tpt_entropy")(share=0.7).loss(Outputs(logits=p.log()))
    # floor(3 * 0.7) = 2 views: mean (0.6, 0.4).
    assert float(value) == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4))
    alone = OBJECTIVES.get("tpt_entropy")(share=0.1).loss(Outputs(logits=p.log()))
    assert float(alone) == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
