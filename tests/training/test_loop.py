"""The training loop: learning, resuming, stopping."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vlmcal.errors import SpecError, StoreError, TrainingError
from vlmcal.learners.base import ClassContext
from vlmcal.learners.coop import CoOp
from vlmcal.objectives.base import Term
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.training import checkpoint as checkpoints
from vlmcal.training import loop
from vlmcal.training.config import TrainConfig
from vlmcal.training.loop import TrainingData, fit
from vlmcal.types.features import Features

NAMES = ("cat", "dog", "the photo")


def features(n=24, views=1, seed=0, width=24):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(99).normal(size=(3, width))
    values = centres[labels][:, None] + 0.3 * rng.normal(size=(n, views, width))
    return Features(
        image_features=values.astype(np.float32),
        labels=labels,
        ids=np.arange(n).astype(str),
        views=np.zeros((n, views, 5), dtype=np.float32),
    )


def learner(encoder, seed=1):
    classes = ClassContext(encoder, NAMES, ("a photo of a {}.",))
    return CoOp(classes, CoOp.Config(n_ctx=4), torch_generator(seed, "init"))


def train(encoder, objective="ce", config=None, seed=1, **options):
    config = config or TrainConfig(epochs=4, batch_size=8, lr=0.02)
    model = learner(encoder)
    data = TrainingData(train=features(), validation=features(12, seed=5))
    return fit(model, parse_objective(objective), data, config, seed=seed, **options)


def test_loss_falls_and_events_arrive(tiny_encoder):
    events = []
    config = TrainConfig(epochs=8, batch_size=8, lr=0.02)
    result = train(tiny_encoder, config=config, listeners=[events.append])
    losses = [record["loss"] for record in result.history]
    assert losses[-1] < 0.9 * losses[0]
    assert [event.epoch for event in events] == list(range(8))
    assert events[0].lr == 1e-5
    assert set(events[0].terms) == {"ce"}


def test_same_seed_same_tensors_other_seed_others(tiny_encoder):
    first, again, other = (train(tiny_encoder, seed=s).learner.ctx for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_backbone_is_untouched(tiny_encoder):
    before = {k: v.clone() for k, v in tiny_encoder.model.state_dict().items()}
    train(tiny_encoder, ["ce", "tcpt"])
    after = tiny_encoder.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.grad is None for p in tiny_encoder.model.parameters())


class InterruptedRunError(Exception):
    pass


@pytest.mark.parametrize("objective", ["ce", ["ce", "tcpt"]])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_resuming_gives_the_same_tensors_as_no_interruption(
    tiny_encoder, tmp_path, monkeypatch, objective, optimiser
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    config = TrainConfig(epochs=5, batch_size=8, lr=0.01, optimiser=optimiser)
    whole = train(tiny_encoder, objective, config)
    path = tmp_path / "checkpoint.safetensors"

    def stop(event):
        if event.epoch == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(tiny_encoder, objective, config, checkpoint=path, listeners=[stop])
    resumed = train(tiny_encoder, objective, config, checkpoint=path)
    assert resumed.resumed_from == 2
    assert torch.equal(resumed.learner.ctx, whole.learner.ctx)
    assert resumed.history == whole.history


def test_a_damaged_checkpoint_is_noticed_and_training_starts_anew(tiny_encoder, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(tiny_encoder, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert checkpoints.load_checkpoint(path) is None


def rewritten(path, change):
    with safe_open(path, framework="pt") as stream:
        head = json.loads(stream.metadata()["vlmcal"])
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    change(head, tensors)
    save_file(tensors, path, {"vlmcal": json.dumps(head)})


def nan(head, tensors):
    for key in ("format", "run", "tensors", "checksum"):
        del head[key]  # as the first version of the format wrote it
    tensors["learner/ctx"][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head, _: head.update(format=3), "format 3"),
        (lambda head, _: head.update(format=True), "format True"),
        (lambda head, _: head.pop("checksum"), "expected"),
        (lambda head, _: head.update(epoch=2), "checksum"),
        (lambda head, _: head.update(history=None), "checksum"),
        (lambda _, tensors: tensors.pop("learner/ctx"), "learner/ctx should be .* is absent"),
        (lambda _, tensors: tensors.update(more=torch.ones(1)), "more should be absent"),
        (lambda _, tensors: tensors.update({"learner/ctx": torch.ones(1)}), "other tensors"),
        (lambda _, tensors: tensors["learner/ctx"].add_(1e-3), "checksum"),
        (
            lambda _, tensors: tensors.update({"learner/ctx": tensors["learner/ctx"].half()}),
            "float32.*float16",
        ),
        (nan, "not finite"),
    ],
)
def test_an_edited_checkpoint_is_noticed_and_training_starts_anew(
    tiny_encoder, tmp_path, change, said
):
    path = tmp_path / "checkpoint.safetensors"
    whole = train(tiny_encoder, checkpoint=path)
    rewritten(path, change)
    with pytest.warns(UserWarning, match=f"cannot be read .*{said}"):
        again = train(tiny_encoder, checkpoint=path)
    assert again.resumed_from is None
    assert torch.equal(again.learner.ctx, whole.learner.ctx)


def test_no_changed_bit_of_a_checkpoint_reaches_the_result(tiny_encoder, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(tiny_encoder, checkpoint=path)
    good = path.read_bytes()
    for place in range(0, len(good), len(good) // 60):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.warns(UserWarning, match="training starts anew"):
            assert checkpoints.load_checkpoint(path) is None


def test_a_checkpoint_of_another_run_is_left_aside(tiny_encoder, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(tiny_encoder, checkpoint=path, seed=2)
    with pytest.warns(UserWarning, match="belongs to another run"):
        found = train(tiny_encoder, checkpoint=path, seed=1)
    assert found.resumed_from is None
    assert torch.equal(found.learner.ctx, train(tiny_encoder, seed=1).learner.ctx)


def test_a_checkpoint_with_other_tensors_is_refused(tiny_encoder, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(tiny_encoder, checkpoint=path)
    saved = checkpoints.load_checkpoint(path)
    saved.learner["context"] = saved.learner.pop("ctx")
    checkpoints.save_checkpoint(path, saved)
    with pytest.raises(StoreError, match=r"checkpoint.safetensors does not fit .*ctx.* remove it"):
        train(tiny_encoder, checkpoint=path)


def test_a_single_class_is_trained_with_a_warning(tiny_encoder):
    model = CoOp(ClassContext(tiny_encoder, ("cat",), ("a photo of a {}.",)), CoOp.Config(n_ctx=4))
    data = replace(features(4), labels=np.zeros(4, dtype=np.int64))
    config = TrainConfig(batch_size=4, epochs=1)
    with pytest.warns(UserWarning, match="single class"):
        found = fit(model, parse_objective("ce"), TrainingData(train=data), config, seed=1)
    assert any("single class" in note for note in found.warnings)


def test_more_batch_than_data_warns_and_makes_one_step_per_epoch(tiny_encoder):
    with pytest.warns(UserWarning, match="larger than the 24 training images"):
        result = train(tiny_encoder, config=TrainConfig(epochs=2, batch_size=100))
    assert "larger" in result.warnings[0]


def test_a_broken_loss_stops_with_the_place(tiny_encoder, monkeypatch):
    objective = parse_objective("ce")
    real = type(objective).terms

    def broken(self, outputs):
        terms = real(self, outputs)
        if outputs.step < 4:
            return terms
        return {"ce": Term(terms["ce"].value * float("nan"), 1.0)}

    monkeypatch.setattr(type(objective), "terms", broken)
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 .*Broken: ce"):
        train(tiny_encoder)


def test_missing_inputs_are_refused_before_training(tiny_encoder):
    with pytest.raises(SpecError, match='"dor" needs "outlier_text_features"'):
        train(tiny_encoder, ["ce", "dor"])


def test_views_are_used_in_turn(tiny_encoder):
    seen = []
    model = learner(tiny_encoder)
    original = model.outputs

    def spy(batch):
        seen.append(batch.image_features.clone())
        return original(batch)

    model.outputs = spy
    data = TrainingData(train=features(views=2))
    fit(model, parse_objective("ce"), data, TrainConfig(epochs=2, batch_size=24, views=2), seed=1)
    bank = torch.from_numpy(data.train.image_features)
    for epoch in (0, 1):
        rows = (seen[epoch][:, None] == bank[None, :, epoch]).all(-1).any(1)
        assert bool(rows.all())
