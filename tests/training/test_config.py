import math

import pytest

from vlmcal.errors import SpecError
from vlmcal.training.config import TrainConfig, learning_rate


def test_schedule_is_the_closed_form():
    config = TrainConfig(epochs=10, lr=0.01)
    assert learning_rate(config, 0) == 1e-5
    assert learning_rate(config, 1) == 0.01
    assert learning_rate(config, 6) == pytest.approx(0.005 * (1 + math.cos(math.pi / 2)))
    assert learning_rate(TrainConfig(schedule="constant"), 30) == 2e-3


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"lr": 0.0}, {"views": 0}, {"momentum": 1.0}, {"weight_decay": -1.0}]
)
def test_out_of_range_settings_are_refused(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        TrainConfig(**wrong)
