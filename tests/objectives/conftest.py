"""Small random batches for the tests of single objectives."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import normalize

from vlmcal.types.outputs import Outputs

MakeBatch = Callable[..., Outputs]


@pytest.fixture
def make_batch() -> MakeBatch:
    """Random logits and labels, and unit text features tuned and frozen, in float64."""

    def make(batch: int = 8, classes: int = 4, width: int = 6, seed: int = 0) -> Outputs:
        stream = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        return Outputs(
            logits=3 * random(batch, classes),
            labels=torch.randint(classes, (batch,), generator=stream),
            zero_shot_logits=3 * random(batch, classes),
            image_features=normalize(random(batch, width), dim=-1),
            text_features=normalize(random(classes, width), dim=-1),
            frozen_text_features=normalize(random(classes, width), dim=-1),
        )

    return make
