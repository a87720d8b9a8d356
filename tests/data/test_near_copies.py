"""Pictures that look the same, however they were saved, turned or mirrored."""

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.looks import look, look_at
from vlmcal.data.perceptual_hash import near_pairs, perceptual_hash, thumbnail_of, turns

T = Image.Transpose


def blotches(seed: int, side: int = 64) -> Image.Image:
    grey = np.random.default_rng(seed).integers(0, 255, (9, 9), dtype=np.uint8)
    return Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)


def code(image: Image.Image) -> np.ndarray:
    return np.array([perceptual_hash(image)], np.int64).view(np.uint64)


def compared(images, sides):
    codes = np.concatenate([code(image) for image in images])
    small = np.stack([thumbnail_of(image) for image in images])
    return near_pairs(codes, small, np.array(sides), per_image=9)


@pytest.mark.parametrize(
    "turn",
    [T.FLIP_LEFT_RIGHT, T.FLIP_TOP_BOTTOM, T.ROTATE_180, T.TRANSPOSE, T.ROTATE_90, T.ROTATE_270,
     T.TRANSVERSE],
)  # fmt: skip
def test_a_turned_image_has_a_turned_hash(turn):
    image = blotches(3)
    versions = turns(code(image))
    apart = [int(np.bitwise_count(v ^ code(image.transpose(turn)))[0]) for v in versions]
    assert min(apart) <= 1
    assert apart[0] > 7
    pairs, _ = compared([image, image.transpose(turn)], ["train", "test"])
    assert [(p.turned, p.likeness > 0.99) for p in pairs] == [(True, True)]


def test_what_a_copy_may_differ_in(tmp_path):
    image = blotches(1)
    image.save(tmp_path / "a.jpg", quality=40)
    copies = [
        Image.open(tmp_path / "a.jpg"),
        image.resize((200, 200)),
        image.point(lambda v: v // 2 + 60),
        image.convert("RGB"),
    ]
    others = [blotches(seed) for seed in range(10, 60)]
    pairs, _ = compared([image, *copies, *others], ["train"] + ["test"] * 54)
    assert {frozenset((p.row, p.other)) for p in pairs} == {frozenset((0, n)) for n in range(1, 5)}
    assert not any(p.turned for p in pairs)


def test_only_pairs_of_different_splits_count():
    images = [blotches(1), blotches(1).resize((70, 70)), blotches(2)]
    assert compared(images, ["test", "test", "train"])[0] == []


def test_the_index_finds_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 400, dtype=np.int64).view(np.uint64)
    flips = np.array(
        [sum(1 << int(b) for b in rng.choice(64, k, replace=False)) for k in range(8)] * 50
    )
    near = base ^ flips.astype(np.uint64)
    codes = np.concatenate([base, near])
    small = np.repeat(rng.integers(0, 255, (400, 16, 16), dtype=np.uint8)[None], 2, axis=0)
    sides = np.repeat(["train", "test"], 400)
    pairs, _ = near_pairs(codes, small.reshape(-1, 16, 16), sides, per_image=50)
    found = {frozenset((p.row, p.other)) for p in pairs if not p.turned}
    assert found == {frozenset((i, 400 + i)) for i in range(400)}


def test_thousands_of_the_same_hash_are_said_and_not_compared():
    codes = np.full(1200, 12345, np.uint64)
    small = np.random.default_rng(0).integers(0, 255, (1200, 16, 16), dtype=np.uint8)
    pairs, crowded = near_pairs(codes, small, np.repeat(["train", "test"], 600))
    assert (pairs, crowded) == ([], 600)


def test_an_image_without_contrast_has_no_hash():
    assert perceptual_hash(Image.new("RGB", (9, 9), "grey")) is None
    assert look(np.full((5, 5), 9, np.uint8)).code is None


def test_an_interrupted_look_goes_on(tmp_path, monkeypatch):
    files = []
    for n in range(4):
        blotches(n).save(tmp_path / f"{n}.png")
        files.append(tmp_path / f"{n}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    files.append(tmp_path / "bad.png")
    first = dict(look_at(files, range(5), cache_dir=tmp_path / "cache"))
    read = []

    def counted(source):
        read.append(source.name)
        return look(source)

    monkeypatch.setattr("vlmcal.data.looks.look", counted)
    blotches(9).save(files[2])
    again = dict(look_at(files, range(5), cache_dir=tmp_path / "cache"))
    assert read == ["2.png", "bad.png"]
    assert {row for row in first if first[row] != again[row]} == {2}
    (tmp_path / "cache" / "looks.sqlite").write_bytes(b"torn")
    assert dict(look_at(files, range(5), cache_dir=tmp_path / "cache")) == again


def test_what_the_file_says_is_noted(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0131] = "ACME", "Scan 3"
    blotches(1).save(tmp_path / "a.jpg", exif=exif)
    assert look(tmp_path / "a.jpg").maker == "ACME Scan 3"
    assert look(tmp_path / "a.jpg").mode == "L"
