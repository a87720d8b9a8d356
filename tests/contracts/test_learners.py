"""What every registered learner must do, whatever it learns."""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch

from tiny_clip import make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.experiment.saved import load_learner, save_learner
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.training import loop
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData, evaluation_batches
from vlmcal.training.loop import fit
from vlmcal.training.side_by_side import alone, side_by_side
from vlmcal.types.features import Features

NAMES = ("cat", "the_dog photo", "of")
NEW_NAMES = ("annual crop land", "dog")
TEMPLATES = ("a photo of a {}.", "the {}.")
EACH = pytest.mark.parametrize("name", LEARNERS.names())
TRAINED = pytest.mark.parametrize("name", [n for n, kind in LEARNERS.items() if kind.trainable])


class Material:
    """Images of a tiny problem under two views, with the features of one encoder."""

    def __init__(self, encoder, n=12, classes=3):
        self.encoder = encoder
        draw = np.random.default_rng(0)
        labels = np.arange(n) % classes
        size = encoder.preprocess.size
        pictures = draw.normal(size=(classes, 1, 3, size, size))[labels]
        pixels = pictures + 0.3 * draw.normal(size=(n, 2, 3, size, size))
        self.images = torch.tensor(pixels, dtype=encoder.dtype)
        views = [encoder.encode_pixels(self.images[:, v]).float() for v in range(2)]
        self.features = Features(
            image_features=torch.stack(views, dim=1).numpy(),
            labels=labels,
            ids=np.arange(n).astype(str),
            views=np.zeros((n, 2, 5)),
        )

    def pixels(self, rows, view):
        return self.images[rows, view]

    def data(self):
        return TrainingData(train=self.features, validation=self.features, pixels=self.pixels)

    def batches(self, learner, size=500):
        pixels = self.pixels if learner.consumes == "pixels" else None
        return list(evaluation_batches(learner, self.features, pixels=pixels, size=size))


def make(name, encoder, names=NAMES, seed=1):
    kind = LEARNERS.get(name)
    classes = ClassContext(encoder, names, TEMPLATES)
    return kind(classes, kind.Config(**kind.small), torch_generator(seed, "init"))


def recipe(learner, **changes):
    settings = {"epochs": 5, "batch_size": 6, "optimiser": "adam", "lr": 5e-3, "warmup_epochs": 0}
    return TrainConfig(**(settings | changes))


def train(learner, material, **changes):
    objective = parse_objective(list(learner.default_objective))
    options = {k: changes.pop(k) for k in ("checkpoint", "listeners") if k in changes}
    return fit(learner, objective, material.data(), recipe(learner, **changes), seed=1, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_tiny_clip(tmp_path_factory.mktemp("tiny"), text_layers=4, image_layers=4))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_backbone(folder).with_logit_scale(20.0)


@pytest.fixture(scope="module")
def material(encoder):
    return Material(encoder)


@pytest.fixture(scope="module")
def trained(encoder, material):
    @cache
    def get(name):
        learner = make(name, encoder)
        before = {k: v.detach().clone() for k, v in learner.named_parameters()}
        return train(learner, material), before

    return get


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [hook for module in model.modules() for kind in kinds for hook in getattr(module, kind)]


@TRAINED
def test_runs_side_by_side_end_as_they_would_alone(name, encoder, material):
    def trainings():
        for seed in (1, 2):
            learner = make(name, encoder, seed=seed)
            objective = parse_objective(list(learner.default_objective))
            how = recipe(learner, epochs=2, batch_size=4 + seed)
            yield loop.training(learner, objective, material.data(), how, seed=seed)

    apart = [alone(each).learner.state_dict() for each in trainings()]
    ended = dict(side_by_side(list(trainings())))
    for index, expected in enumerate(apart):
        found = ended[index].learner.state_dict()
        assert list(found) == list(expected)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, equal_nan=True)


@EACH
def test_the_backbone_is_bit_for_bit_what_it_was(name, encoder, material, trained):
    model = encoder.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    names = [n for n, _ in model.named_modules()]
    train(make(name, encoder), material, epochs=1)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not hooks(model)
    assert [n for n, _ in model.named_modules()] == names
    assert not model.training


