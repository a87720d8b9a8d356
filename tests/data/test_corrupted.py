"""Corrupted test images: by hand, and as a target from YAML and the command line."""

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.base import load_dataset
from vlmcal.data.corruptions import STRENGTHS, corrupt
from vlmcal.data.digits import digits
from vlmcal.errors import DataError
from vlmcal.experiment.protocol import make_protocol

PLAIN = ("gaussian_noise", "glass_blur", "snow", "pixelate")


@pytest.mark.parametrize("kind", PLAIN)
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


def picture(side=64):
    """Edges, a gradient and colours."""
    x = np.linspace(0, 255, side)
    planes = np.stack(
        [np.tile(x, (side, 1)), np.tile(x[:, None], (1, side)), np.full((side, side), 90)], -1
    )
    planes[side // 4 : side // 2, side // 3 : -side // 4] = (230, 40, 60)
    return Image.fromarray(planes.astype(np.uint8))


def test_all_fifteen_kinds_of_imagenet_c_are_there():
    noise = {"gaussian_noise", "shot_noise", "impulse_noise"}
    blur = {"defocus_blur", "glass_blur", "motion_blur", "zoom_blur"}
    weather = {"snow", "frost", "fog", "brightness"}
    digital = {"contrast", "elastic_transform", "pixelate", "jpeg_compression"}
    assert set(STRENGTHS) == noise | blur | weather | digital | {"gaussian_blur"}
    assert {len(each) for each in STRENGTHS.values()} == {5}


@pytest.mark.parametrize("kind", STRENGTHS)
def test_each_kind_changes_images_of_any_size_and_is_drawn_by_the_generator(kind):
    image = picture()
    plain = np.asarray(image, dtype=float)
    made = [corrupt(image, kind, s, np.random.default_rng(1)) for s in range(1, 6)]
    changed = [np.abs(each - plain).mean() for each in made]
    assert changed[0] > 0.05
    if kind != "elastic_transform":  # milder, but finer from severity 3 on
        assert changed[-1] > changed[0]
    assert (corrupt(image, kind, 5, np.random.default_rng(1)) == made[-1]).all()
    for size in ((8, 8), (1, 1), (30, 12)):
        small = corrupt(image.resize(size), kind, 5, np.random.default_rng(1))
        assert small.shape == (size[1], size[0], 3)
        assert small.dtype == np.uint8


def test_blurs_keep_flat_images_and_the_mean():
    flat = Image.new("RGB", (40, 40), (50, 100, 150))
    for kind in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform"):
        made = corrupt(flat, kind, 3, np.random.default_rng(0))
        assert (made == np.asarray(flat)).all(), kind
    dot = np.zeros((224, 224, 3), np.uint8)
    dot[112, 112] = 255
    disk = corrupt(Image.fromarray(dot), "defocus_blur", 5, np.random.default_rng(0))[..., 0]
    rows = np.flatnonzero(disk.sum(axis=1))
    assert (rows[0], rows[-1]) == (
        103,
        121,
    )  # a radius of 10, of whose edge pixels little is covered
    assert disk[112, 112] == round(255 / (np.pi * 100))


def test_fog_and_frost_by_hand():
    dark = Image.new("RGB", (64, 64), (0, 0, 0))
    made = corrupt(dark, "frost", 5, np.random.default_rng(0))
    assert made.max() <= round(0.75 * 255)
    assert (made[..., 2] >= made[..., 0]).all()
    bright = Image.new("RGB", (64, 64), (255, 255, 255))
    fog = corrupt(bright, "fog", 1, np.random.default_rng(0))
    assert fog.min() == round(255 / 2.5)  # (1 + 1.5 * 0) * 1 / (1 + 1.5)
    assert fog.max() == 255


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
