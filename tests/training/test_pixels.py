"""Pixels of recorded views, and learners of the image tower in the loop."""

import numpy as np
import pytest
import torch

from vlmcal.backbones.cache import image_features
from vlmcal.errors import DataError, SpecError
from vlmcal.learners.base import ClassContext
from vlmcal.learners.coop import CoOp
from vlmcal.learners.vpt import VPT
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData, evaluation_batches
from vlmcal.training.loop import fit
from vlmcal.training.pixels import PixelBank, pixel_source
from vlmcal.types.dataset import Dataset

NAMES = ("cat", "dog")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(8) % 2
    images = rng.integers(0, 80, (8, 24, 20, 3)).astype(np.uint8)
    images[labels == 1, ..., 0] += 150
    return Dataset(name="made up", images=images, labels=labels, splits=["train"] * 8,
                   class_names=NAMES)  # fmt: skip


def learner(encoder, kind=VPT, **options):
    classes = ClassContext(encoder, NAMES, ("a photo of a {}.",))
    return kind(classes, kind.Config(**options), torch_generator(1, "init"))


@pytest.mark.parametrize("views", [1, 3])
def test_pixels_are_those_of_the_cached_features(tiny_encoder, data, views):
    features = image_features(tiny_encoder, data, views=views, seed=4, cache_dir=False)
    bank = PixelBank(data, features, tiny_encoder.preprocess)
    rows = np.array([5, 0, 3])
    for view in range(views):
        encoded = tiny_encoder.encode_pixels(bank(rows, view))
        torch.testing.assert_close(
            encoded, torch.from_numpy(features.image_features[rows, view]), rtol=1e-5, atol=1e-6
        )
    if views > 1:
        assert features.views[..., 4].any(), "no view of this seed is mirrored"


def test_pixels_are_kept_within_a_budget(tiny_encoder, data, monkeypatch):
    features = image_features(tiny_encoder, data, cache_dir=False)
    one = 3 * 16 * 16 * 4
    bank = PixelBank(data, features, tiny_encoder.preprocess, keep=2 * one)
    first = bank(np.array([1, 2, 3]), 0)
    assert len(bank._kept) == 2
    monkeypatch.setattr(
        "vlmcal.training.pixels.read_image", lambda image: pytest.fail("read again")
    )
    assert torch.equal(bank(np.array([2, 1]), 0), first[[1, 0]])


def test_other_items_are_refused(tiny_encoder, data):
    features = image_features(tiny_encoder, data, cache_dir=False)
    with pytest.raises(DataError, match="8 images but features of 3 other items"):
        PixelBank(data, features.subset([0, 1, 2]), tiny_encoder.preprocess)


def test_only_learners_of_the_image_tower_get_a_source(tiny_encoder, data):
    features = image_features(tiny_encoder, data, cache_dir=False)
    assert pixel_source(learner(tiny_encoder, CoOp), data, features) is None
    assert pixel_source(learner(tiny_encoder), data, features) is not None


def test_the_loop_trains_on_pixels_and_the_teacher_sees_the_same_view(tiny_encoder, data):
    encoder = tiny_encoder.with_logit_scale(20.0)
    features = image_features(encoder, data, views=2, seed=1, cache_dir=False)
    centre = image_features(encoder, data, cache_dir=False)
    model = learner(encoder, n_tokens=2, depth=3)
    original, seen = model.outputs, []

    def spy(batch):
        seen.append((batch.pixels, batch.image_features, batch.second_pixels))
        return original(batch)

    model.outputs = spy
    # avuc looks at the held-out split after every epoch, so both pixel sources are used.
    objective = parse_objective(["ce", {"name": "avuc", "adapt_epochs": 1}])
    source = PixelBank(data, features, encoder.preprocess)
    held_out = PixelBank(data, centre, encoder.preprocess)
    config = TrainConfig(epochs=8, batch_size=4, lr=0.01, warmup_epochs=0, views=2)
    with pytest.raises(SpecError, match='"vpt" changes the image tower and trains on pixels'):
        fit(model, parse_objective("ce"), TrainingData(train=features), config, seed=1)
    material = TrainingData(
        train=features, validation=centre, pixels=source, validation_pixels=held_out
    )
    result = fit(model, objective, material, config, seed=1)
    losses = [record["loss"] for record in result.history]
    assert losses[-1] < losses[0]
    for pixels, frozen, _ in seen:
        torch.testing.assert_close(encoder.encode_pixels(pixels), frozen, rtol=1e-4, atol=1e-5)
    assert not torch.equal(seen[0][0], seen[0][2])
    logits = model.predict(evaluation_batches(model, centre, pixels=held_out, size=3))
    assert logits.shape == (8, 2)


def test_accumulated_batches_make_the_step_of_a_larger_batch(tiny_encoder, data):
    encoder = tiny_encoder.with_logit_scale(20.0)
    features = image_features(encoder, data, cache_dir=False)
    ends = []
    for batch_size, accumulate in ((4, 1), (2, 2), (2, 3)):
        model = learner(encoder, CoOp, n_ctx=2)
        config = TrainConfig(
            epochs=3, batch_size=batch_size, lr=0.05, warmup_epochs=0, accumulate=accumulate
        )
        fit(model, parse_objective("ce"), TrainingData(train=features), config, seed=1)
        ends.append(model.ctx.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(ends[0], ends[2], rtol=1e-3), "an incomplete group is a smaller step"
    with pytest.raises(SpecError, match="accumulate must be a whole number, got 0"):
        TrainConfig(accumulate=0)
