import math

import numpy as np
import pytest
from PIL import Image

from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.views import View, centre_view, image_views, random_view, render_view
from vlmcal.errors import SpecError

RECIPE = Preprocess(size=16, resize=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def noise(width, height):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def bank(n, size=(120, 90), **options):
    options = {"seed": 1, "item_id": "a", **options}
    return [random_view(size, index=i, **options) for i in range(n)]


def test_a_view_depends_on_seed_item_and_index_only():
    first = bank(6)
    assert bank(3) == first[:3]
    assert random_view((120, 90), seed=1, item_id="a", index=5) == first[5]
    assert all(x != y for x, y in zip(bank(6, seed=2), first, strict=True))
    assert all(x != y for x, y in zip(bank(6, item_id="b"), first, strict=True))
    assert len(set(first)) == 6


def test_boxes_follow_the_published_distribution():
    width, height = 1200, 900
    boxes = bank(1500, size=(width, height))
    areas = np.array([(v.right - v.left) * (v.bottom - v.top) for v in boxes])
    ratios = np.array([(v.right - v.left) * width / ((v.bottom - v.top) * height) for v in boxes])
    assert min(min(v[:2]) for v in boxes) >= 0
    assert max(max(v[2:4]) for v in boxes) <= 1
    assert 0.08 - 1e-3 <= areas.min() < 0.1
    assert 0.9 < areas.max() <= 1
    # A draw (area a, ratio r) fits when a r <= width / height and a / r <= height / width.
    a, log_r = np.meshgrid(np.linspace(0.08, 1, 801), np.linspace(-1, 1, 801) * math.log(4 / 3))
    fits = (a * np.exp(log_r) <= width / height) & (a / np.exp(log_r) <= height / width)
    assert abs(areas.mean() - a[fits].mean()) < 4 * a[fits].std() / math.sqrt(1500)
    assert abs(np.log(ratios).mean() - log_r[fits].mean()) < 4 * log_r[fits].std() / math.sqrt(1500)
    assert 0.745 < ratios.min() < 0.76
    assert 1.31 < ratios.max() < 1.34
    flips = np.mean([v.flip for v in boxes])
    assert abs(flips - 0.5) < 4 * math.sqrt(0.25 / 1500)


def test_mirroring_can_be_switched_off_without_moving_the_boxes():
    mirrored, plain = bank(50), bank(50, flip=False)
    assert any(v.flip for v in mirrored)
    assert not any(v.flip for v in plain)
    assert [v[:4] for v in mirrored] == [v[:4] for v in plain]


def test_an_image_no_box_fits_gives_its_largest_central_box():
    view = random_view((400, 10), seed=1, item_id="a", index=0)
    width = (view.right - view.left) * 400
    assert width == pytest.approx(13, abs=0.01)  # 10 * 4 / 3
    assert (view.top, view.bottom) == (0, 1)
    assert view.left + view.right == pytest.approx(1, abs=0.01)


def test_the_centre_view_is_the_evaluation_transform():
    image = noise(40, 24)
    view = centre_view(image.size, RECIPE)
    assert (view.top, view.bottom) == (0, 1)
    assert np.array_equal(render_view(image, view, RECIPE), RECIPE(image))
    assert image_views(image.size, RECIPE, views=1, seed=3, item_id="a") == [view]


def test_a_mirrored_view_is_the_mirror_of_the_view():
    image = noise(40, 24)
    for box in (centre_view(image.size, RECIPE), View(0.25, 0.5, 0.75, 1.0, False)):
        plain = render_view(image, box, RECIPE)
        mirrored = render_view(image, box._replace(flip=True), RECIPE)
        assert np.array_equal(mirrored, plain[:, :, ::-1])


def test_pixels_of_a_box_are_those_of_the_cut_out_part():
    image = noise(64, 64)
    view = View(0.25, 0.5, 0.5, 0.75, False)  # 16 x 16 pixels: no resampling
    expected = np.asarray(image)[32:48, 16:32].transpose(2, 0, 1) / 255
    assert np.allclose(render_view(image, view, RECIPE), expected, atol=1e-6)


def test_stored_fractions_reproduce_the_very_same_pixels():
    for size in ((7, 13), (333, 500), (1024, 3)):
        image = noise(*size)
        for view in image_views(size, RECIPE, views=5, seed=4, item_id="z"):
            stored = np.asarray(view, dtype=np.float64)
            again = View(*stored[:4], bool(stored[4]))
            pixels = render_view(image, view, RECIPE)
            assert pixels.shape == (3, 16, 16)
            assert np.array_equal(render_view(image, again, RECIPE), pixels)
            corners = np.array(view[:4]) * [*size, *size]
            assert np.allclose(corners, corners.round(), atol=1e-9)


def test_no_views_is_an_error():
    with pytest.raises(SpecError, match=r"1 \(the centre crop\) or more"):
        image_views((8, 8), RECIPE, views=0, seed=0, item_id="a")
