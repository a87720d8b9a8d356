"""Findings that do not exclude each other, from towers alone: by a bias or between two sentences."""

import copy

import numpy as np
import pytest
import torch

from vlmcal.backbones import load_backbone
from vlmcal.backbones.zero_shot import text_features, zero_shot_findings
from vlmcal.errors import BackboneError, DataError
from vlmcal.io.image_files import open_images

PICTURES = list(np.random.default_rng(0).integers(0, 255, (5, 28, 28, 3), dtype=np.uint8))
NAMES = ["three", "four", "nine"]


@pytest.fixture(scope="module")
def encoder():
    return load_backbone("pocket")


def similarities(encoder, template):
    image = torch.nn.functional.normalize(encoder.encode_images(open_images(PICTURES)), dim=-1)
    return (encoder.logit_scale * image @ text_features(encoder, NAMES, [template])[0].T).numpy()


def test_two_sentences_are_a_softmax_over_the_pair(encoder):
    rows = zero_shot_findings(encoder, PICTURES, NAMES, template="a {}.", negative="no {}.")
    pair = np.stack([similarities(encoder, "no {}."), similarities(encoder, "a {}.")])
    wanted = np.exp(pair)[1] / np.exp(pair).sum(axis=0)
    assert np.allclose(rows.probabilities, wanted, atol=1e-5)
    assert rows.provenance["read-out"] == "softmax over the two sentences"


def test_a_sigmoid_model_by_its_bias(encoder):
    with pytest.raises(BackboneError, match="negative sentence"):
        zero_shot_findings(encoder, PICTURES, NAMES, template="a {}.")
    sigmoid = copy.copy(encoder)
    sigmoid.logit_bias = -3.0
    labels = [[1, 0, 0]] * 5
    rows = zero_shot_findings(
        sigmoid, PICTURES, NAMES, template="a {}.", labels=labels, batch_size=2
    )
    wanted = 1 / (1 + np.exp(3.0 - similarities(encoder, "a {}.")))
    assert np.allclose(rows.probabilities, wanted, atol=1e-5)
    assert rows.labels.tolist() == labels
    with pytest.raises(DataError, match="exactly one"):
        zero_shot_findings(sigmoid, PICTURES, NAMES, template="a picture")
    with pytest.raises(DataError, match="no images"):
        zero_shot_findings(sigmoid, [], NAMES, template="a {}.")
