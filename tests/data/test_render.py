import itertools

import numpy as np
import pytest

from pocket_glyphs import DIGITS, LETTERS, render_glyph, scan
from pocket_strokes import render_handwritten
from vlmcal.data.render import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    TEXTURES,
    degrade,
    render_shape,
)
from vlmcal.errors import DataError


def shape_image(seed=0, **changes):
    scene = {"shape": "circle", "colour": "red", "texture": "plain", "size": 0.8} | changes
    return render_shape(np.random.default_rng(seed), **scene)


DRAWERS = {
    "shape": lambda rng: render_shape(rng, shape="star", colour="blue", texture="dotted", size=0.7),
    "shifted shape": lambda rng: render_shape(
        rng, shape="ring", colour="pink", texture="checked", size=0.7, shift=0.6
    ),
    "glyph": lambda rng: render_glyph(rng, "g", shift=0.2),
    "coarse glyph": lambda rng: render_glyph(rng, "7", coarse=True),
    "handwritten": lambda rng: render_handwritten(rng, "4", shift=0.1),
}


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS.keys())
class TestEveryDrawer:
    def test_returns_rgb_bytes(self, draw):
        image = draw(np.random.default_rng(0))
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8

    def test_equal_seeds_draw_equal_images(self, draw):
        first, second = (draw(np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_other_seeds_draw_other_images(self, draw):
        first, second = (draw(np.random.default_rng(seed)) for seed in (1, 2))
        assert (first != second).any()

    def test_something_is_visible(self, draw):
        assert all(draw(np.random.default_rng(seed)).std() > 15 for seed in range(10))


def test_there_are_enough_words_for_compositional_classes():
    assert len(SHAPES) >= 6
    assert len(COLOURS) >= 8
    assert len(TEXTURES) >= 4
    assert len(set(SHAPES + COLOURS + TEXTURES)) == len(SHAPES) + len(COLOURS) + len(TEXTURES)


def test_every_combination_can_be_drawn():
    for shape, colour, texture in itertools.product(SHAPES, COLOURS, TEXTURES):
        assert shape_image(shape=shape, colour=colour, texture=texture).std() > 10


def test_a_red_circle_on_black_is_red_inside_and_black_in_the_corner():
    image = shape_image(size=1.0, background="black").astype(int)
    red, green, blue = image[16, 16]
    assert red > 150 > max(green, blue) + 60
    assert image[0, 0].max() < 60


def test_a_ring_shows_the_background_in_its_middle():
    image = shape_image(shape="ring", size=1.0, background="white")
    assert image[16, 16].min() > 200


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_area_of_a_circle_follows_its_size(background):
    def inked(size):
        image = shape_image(size=size, background=background).astype(int)
        return (image[..., 0] - image[..., 2] > 60).mean()

    # Radius 0.92 of the half size, with an aspect of at most exp(±0.08) on either axis.
    for size in (0.5, 0.9):
        assert inked(size) == pytest.approx(np.pi * (0.46 * size) ** 2, rel=0.25)


@pytest.mark.parametrize(("first", "second"), itertools.combinations(SHAPES, 2))
def test_mean_images_of_shapes_differ(first, second):
    def mean(shape):
        images = [
            shape_image(seed, shape=shape, size=1.0, background="black") for seed in range(12)
        ]
        return np.mean(images, axis=0)

    assert abs(mean(first) - mean(second)).mean() > 3


@pytest.mark.parametrize("draw", [render_glyph, render_handwritten], ids=["printed", "handwritten"])
def test_a_nearest_mean_rule_tells_drawn_digits_apart(draw):
    def drawn(seed):
        rng = np.random.default_rng(seed)
        levels = [[draw(rng, digit) for _ in range(40)] for digit in DIGITS]
        images = np.array(levels, dtype=float).mean(axis=-1).reshape(10, 40, -1)
        images -= images.mean(axis=-1, keepdims=True)
        # Some drawings are dark on bright; the sign of the border's level undoes that.
        border = images.reshape(10, 40, 32, 32)[..., [0, -1]].mean(axis=(2, 3), keepdims=False)
        images *= -np.sign(border)[..., None]
        return images / np.linalg.norm(images, axis=-1, keepdims=True)

    means = drawn(0).mean(axis=1)
    guesses = (drawn(1) @ means.T).argmax(axis=-1)
    assert (guesses == np.arange(10)[:, None]).mean() > 0.5


@pytest.mark.parametrize("texture", TEXTURES[1:])
def test_textures_add_edges(texture):
    def edges(kind):
        images = [shape_image(seed, texture=kind, size=0.95) for seed in range(10)]
        return np.mean([abs(np.diff(image.astype(float), axis=0)).mean() for image in images])

    assert edges(texture) > 1.3 * edges("plain")


def test_shift_adds_noise_in_proportion():
    flat = np.full((64, 64, 3), 128.0)
    deviations = [
        degrade(np.random.default_rng(0), flat, shift).astype(float).std()
        for shift in (0.0, 0.25, 0.5)
    ]
    # 128 has no contrast to lose and no edge to blur, so only noise of 60 grey levels is left.
    assert deviations == pytest.approx([0.0, 15.0, 30.0], abs=1.0)


def test_shift_moves_shapes_further_from_the_clean_image():
    distances = [
        np.mean(
            [
                abs(shape_image(seed, shift=shift).astype(float) - shape_image(seed)).mean()
                for seed in range(10)
            ]
        )
        for shift in (0.0, 0.3, 0.6, 1.0)
    ]
    assert distances[0] == 0.0
    assert np.all(np.diff(distances) > 2)


def test_contrast_falls_to_45_percent_at_full_shift():
    halves = np.repeat(np.array([28.0, 228.0]), 32)[:, None, None] * np.ones((64, 64, 3))
    image = degrade(np.random.default_rng(0), halves, 1.0).astype(float)
    assert image[40:].mean() - image[:24].mean() == pytest.approx(200 * 0.45, abs=5)


def test_scan_counts_ink_in_blocks_of_sixteen_pixels():
    ink = np.zeros((32, 32))
    ink[:16] = 1.0
    level = scan(ink, image_size=8)
    np.testing.assert_array_equal(level, np.repeat([[255.0], [0.0]], 4, axis=0) * np.ones((8, 8)))


def test_scan_keeps_seventeen_levels():
    ink = (np.random.default_rng(0).random((32, 32)) < 0.5).astype(float)
    assert set(np.unique(scan(ink, image_size=8))) <= {float(k * 255 // 16) for k in range(17)}


def test_every_letter_and_digit_can_be_printed():
    rng = np.random.default_rng(0)
    assert all(render_glyph(rng, character).std() > 5 for character in DIGITS + LETTERS)


@pytest.mark.parametrize("image_size", [8, 32, 48])
def test_image_size_is_respected(image_size):
    rng = np.random.default_rng(0)
    assert shape_image(image_size=image_size).shape == (image_size, image_size, 3)
    assert render_glyph(rng, "3", image_size=image_size).shape == (image_size, image_size, 3)
    assert render_handwritten(rng, "3", image_size=image_size).shape == (image_size, image_size, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": "blob"}, "unknown shape 'blob'.*crescent"),
        ({"colour": "mauve"}, "unknown colour 'mauve'.*purple"),
        ({"texture": "furry"}, "unknown texture 'furry'.*dotted"),
        ({"background": "sky"}, "unknown background 'sky'.*grey"),
        ({"size": 0.1}, r"size must lie in \[0.2, 1\], got 0.1"),
        ({"shift": 1.5}, r"shift must lie in \[0, 1\], got 1.5"),
        ({"shift": float("nan")}, "got nan"),
    ],
)
def test_bad_words_and_numbers_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        shape_image(**changes)


def test_undrawable_characters_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="unknown character 'ß'"):
        render_glyph(rng, "ß")
    with pytest.raises(DataError, match="unknown digit 'a'"):
        render_handwritten(rng, "a")