@TRAINED
def test_training_moves_every_declared_tensor_and_the_loss_falls(name, trained):
    result, before = trained(name)
    losses = [record["loss"] for record in result.history]
    assert all(np.isfinite(losses))
    # A teacher adds nothing to the loss of the first step.
    first = losses[1] if "teacher_scale" in result.learner.provides else losses[0]
    assert losses[-1] < first, losses
    after = dict(result.learner.named_parameters())
    assert set(after) == set(before)
    still = [k for k in after if after[k].shape == before[k].shape and after[k].equal(before[k])]
    assert not still, f"never moved: {still}"
    grouped = [p for g in result.learner.parameter_groups(0.1) for p in g["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in after.values()}
    assert len(grouped) == len(after)


@EACH
def test_saving_and_loading_reproduces_logits_bit_for_bit(
    name, encoder, material, trained, tmp_path
):
    learner = trained(name)[0].learner.eval()
    save_learner(learner, tmp_path)
    again = load_learner(tmp_path, encoder)
    batches = material.batches(learner)
    assert torch.equal(learner.predict(batches), again.predict(batches))
    assert set(again.state_dict()) == set(learner.state_dict())


@EACH
def test_other_class_names_after_loading_or_a_clear_refusal(
    name, encoder, material, trained, tmp_path
):
    learner = trained(name)[0].learner.eval()
    save_learner(learner, tmp_path)
    again = load_learner(tmp_path, encoder)
    assert again.for_classes(NAMES) is again
    if learner.per_class:
        with pytest.raises(SpecError, match=r"no path to other class names .*such as coop"):
            again.for_classes(NEW_NAMES)
        return
    batches = material.batches(learner)
    new = learner.for_classes(NEW_NAMES)
    assert new.classes.class_names == NEW_NAMES
    logits = new.predict(batches)
    assert logits.shape == (12, len(NEW_NAMES))
    assert torch.equal(logits, again.for_classes(NEW_NAMES).predict(batches))
    assert torch.equal(new.for_classes(NAMES).predict(batches), learner.predict(batches))


@EACH
def test_predictions_do_not_depend_on_how_they_are_batched(name, material, trained):
    learner = trained(name)[0].learner.eval()
    whole, parts = learner.predict(material.batches(learner)), material.batches(learner, size=5)
    assert [len(b.labels) for b in parts] == [5, 5, 2]
    torch.testing.assert_close(learner.predict(parts), whole, rtol=1e-4, atol=1e-4)
    assert whole.dtype == torch.float32
    assert not whole.requires_grad


@EACH
def test_one_class_is_enough(name, encoder):
    material = Material(encoder, n=4, classes=1)
    learner = make(name, encoder, ("the dog",))
    result = train(learner, material, epochs=2, batch_size=4)
    assert all(np.isfinite(record["loss"]) for record in result.history)
    assert learner.eval().predict(material.batches(learner)).shape == (4, 1)


@EACH
def test_a_bfloat16_tower_keeps_learned_tensors_and_logits_in_float32(name, folder):
    encoder = load_backbone(folder, dtype=torch.bfloat16).with_logit_scale(20.0)
    material = Material(encoder)
    learner = make(name, encoder)
    result = train(learner, material, epochs=2)
    assert {p.dtype for p in learner.parameters()} <= {torch.float32}
    assert all(np.isfinite(record["loss"]) for record in result.history)
    logits = learner.eval().predict(material.batches(learner))
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(logits).all())


@EACH
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_keeps_learned_tensors_and_logits_in_float32(
    name, precision, encoder, material
):
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    learners = [make(name, encoder.with_precision(p)) for p in ("off", precision)]
    found = []
    for learner in learners:
        learner.begin(material.features, material.features)
        (batch,) = material.batches(learner)
        outputs = learner.eval().outputs(batch)
        loss = torch.nn.functional.cross_entropy(outputs.logits, outputs.labels)
        tuned = list(learner.parameters())
        slopes = torch.autograd.grad(loss, tuned, allow_unused=True) if tuned else ()
        assert bool(torch.isfinite(loss))
        assert {s.dtype for s in slopes if s is not None} <= {torch.float32}
        parts = (outputs.logits, outputs.raw_image_features, outputs.raw_text_features)
        assert {t.dtype for t in (*parts, outputs.logit_scale)} == {torch.float32}
        found.append((outputs.logits.detach(), slopes))
    (plain, slopes), (mixed, mixed_slopes) = found
    # A bfloat16 number is right to 0.4 %; the logits of this tower reach from -20 to 20.
    torch.testing.assert_close(mixed, plain, rtol=0.02, atol=0.5)
    # A method that runs no tower in a step cannot have a number changed by mixed precision.
    assert torch.equal(mixed, plain) == (not learners[0].opens(learners[0].config))
    for slope, other in zip(slopes, mixed_slopes, strict=True):
        if slope is not None and slope.norm() > 1e-4:
            assert torch.cosine_similarity(slope.flatten(), other.flatten(), dim=0) > 0.95
    result = train(learners[1], material, epochs=2, precision=precision)
    assert all(np.isfinite(record["loss"]) for record in result.history)
    assert {p.dtype for p in learners[1].parameters()} <= {torch.float32}
    logits = learners[1].eval().predict(material.batches(learners[1]))
    assert logits.dtype == torch.float32
    after = encoder.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


class StopHereError(Exception):
    pass


@TRAINED
def test_resuming_gives_the_same_tensors_as_no_interruption(
    name, encoder, material, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = trained(name)[0].learner.state_dict()
    path = tmp_path / "checkpoint.safetensors"

    def stop(event):
        if event.epoch == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        train(make(name, encoder), material, checkpoint=path, listeners=[stop])
    resumed = train(make(name, encoder, seed=9), material, checkpoint=path)
    assert resumed.resumed_from == 2
    state = resumed.learner.state_dict()
    assert all(torch.equal(state[k], whole[k]) for k in whole)


@EACH
def test_the_start_is_drawn_from_its_generator_and_touches_no_global_state(name, encoder):
    before = torch.get_rng_state()
    first, again, other = (make(name, encoder, seed=s).state_dict() for s in (1, 1, 2))
    plain = LEARNERS.get(name)(ClassContext(encoder, NAMES, TEMPLATES), make(name, encoder).config)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert set(plain.state_dict()) == set(other)


@EACH
def test_declarations_are_consistent(name, encoder):
    kind = LEARNERS.get(name)
    learner = make(name, encoder)
    assert kind.name == name
    assert kind.consumes in ("features", "pixels")
    assert kind.trainable == bool(list(learner.parameters())) or not kind.trainable
    assert kind.ignores <= {"shots", "seed", "objective", "train"}
    assert kind.trainable or "objective" in kind.ignores
    parse_objective(list(kind.default_objective))
    TrainConfig(**kind.default_train)
    for preset, content in kind.presets.items():
        assert set(content) <= {"method", "train", "objective", "source"}, preset
        assert "objective" not in content or "objective" not in kind.ignores, preset
        assert content["source"], preset
        kind.Config(**content.get("method", {}))
        TrainConfig(**{**kind.default_train, **content.get("train", {})})
    documented = kind.Config.__doc__ or ""
    own = [f.name for f in fields(kind.Config) if f.name in kind.Config.__annotations__]
    assert [f for f in own if f not in documented] == []
    assert "Source:" in (kind.__doc__ or "")


def test_preset_names_are_unique_and_no_method_names():
    presets = [p for _, kind in LEARNERS.items() for p in vars(kind).get("presets", {})]
    assert len(presets) == len(set(presets))
    assert not set(presets) & set(LEARNERS.names())


@EACH
def test_outlier_words_only_where_declared(name, encoder, trained):
    learner = trained(name)[0].learner
    if learner.encodes_other_names:
        features = learner.outlier_features(NEW_NAMES)
        assert features.shape == (2, encoder.embed_dim)
        torch.testing.assert_close(features, learner.for_classes(NEW_NAMES).text_features())
    else:
        with pytest.raises(SpecError, match="no prompt that applies to other names"):
            learner.outlier_features(NEW_NAMES)


def test_a_batch_without_pixels_is_fine_for_learners_on_features(encoder, material):
    learner = make("coop", encoder)
    batch = Batch(image_features=torch.randn(2, encoder.embed_dim), labels=torch.tensor([0, 1]))
    assert learner.predict([batch]).shape == (2, 3)
