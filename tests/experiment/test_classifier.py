"""Prediction streams: an image is read once, rendered once, and forgotten before many others are read."""

import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmcal.api import Classifier
from vlmcal.backbones import load_backbone
from vlmcal.errors import DataError
from vlmcal.io import images
from vlmcal.learners.base import LEARNERS, ClassContext

N = 150


@pytest.fixture(scope="module")
def model():
    classes = ClassContext(load_backbone("pocket"), ("cat", "dog"), ("a photo of a {}.",))
    kind = LEARNERS.get("zero_shot")
    return Classifier(kind(classes, kind.Config()), None, Path())


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    files = [folder / f"{i}.png" for i in range(N)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return files


@pytest.fixture
def watched(model, monkeypatch):
    """Names of decoded files, how many decoded images were alive at most, and how many were rendered."""
    seen = {"decoded": [], "alive": 0, "most": 0, "rendered": 0}
    lock, read = threading.Lock(), images.read_image
    render = type(model.learner.encoder.preprocess).normalise

    def gone():
        with lock:
            seen["alive"] -= 1

    def reading(source):
        image = read(source)
        with lock:
            seen["decoded"].append(str(source))
            seen["alive"] += 1
            seen["most"] = max(seen["most"], seen["alive"])
        weakref.finalize(image, gone)
        return image

    def rendering(self, image):
        with lock:
            seen["rendered"] += 1
        return render(self, image)

    monkeypatch.setattr(images, "read_image", reading)
    monkeypatch.setattr(type(model.learner.encoder.preprocess), "normalise", rendering)
    return seen


def test_each_image_is_decoded_and_rendered_once_and_few_are_held(model, paths, watched):
    found = model.predict(paths)
    assert repr(model) == f"Classifier: zero_shot, 2 classes, calibrator none, {Path()}"
    assert len(found) == N
    assert sorted(watched["decoded"]) == sorted(map(str, paths))
    assert watched["rendered"] == N
    assert watched["most"] <= 16  # one for each thread, and what Python has not let go of yet
    assert watched["alive"] == 0


def test_batches_come_as_they_are_ready(model, paths, watched):
    batches = model.raw(paths, batch_size=10)
    first = next(batches)
    assert len(first) == 10
    assert len(watched["decoded"]) <= 20  # this batch and the next
    batches.close()


def test_the_numbers_are_those_of_all_images_at_once(model, paths):
    encoder = model.learner.encoder
    images = [Image.open(path) for path in paths[:5]]
    together = model.predict([*images, images[0]])
    features = encoder.encode_images([image.convert("RGB") for image in images])
    text = model.learner.classifier()
    scores = encoder.logit_scale * features / features.norm(dim=1, keepdim=True) @ text.T
    expected = scores.softmax(dim=1).detach().numpy()
    assert np.allclose([p.probabilities for p in together[:5]], expected, atol=1e-5)
    assert np.allclose(together[5].probabilities, together[0].probabilities, atol=1e-6)


def test_all_unreadable_images_are_named_at_once(model, paths, tmp_path):
    broken = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in broken:
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 of 5 images(.|\n)*a\.png(.|\n)*b\.png"):
        list(model.raw([*paths[:2], broken[0], paths[2], broken[1]], batch_size=2))
