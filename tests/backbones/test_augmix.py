"""Views for test time: mixtures, resizing, and the same pictures each time."""

import numpy as np
import pytest
from PIL import Image

from vlmcal.backbones.augmix import OPERATIONS, augmix
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.views import Draw, draw_views, random_view, render_view

RECIPE = Preprocess(size=24, resize=24)


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((12, 8)).resize((60, 40), Image.Resampling.BICUBIC)


def test_random_views_are_those_of_plain_banks(image):
    pixels, boxes = draw_views(image, Draw(3, seed=4), RECIPE, "a")
    for index, box in enumerate(boxes):
        assert box == random_view(image.size, seed=4, item_id="a", index=index)
        np.testing.assert_array_equal(pixels[index], render_view(image, box, RECIPE))
    (centre,), _ = draw_views(image, Draw(), RECIPE, "a")
    np.testing.assert_array_equal(centre, RECIPE(image))


def test_interpolation_is_that_of_the_draw_and_never_of_the_evaluation_view(image):
    plain, bilinear = (
        draw_views(image, Draw(4, interpolation=name), RECIPE, "a")[0]
        for name in (None, "bilinear")
    )
    assert not np.allclose(plain, bilinear)
    centre = draw_views(image, Draw(1, interpolation="bilinear", augmix=True), RECIPE, "a")[0][0]
    np.testing.assert_array_equal(centre, RECIPE(image))


def test_mixtures_depend_on_seed_item_and_number_only_and_are_mild(image):
    mixed = draw_views(image, Draw(4, augmix=True), RECIPE, "a")[0]
    again = draw_views(image, Draw(2, augmix=True), RECIPE, "a")[0]
    np.testing.assert_array_equal(mixed[:2], again)
    plain = draw_views(image, Draw(4), RECIPE, "a")[0]
    apart = np.abs(mixed - plain).mean(axis=(1, 2, 3))
    assert (apart > 0).all()
    assert (apart < 0.5).all()  # of pixels with deviation about 1
    for other in (Draw(4, seed=1, augmix=True),):
        assert not np.allclose(draw_views(image, other, RECIPE, "a")[0], mixed)
    assert not np.allclose(draw_views(image, Draw(4, augmix=True), RECIPE, "b")[0], mixed)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__.strip("_"))
def test_every_operation_gives_a_picture_of_the_same_size_at_every_strength(operation, image):
    for strength in (0.01, 0.1, 1.0):
        for sense in (1.0, -1.0):
            shown = operation(image, strength, sense)
            assert shown.size == image.size
            assert shown.mode == "RGB"


def test_a_mixture_is_a_convex_one(image):
    """Weights sum to one: a picture on which no operation acts stays as it is."""
    grey = Image.new("RGB", (16, 16), (0, 0, 0))
    out = augmix(grey, lambda shown: np.asarray(shown, np.float32), np.random.default_rng(3))
    np.testing.assert_allclose(out, 0, atol=1e-5)


def test_strength_grows_with_severity(image):
    def apart(severity):
        draws = [np.random.default_rng(seed) for seed in range(12)]
        pixels = [augmix(image, RECIPE.normalise, draw, severity) for draw in draws]
        return np.mean([np.abs(p - RECIPE.normalise(image)).mean() for p in pixels])

    assert apart(1.0) < apart(8.0)
