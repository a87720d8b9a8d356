"""Features that predictions carry belong to the model that made the logits."""

import numpy as np
import pytest
import torch
from PIL import Image

from vlmcal.api import Classifier
from vlmcal.backbones.cache import image_features
from vlmcal.calibrators.base import make
from vlmcal.experiment.publishing import predict
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.seeding import torch_generator
from vlmcal.types.dataset import Dataset

NAMES, TEMPLATES = ("cat", "dog", "the photo"), ("a photo of a {}.",)
PIXELS = [n for n, k in LEARNERS.items() if k.consumes == "pixels" and k.similarity_scores]


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 255, (12, 20, 16, 3)).astype(np.uint8)
    return Dataset(name="noise", images=images, labels=np.arange(12) % 3, splits=["test"] * 12,
                   class_names=NAMES)  # fmt: skip


@pytest.fixture(scope="module")
def frozen(tiny_encoder, data):
    return image_features(tiny_encoder, data, cache_dir=False)


def moved(name, encoder):
    """A learner away from its start, where many change nothing."""
    kind = LEARNERS.get(name)
    config = kind.Config(**kind.small)
    learner = kind(ClassContext(encoder, NAMES, TEMPLATES), config, torch_generator(1, "init"))
    stream = torch_generator(2, "moved")
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=stream)
    return learner.eval()


def test_there_are_methods_on_pixels():
    assert {"vpt", "ivlp", "maple", "prompt_src", "co_prompt", "clip_lora", "mma"} <= set(PIXELS)


@pytest.mark.parametrize("name", [*PIXELS, "clip_adapter", "coop", "tcp"])
@pytest.mark.parametrize("names", [NAMES, ("dog", "the cat")])
def test_image_and_text_features_give_the_logits(tiny_encoder, data, frozen, name, names):
    learner = moved(name, tiny_encoder)
    labels = data.labels % len(names)
    subset = Dataset(name="noise", images=data.images, labels=labels, splits=["test"] * 12,
                     class_names=names)  # fmt: skip
    rows = predict(learner, subset, frozen, split="test")
    extras, scale = rows.extras, float(learner.logit_scale.detach())
    for key in ("image_features", "text_features"):
        np.testing.assert_allclose(np.linalg.norm(extras[key], axis=1), 1, rtol=1e-5)
    found = scale * extras["image_features"] @ extras["text_features"].T
    np.testing.assert_allclose(found, rows.logits, rtol=1e-4, atol=1e-3)
    unit = frozen.image_features[:, 0]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    changes_images = name in PIXELS or name == "clip_adapter"
    assert (np.abs(extras["image_features"] - unit).max() > 1e-2) == changes_images
    zero_shot = float(tiny_encoder.logit_scale) * unit @ extras["zero_shot_text_features"].T
    np.testing.assert_allclose(extras["zero_shot_logits"], zero_shot, rtol=1e-4, atol=1e-3)
    assert extras["base_text_features"].shape == (3, tiny_encoder.embed_dim)


@pytest.mark.parametrize("name", ["vpt", "coop"])
@pytest.mark.parametrize("calibrator", ["procal_density", "feature_isotonic", "dac", "sals"])
def test_a_classifier_gives_calibrators_the_same_features(
    tiny_encoder, data, frozen, name, calibrator, tmp_path
):
    """New images with the scores of stored rows are calibrated as those rows are."""
    learner = moved(name, tiny_encoder)
    stored = predict(learner, data, frozen, split="calibration")
    fitted = make(calibrator).fit(stored)
    classifier = Classifier(learner, fitted, tmp_path)
    images = [Image.fromarray(image) for image in data.images[:3]]
    found = np.stack([row.probabilities for row in classifier.predict(images)])
    new = stored.subset(np.arange(3))
    new = type(stored)(
        logits=new.logits, labels=new.labels, ids=["a", "b", "c"], class_names=NAMES,
        extras=new.extras,
    )  # fmt: skip
    expected = fitted.transform(new).probabilities()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
