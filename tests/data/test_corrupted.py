"""Corrupted test images: by hand, and as a target from YAML and the command line."""

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.base import load_dataset
from vlmcal.data.corrupted import STRENGTHS
from vlmcal.data.digits import digits
from vlmcal.errors import DataError
from vlmcal.experiment.protocol import make_protocol


@pytest.mark.parametrize("kind", STRENGTHS)
def test_severity_0_is_the_identity_and_more_changes_more(kind):
    clean = digits()
    same = load_dataset({"name": "corrupted", "of": "digits", "kind": kind, "severity": 0})
    assert same.images is clean.images
    spec = {"name": "corrupted", "of": "digits", "kind": kind}
    mild, strong = (load_dataset({**spec, "severity": s}) for s in (1, 5))
    test, plain = clean.splits == "test", np.repeat(clean.images[..., None], 3, axis=3)
    assert (mild.images[~test] == plain[~test]).all()
    distance = [np.abs(d.images[test].astype(float) - plain[test]).mean() for d in (mild, strong)]
    assert 0 < distance[0] < distance[1]
    again = load_dataset({**spec, "severity": 1})
    assert (again.images == mild.images).all()


def test_contrast_by_hand(tmp_path):
    made = load_dataset("corrupted(of=digits, kind=contrast, severity=3)")
    x = digits().images[-1].astype(float)
    expected = np.rint((x - x.mean()) * 0.2 + x.mean())
    np.testing.assert_allclose(made.images[-1][..., 0], expected, atol=1)


def test_files_are_brought_to_one_size(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (300, 240), (90, 120, 150)).save(tmp_path / split / name / "0.png")
    made = load_dataset({"name": "corrupted", "of": str(tmp_path), "severity": 2})
    assert made.images.shape == (2, 224, 224, 3)
    assert made.images[..., 0].std() == pytest.approx(0.12 * 255, rel=0.2)


def test_it_is_a_target_and_refuses_other_severities():
    data = {
        "protocol": "domain-generalisation",
        "targets": [{"name": "corrupted", "of": "digits", "kind": "shot_noise", "severity": 4}],
    }
    parts = make_protocol(digits(), data, 4, 1)
    assert {name: len(part) for name, part in parts.tests.items()}["digits-shot_noise-4"] == 891
    with pytest.raises(DataError, match="severity from 0 to 5, got 6"):
        load_dataset("corrupted(of=digits, severity=6)")
