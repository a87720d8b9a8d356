"""The loop's count of right answers, as objectives see it: CRL with ``normalise: range``."""

import pytest
import torch

from vlmcal.learners.base import ClassContext
from vlmcal.learners.coop import CoOp
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.objectives.crl import CRL
from vlmcal.seeding import torch_generator
from vlmcal.training.config import TrainConfig
from vlmcal.training.loop import TrainingData, fit
from vlmcal.types.features import Features

N = 10


@pytest.fixture
def data():
    stream = torch.Generator().manual_seed(0)
    return Features(
        image_features=torch.randn(N, 1, 24, generator=stream).numpy(),
        labels=(torch.arange(N) % 3).numpy(),
        ids=torch.arange(N).numpy().astype(str),
        views=torch.zeros(N, 1, 5).numpy(),
    )


def test_range_sees_the_counts_of_the_whole_training_set(tiny_encoder, data, monkeypatch):
    classes = ClassContext(tiny_encoder, ("cat", "dog", "owl"), ("a photo of a {}.",))
    learner = CoOp(classes, CoOp.Config(n_ctx=4), torch_generator(1, "init"))
    seen, right = [], torch.zeros(N)
    compute = CRL.compute

    def record(self, outputs):
        rows = outputs.sample_index
        counts = outputs.memory["correctness"].clone()
        assert torch.equal(counts, right)
        assert torch.equal(counts[rows], outputs.correctness)
        # An independent count: each batch is judged after the loss has been computed.
        right[rows] += (outputs.logits.argmax(dim=1) == outputs.labels).float()
        low = counts.min()
        share = (counts[rows] - low) / max(outputs.epoch - float(low), 1.0)
        p = outputs.logits.detach().softmax(dim=1).max(dim=1).values
        pairs = [(i, (i + 1) % len(rows)) for i in range(len(rows))]
        terms = [
            max(
                0.0,
                float(-torch.sign(share[i] - share[j]) * (p[i] - p[j]) + abs(share[i] - share[j])),
            )
            for i, j in pairs
        ]
        value = compute(self, outputs)
        assert value.item() == pytest.approx(sum(terms) / len(terms), abs=1e-6)
        seen.append((outputs.epoch, float(low)))
        return value

    monkeypatch.setattr(CRL, "compute", record)
    objective = parse_objective(["ce", {"name": "crl", "normalise": "range"}])
    assert isinstance(objective, Sum)
    config = TrainConfig(epochs=12, batch_size=5, lr=0.05)
    fit(learner, objective, TrainingData(train=data), config, seed=1)
    assert len(seen) == 24
    assert right.max() > right.min()


def test_resuming_keeps_the_counts(tiny_encoder, data, tmp_path, monkeypatch):
    from vlmcal.training import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    objective = parse_objective(["ce", {"name": "crl", "normalise": "range", "weight": 5}])
    config = TrainConfig(epochs=8, batch_size=5, lr=0.05)

    def train(**options):
        classes = ClassContext(tiny_encoder, ("cat", "dog", "owl"), ("a photo of a {}.",))
        learner = CoOp(classes, CoOp.Config(n_ctx=4), torch_generator(1, "init"))
        return fit(learner, objective, TrainingData(train=data), config, seed=1, **options)

    whole = train().learner.ctx

    class StopError(Exception):
        pass

    def stop(event):
        if event.epoch == 4:
            raise StopError

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StopError):
        train(checkpoint=path, listeners=[stop])
    resumed = train(checkpoint=path)
    assert resumed.resumed_from == 4
    assert torch.equal(resumed.learner.ctx, whole)
