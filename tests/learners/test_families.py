"""Every method on every kind of backbone: it trains with gradients, or says beforehand why it cannot."""

import numpy as np
import pytest
import torch

from tiny_towers import LAYOUTS, make_tiny_tower
from vlmcal.backbones import load_backbone
from vlmcal.errors import BackboneError, SpecError
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.learners.image_tokens import encode_image
from vlmcal.seeding import torch_generator
from vlmcal.types.features import Features

NAMES = ("cat", "dog", "sea lake")
CLOSED = {"openclip_resnet": "ModifiedResNet", "medclip_resnet": "ResNet", "medclip_swin": "Swin"}


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "tower"
            made[name] = load_backbone(str(make_tiny_tower(name, folder)))
        return made[name]

    return get


def features_file(folder, dimension=16):
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    centres = draw.normal(size=(3, dimension)).astype(np.float32)
    file = folder / "clinic.npz"
    noise = draw.normal(size=(60, dimension)).astype(np.float32)
    np.savez(
        file,
        image_features=centres[labels] + noise,
        labels=labels,
        class_names=np.array(NAMES),
        text_features=centres,
        logit_scale=50.0,
        splits=np.array(["train"] * 30 + ["val"] * 12 + ["test"] * 18),
    )
    return file


def make(name, encoder, templates=("a photo of a {}.", "the {}.")):
    kind = LEARNERS.get(name)
    classes = ClassContext(encoder, NAMES, templates)
    return kind(classes, kind.Config(**kind.small), torch_generator(0, "init"))


def example(encoder, n=6):
    draw = np.random.default_rng(0)
    labels = np.arange(n) % 3
    features = Features(
        image_features=draw.normal(size=(n, 2, encoder.embed_dim)).astype(np.float32),
        labels=labels,
        ids=np.arange(n).astype(str),
        views=np.zeros((n, 2, 5)),
    )
    size = encoder.preprocess.size
    pixels = torch.from_numpy(draw.normal(size=(2, n, 3, size, size)).astype(np.float32))
    bank = torch.from_numpy(features.image_features)
    batch = Batch(
        image_features=bank[:, 0],
        labels=torch.from_numpy(labels),
        sample_index=torch.arange(n),
        second_image_features=bank[:, 1],
        pixels=pixels[0],
        second_pixels=pixels[1],
        seed=0,
    )
    return features, batch


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", LEARNERS.names())
def test_a_method_works_on_a_family_or_says_why_not(towers, layout, method):
    encoder = towers(layout)
    closed = CLOSED.get(layout)
    kind = LEARNERS.get(method)
    if closed and "image" in kind.opens(kind.Config(**kind.small)):
        with pytest.raises(
            BackboneError, match=rf'"{method}" changes the image tower, but .* {closed}'
        ):
            make(method, encoder)
        return
    learner = make(method, encoder)
    features, batch = example(encoder)
    learner.begin(features, features)
    outputs = learner.train().outputs(batch)
    assert outputs.logits.shape[0] == 6
    assert bool(torch.isfinite(outputs.logits).all())
    if not kind.trainable:
        return
    outputs.logits[:, 0].sum().backward()  # log-probabilities have a logsumexp of 0
    if "head_logits" not in kind.provides and method != "dept":
        grads = [p.grad for p in learner.parameters() if p.requires_grad and p.grad is not None]
        assert grads
        assert max(float(g.abs().max()) for g in grads) > 0


@pytest.mark.parametrize("layout", [n for n in LAYOUTS if n not in CLOSED])
def test_without_tokens_an_image_tower_is_its_own_forward(towers, layout):
    encoder = towers(layout)
    pixels = torch.randn(2, 3, encoder.preprocess.size, encoder.preprocess.size)
    own = encoder.encode_pixels(pixels)
    assert torch.allclose(encode_image(encoder, pixels), own, atol=3e-6)
    width = encoder.image_width
    tokens = {0: torch.randn(2, width), 1: torch.randn(2, width)}
    assert (encode_image(encoder, pixels, tokens) - own).abs().max() > 1e-3


@pytest.mark.parametrize("method", LEARNERS.names())
def test_methods_on_precomputed_features(tmp_path, method):
    encoder = load_backbone(str(features_file(tmp_path)))
    kind = LEARNERS.get(method)
    if kind.opens(kind.Config(**kind.small)):
        with pytest.raises(BackboneError, match="gives features of whole images and texts only"):
            make(method, encoder, ("{}",))
        return
    learner = make(method, encoder, ("{}",))
    features, batch = example(encoder)
    learner.begin(features, features)
    assert learner.outputs(batch).logits.shape == (6, 3)


def test_a_grid_is_refused_as_a_whole_before_anything_is_encoded(tmp_path):
    folder = make_tiny_tower("medclip_resnet", tmp_path / "tower")
    spec = parse_spec(
        {"data": "digits", "backbone": str(folder), "method": ["coop", "vpt", "maple"]}
    )
    with pytest.raises(
        SpecError, match=r'(?s)nothing was started:.*"vpt" changes.*ResNet.*"maple" changes'
    ):
        run_experiment(spec, Store(tmp_path / "runs"))
    assert not list((tmp_path / "runs").glob("runs/*"))
