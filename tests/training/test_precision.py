"""Mixed precision: the recipe's setting, loss scaling for float16, and what a saved run remembers."""

import contextlib
import json

import numpy as np
import pytest
import torch

from vlmcal.errors import BackboneError, SpecError
from vlmcal.experiment.plan import plan, run_id
from vlmcal.experiment.saved import load_learner, save_learner
from vlmcal.experiment.spec import load_spec
from vlmcal.learners.base import ClassContext
from vlmcal.learners.coop import CoOp
from vlmcal.learners.image_tokens import encode_image, image_tower
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.training import loop, loss_scale
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData, evaluation_batches
from vlmcal.training.loop import fit
from vlmcal.types.features import Features

NAMES = ("cat", "dog", "the photo")


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return tiny_encoder.with_logit_scale(20.0)


@pytest.fixture(scope="module")
def features():
    draw = np.random.default_rng(3)
    labels = np.arange(14) % 3
    values = draw.normal(size=(3, 24))[labels] + 0.3 * draw.normal(size=(14, 24))
    return Features(
        image_features=values[:, None].astype(np.float32),
        labels=labels,
        ids=np.arange(14).astype(str),
        views=np.zeros((14, 1, 5)),
    )


def train(encoder, features, precision, objective="ce", on=None, **settings):
    recipe = {"epochs": 4, "batch_size": 4, "lr": 0.05, "warmup_epochs": 0, "precision": precision}
    options = {k: settings.pop(k) for k in ("checkpoint", "listeners") if k in settings}
    classes = ClassContext(encoder.with_precision(on or precision), NAMES, ("a {}.",))
    learner = CoOp(classes, CoOp.Config(n_ctx=3), torch_generator(1, "init"))
    config = TrainConfig(**(recipe | settings))
    data = TrainingData(train=features)
    return fit(learner, parse_objective(objective), data, config, seed=1, **options)


