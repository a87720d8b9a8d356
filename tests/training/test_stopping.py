"""Which epoch a run ends with."""

import numpy as np
import pytest
import torch

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.posthoc.refinement_stopping import choose_by_refinement
from vlmcal.seeding import torch_generator
from vlmcal.training import loop
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData, evaluation_batches
from vlmcal.training.loop import fit
from vlmcal.training.stopping import held_out_value
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions

NAMES = ("cat", "dog", "car")
CRITERIA = ("loss", "accuracy", "refinement")


def features(seed, n=60, noise=5.0):
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(0).normal(size=(3, 1, 32))
    rows = centres[labels] + noise * draw.normal(size=(n, 1, 32))
    return Features(image_features=rows.astype(np.float32), labels=labels,
                    ids=np.arange(n).astype(str), views=np.zeros((n, 1, 5)))  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return tiny_encoder.with_logit_scale(20.0)


@pytest.fixture(scope="module")
def material(encoder):
    width = encoder.embed_dim
    pad = np.zeros((60, 1, max(0, width - 32)), np.float32)

    def fitted(rows):
        wide = np.concatenate([rows.image_features, pad], axis=2)[:, :, :width]
        return Features(image_features=wide, labels=rows.labels, ids=rows.ids, views=rows.views)

    return fitted(features(1)), fitted(features(2))


def run(encoder, material, name="task_res", validation=True, **changes):
    kind = LEARNERS.get(name)
    learner = kind(
        ClassContext(encoder, NAMES, ("a {}.",)),
        kind.Config(**kind.small),
        torch_generator(1, "init"),
    )
    settings = {
        "epochs": 14,
        "optimiser": "adam",
        "lr": 0.3,
        "warmup_epochs": 0,
        "schedule": "constant",
    }
    options = {k: changes.pop(k) for k in ("checkpoint", "listeners") if k in changes}
    train, held = material
    data = TrainingData(train=train, validation=held if validation else None)
    return fit(
        learner, parse_objective("ce"), data, TrainConfig(**(settings | changes)), seed=1, **options
    )


def held_out(learner, material):
    logits = learner.eval().predict(evaluation_batches(learner, material[1]))
    return Predictions(logits=logits.numpy(), labels=material[1].labels, split="val")


@pytest.mark.parametrize("stop", CRITERIA)
def test_the_run_ends_with_the_best_epoch(stop, encoder, material):
    result = run(encoder, material, stop=stop)
    values = [record["held_out"] for record in result.history]
    assert len(values) == 14
    best = int(np.argmin(values))
    assert held_out_value(stop, held_out(result.learner, material)) == pytest.approx(values[best])
    same = run(encoder, material, epochs=best + 1)
    assert torch.equal(same.learner.eval().text_features(), result.learner.text_features())
    last = run(encoder, material)
    assert "held_out" not in last.history[0]


def test_over_confidence_ends_the_raw_loss_before_refinement(encoder, material):
    found = {s: [r["held_out"] for r in run(encoder, material, stop=s).history] for s in CRITERIA}
    assert np.argmin(found["loss"]) < np.argmin(found["refinement"])
    assert min(found["refinement"]) <= min(found["loss"])


def test_the_criterion_is_that_of_choosing_afterwards():
    draw = np.random.default_rng(3)
    rows = {str(i): Predictions(logits=s * draw.normal(size=(50, 3)), labels=np.arange(50) % 3, split="val")
            for i, s in enumerate((0.1, 1, 9))}  # fmt: skip
    choice = choose_by_refinement(rows)
    for name, part in choice.table.items():
        assert held_out_value("refinement", rows[name]) == pytest.approx(part.refinement)
        assert held_out_value("loss", rows[name]) == pytest.approx(part.loss)


class StopHereError(Exception):
    pass


def test_resuming_remembers_the_best_epoch(encoder, material, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "checkpoint.safetensors"
    whole = run(encoder, material, stop="loss")

    def stop(event):
        assert event.held_out is not None
        if event.epoch == 10:
            raise StopHereError

    with pytest.raises(StopHereError):
        run(encoder, material, stop="loss", checkpoint=path, listeners=[stop])
    resumed = run(encoder, material, stop="loss", checkpoint=path)
    assert resumed.resumed_from == 10
    assert torch.equal(resumed.learner.text_features(), whole.learner.text_features())
    assert np.argmin([r["held_out"] for r in whole.history]) < 10


def test_what_cannot_be_stopped_is_refused(encoder, material):
    with pytest.raises(SpecError, match="this run has none"):
        run(encoder, material, stop="loss", validation=False)
    with pytest.raises(SpecError, match='did you mean "refinement"'):
        TrainConfig(stop="refinment")