@pytest.mark.parametrize("objective", ["ce", ["ce", "prograd"]])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_scaled_losses_give_the_very_same_steps(
    encoder, features, monkeypatch, objective, accumulate
):
    """With the towers left in float32, multiplying by a power of two and dividing again is exact."""
    settings = {"objective": objective, "accumulate": accumulate}
    plain = train(encoder, features, "off", **settings)
    monkeypatch.setattr(type(encoder), "computing", lambda self: contextlib.nullcontext())
    monkeypatch.setattr(type(encoder), "as_computed", lambda self, blocks: blocks)
    scaled = train(encoder, features, "float16", **settings)
    torch.testing.assert_close(scaled.learner.ctx, plain.learner.ctx, rtol=1e-6, atol=1e-8)
    losses = [[record["loss"] for record in each.history] for each in (plain, scaled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("objective", ["ce", ["ce", "prograd"]])
def test_training_ends_near_that_in_float32_but_not_at_it(encoder, features, precision, objective):
    plain, mixed = (train(encoder, features, p, objective) for p in ("off", precision))
    start = CoOp(plain.learner.classes, CoOp.Config(n_ctx=3), torch_generator(1, "init")).ctx
    moved = (plain.learner.ctx - start).norm()
    apart = (plain.learner.ctx - mixed.learner.ctx).norm()
    assert 0 < apart < 0.2 * moved
    assert mixed.warnings == []


def test_small_gradients_survive_float16_only_because_of_the_scale(encoder, features, monkeypatch):
    # A weight of 1e-7 puts every gradient below the smallest float16 number, 6e-8.
    objective = [{"name": "ce", "weight": 1e-7}]
    settings = {"weight_decay": 0.0, "lr": 1e4, "epochs": 1}
    wanted = train(encoder, features, "off", objective, **settings).learner.ctx
    start = CoOp(ClassContext(encoder, NAMES, ("a {}.",)), CoOp.Config(n_ctx=3),
                 torch_generator(1, "init")).ctx  # fmt: skip
    errors = []
    for scale in (1.0, 2.0**20):
        monkeypatch.setattr(loss_scale, "FIRST_SCALE", scale)
        got = train(encoder, features, "float16", objective, **settings).learner.ctx
        errors.append(((got - wanted).norm() / (wanted - start).norm()).item())
    assert errors[0] > 0.5
    assert errors[1] < 0.1


def test_steps_that_overflow_are_left_out_and_told(encoder, features, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST_SCALE", 2.0**40)
    with pytest.warns(UserWarning, match=r"float16: \d+ steps were left out"):
        result = train(encoder, features, "float16", epochs=12)
    assert "left out" in result.warnings[0]
    assert bool(torch.isfinite(result.learner.ctx).all())
    assert result.history[-1]["loss"] < result.history[0]["loss"]


class StopHereError(Exception):
    pass


def test_resuming_takes_up_the_loss_scale(encoder, features, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loss_scale, "FIRST_SCALE", 2.0**34)
    path = tmp_path / "checkpoint.safetensors"

    def stop(event):
        if event.epoch == 3:
            raise StopHereError

    with pytest.warns(UserWarning, match="left out"):
        whole = train(encoder, features, "float16", epochs=8)
    with pytest.raises(StopHereError):
        train(encoder, features, "float16", epochs=8, checkpoint=path, listeners=[stop])
    with pytest.warns(UserWarning, match="left out"):
        resumed = train(encoder, features, "float16", epochs=8, checkpoint=path)
    assert resumed.resumed_from == 3
    assert torch.equal(resumed.learner.ctx, whole.learner.ctx)
    assert resumed.warnings == whole.warnings


def test_a_learner_on_an_encoder_of_another_precision_is_refused(encoder, features):
    with pytest.raises(SpecError, match=r'precision "off"; build it on .*\("bfloat16"\)'):
        train(encoder, features, "bfloat16", on="off")
    with pytest.raises(SpecError, match=r"train.precision must be .* got 'float15'; .*\"float16\""):
        TrainConfig(precision="float15")
    with pytest.raises(BackboneError, match='"bfloat15"; did you mean "bfloat16"'):
        encoder.with_precision("bfloat15")


def test_other_weights_than_float32_are_refused(tiny_folder):
    from vlmcal.backbones import load_backbone

    wide = load_backbone(str(tiny_folder), dtype=torch.float64)
    with pytest.raises(BackboneError, match=r"float32 weights, these are torch\.float64"):
        wide.with_precision("bfloat16")


def test_predictions_of_a_loaded_run_are_in_the_precision_of_its_recipe(
    encoder, features, tmp_path
):
    learner = train(encoder, features, "bfloat16").learner.eval()
    save_learner(learner, tmp_path)
    again = load_learner(tmp_path, encoder)
    assert again.encoder.precision == "bfloat16"
    assert again.for_classes(("owl", "fox")).encoder.precision == "bfloat16"
    logits, same = (each.predict(evaluation_batches(each, features)) for each in (learner, again))
    assert torch.equal(logits, same)
    head = tmp_path / "learner.json"
    told = json.loads(head.read_text().replace('"bfloat16"', '"off"'))
    del told["checksum"]  # as the first version of the format wrote it
    head.write_text(json.dumps({**told, "format": 1}))
    exact = load_learner(tmp_path, encoder).predict(evaluation_batches(learner, features))
    assert 0 < (exact - logits).abs().max() < 0.5


def test_what_is_encoded_once_is_exact(encoder):
    mixed = encoder.with_precision("bfloat16")
    assert mixed.fingerprint == encoder.fingerprint
    assert torch.equal(mixed.encode_texts(["a cat"]), encoder.encode_texts(["a cat"]))
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed.encode_pixels(pixels), encoder.encode_pixels(pixels))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_blocks_compute_in_the_precision_and_features_come_out_in_float32(encoder, precision):
    mixed, seen = encoder.with_precision(precision), []
    layers = (mixed.text_tower.layers[0], image_tower(mixed).layers[0])
    watched = [each.mlp.register_forward_hook(lambda m, a, rows: seen.append(rows.dtype))
               for each in layers]  # fmt: skip
    layout = PromptLayout.build(mixed, NAMES, n_ctx=2)
    text = encode_prompts(mixed, layout, torch.zeros(2, mixed.text_width))
    image = encode_image(mixed, torch.zeros(1, 3, 16, 16))
    for handle in watched:
        handle.remove()
    assert seen == 2 * [getattr(torch, precision)]
    assert text.dtype == image.dtype == torch.float32
    # Not merely cast back: projected in float32, they are no float16 numbers.
    assert all(not torch.equal(each, each.to(seen[0]).float()) for each in (text, image))


def test_precision_is_in_the_id_and_off_is_not(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("data: digits\nmethod: coop\n")

    def of(*overrides):
        (cell,) = plan(load_spec(path, overrides))
        return cell, run_id(cell, "data", "weights")

    assert of() == of("train.precision=off") == of("train.precision='off'")
    assert of() != of("train.precision=bfloat16") != of("train.precision=float16")


@pytest.mark.parametrize(
    ("field", "wrong", "near"),
    [
        ("optimiser", "adamv", "adam"),
        ("schedule", "cosin", "cosine"),
        ("precision", "bfloat", "bfloat16"),
    ],
)
def test_a_misspelt_choice_of_the_recipe_is_refused(field, wrong, near):
    refusal = rf"train.{field} must be one of .*, got '{wrong}'; did you mean \"{near}\""
    with pytest.raises(SpecError, match=refusal):
        TrainConfig(**{field: wrong})


def test_tf32_rounds_products_forward_and_back_and_leaves_the_switch_as_it_was(encoder, features):
    before, seen = torch.get_float32_matmul_precision(), []
    rounded = encoder.with_precision("tf32")
    mlp = rounded.text_tower.layers[0].mlp

    def forward(*_):
        if torch.is_grad_enabled():  # not what is encoded once
            seen.append(torch.get_float32_matmul_precision())

    def backward(*_):
        seen.append(torch.get_float32_matmul_precision())

    handles = [mlp.register_forward_hook(forward), mlp.register_full_backward_hook(backward)]
    result = train(encoder, features, "tf32", epochs=1)
    for handle in handles:
        handle.remove()
    assert len(seen) == 6  # three steps
    assert set(seen) == {"high"}
    assert torch.get_float32_matmul_precision() == before == "highest"
    assert rounded.fingerprint == encoder.fingerprint
    plain = train(encoder, features, "off", epochs=1)
    # on hardware without TF32 nothing is rounded; where there is, to a thousandth
    torch.testing.assert_close(result.learner.ctx, plain.learner.ctx, rtol=1e-2, atol=1e-3)
    assert result.learner.ctx.dtype == torch.float32
