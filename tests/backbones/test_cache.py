import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from small_data import small_data
from tiny_clip import make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.backbones.cache import image_features
from vlmcal.backbones.entries import Entries
from vlmcal.backbones.views import View, render_view
from vlmcal.errors import DataError, SpecError, StoreError
from vlmcal.io import fingerprint as hashes
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.io.fingerprint import content_fingerprint, dataset_fingerprint
from vlmcal.io.images import read_image, unreadable

SHAPE = {"x": ((2, 3), np.dtype(np.float32))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def encoder(folder, counting):
    return counting(load_backbone(str(folder)))


def files(folder, n=4):
    paths = []
    for row in range(n):
        paths.append(folder / f"{row}.png")
        Image.fromarray(small_data().images[row]).save(paths[-1])
    return paths


def test_features_are_those_of_the_encoder_in_order(encoder, tmp_path):
    data = small_data()
    features = image_features(encoder, data, cache_dir=tmp_path, batch_size=2)
    assert encoder.passes == [2, 2, 1]
    images = [read_image(image) for image in data.images]
    expected = encoder.encode_images(images)
    assert torch.allclose(torch.tensor(features.image_features[:, 0]), expected, atol=1e-5)
    assert features.labels.tolist() == [0, 1, 0, 1, 0]
    assert features.views.shape == (5, 1, 5)


def test_the_second_time_nothing_is_encoded_and_the_file_is_mapped(encoder, tmp_path):
    first = image_features(encoder, small_data(), cache_dir=tmp_path)
    encoder.passes.clear()
    again = image_features(encoder, small_data(), cache_dir=tmp_path)
    assert encoder.passes == []
    assert isinstance(again.image_features, np.memmap)
    assert np.array_equal(first.image_features, again.image_features)
    assert first.key == again.key
    assert np.array_equal(first.views, again.views)


def test_each_row_holds_the_features_of_its_recorded_view(encoder):
    data = small_data()
    features = image_features(encoder, data, views=3, seed=7, cache_dir=False, batch_size=4)
    assert features.image_features.shape == (5, 3, 24)
    for row, view in ((0, 0), (2, 1), (4, 2)):
        left, top, right, bottom, flip = features.views[row, view]
        box = View(left, top, right, bottom, bool(flip))
        pixels = render_view(read_image(data.images[row]), box, encoder.preprocess)
        alone = encoder.encode_pixels(torch.from_numpy(pixels)[None])[0]
        assert np.allclose(features.image_features[row, view], alone.numpy(), atol=1e-5)


def test_views_follow_the_item_not_its_row(encoder):
    data = small_data()
    whole = image_features(encoder, data, views=2, cache_dir=False)
    part = image_features(encoder, data.subset([3, 1]), views=2, cache_dir=False)
    assert np.array_equal(part.views, whole.views[[3, 1]])
    assert np.allclose(part.image_features, whole.image_features[[3, 1]], atol=1e-5)


def test_the_key_names_all_that_features_depend_on(encoder, folder, tmp_path):
    def key(data=None, encoder=encoder, **options):
        data = small_data() if data is None else data
        return image_features(encoder, data, cache_dir=tmp_path, **options).key

    other_encoder = load_backbone(str(make_tiny_clip(tmp_path / "other", seed=1)))
    changed = small_data()
    changed.images[2, 0, 0, 0] ^= 1
    keys = [
        key(),
        key(changed),
        key(small_data(ids=list("vwxyz"))),
        key(encoder=other_encoder),
        key(encoder=load_backbone(str(folder), dtype=torch.float64)),
        key(views=2),
        key(views=2, seed=1),
        key(views=2, flip=False),
        key(views=3),
    ]
    assert len(set(keys)) == len(keys)
    # The centre crop has no seed, and features know nothing of labels and names.
    assert key(seed=5, flip=False) == keys[0]
    renamed = small_data(labels=[1, 1, 1, 1, 1], class_names=("c", "d"))
    assert key(renamed) == keys[0]
    assert image_features(encoder, renamed, cache_dir=tmp_path).labels.tolist() == [1] * 5


def damage_truncate(entry):
    path = entry / "features.npy"
    path.write_bytes(path.read_bytes()[:-8])


def damage_flip_a_bit(entry):
    content = bytearray((entry / "features.npy").read_bytes())
    content[-3] ^= 1
    (entry / "features.npy").write_bytes(bytes(content))


def damage_remove_record(entry):
    (entry / "entry.json").unlink()


def damage_tear_record(entry):
    (entry / "entry.json").write_text('{"arrays": {"fea')


def damage_remove_views(entry):
    (entry / "views.npy").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_truncate, "features.npy has 600 bytes instead of 608"),
        (damage_flip_a_bit, "does not match its checksum"),
        (damage_remove_record, "entry.json is missing"),
        (damage_tear_record, "unreadable"),
        (damage_remove_views, "views.npy is missing"),
    ],
)
def test_a_damaged_entry_is_made_again(encoder, tmp_path, damage, said):
    first = image_features(encoder, small_data(), cache_dir=tmp_path)
    expected = np.array(first.image_features)
    del first
    damage(tmp_path / "features" / image_features(encoder, small_data(), cache_dir=tmp_path).key)
    encoder.passes.clear()
    with pytest.warns(UserWarning, match=f"is damaged .*{said}"):
        again = image_features(encoder, small_data(), cache_dir=tmp_path)
    assert encoder.passes == [5]
    assert np.array_equal(again.image_features, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_features(encoder, small_data(), cache_dir=tmp_path)
    assert [p.name for p in (tmp_path / "features").iterdir()] == [again.key]


def test_a_crash_while_writing_leaves_no_entry(tmp_path):
    entries = Entries(tmp_path)

    def crash(arrays):
        arrays["x"][:] = 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        entries.get("k", SHAPE, crash, {})
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_writer_are_ignored_and_removed_when_old(tmp_path):
    fresh, old = tmp_path / ".k.fresh", tmp_path / ".k.old"
    for left in (fresh, old):
        left.mkdir()
        (left / "x.npy").write_bytes(b"half")
    os.utime(old, (0, 0))
    arrays = Entries(tmp_path).get("k", SHAPE, lambda a: a["x"].fill(2), {})
    assert arrays["x"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert fresh.exists()
    assert not old.exists()


def test_two_writers_of_one_entry_both_get_a_whole_one(tmp_path):
    other = Entries(tmp_path)

    def fill_while_another_finishes(arrays):
        theirs = other.get("k", SHAPE, lambda a: a["x"].fill(3), {"by": "other"})
        assert theirs["x"][0, 0] == 3
        arrays["x"].fill(3)

    mine = Entries(tmp_path).get("k", SHAPE, fill_while_another_finishes, {"by": "me"})
    assert mine["x"].tolist() == [[3, 3, 3], [3, 3, 3]]
    assert json.loads((tmp_path / "k" / "entry.json").read_text())["about"] == {"by": "other"}
    assert [p.name for p in tmp_path.iterdir()] == ["k"]


def test_no_cache_writes_nothing(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    features = image_features(encoder, small_data(), cache_dir=False)
    assert not isinstance(features.image_features, np.memmap)
    assert not (tmp_path / "cache").exists()
    image_features(encoder, small_data())
    assert (tmp_path / "cache" / "features" / features.key).is_dir()


def test_default_folder(monkeypatch):
    monkeypatch.delenv("VLMCAL_CACHE", raising=False)
    assert default_cache_dir() == Path.home() / ".cache" / "vlmcal"


def test_an_unwritable_cache_says_how_to_go_on(encoder, tmp_path):
    (tmp_path / "features").write_text("a file in the way")
    with pytest.raises(StoreError, match="VLMCAL_CACHE or cache_dir, or cache_dir=False"):
        image_features(encoder, small_data(), cache_dir=tmp_path)


def test_all_unreadable_images_are_listed_at_once(encoder, tmp_path):
    paths = files(tmp_path)
    paths[0].write_bytes(b"not an image")
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    Image.new("I;16", (4, 4)).save(paths[2])
    data = small_data(4, images=paths)
    with pytest.raises(DataError, match="3 of 4 images cannot be read") as error:
        image_features(encoder, data, cache_dir=tmp_path / "cache")
    lines = str(error.value).splitlines()[1:]
    assert [line.split(" (row")[0].strip() for line in lines] == [str(p) for p in paths[:3]]
    assert "not a readable image" in lines[0]
    assert "more than 8 bits per channel" in lines[2]
    assert [p.name for p in (tmp_path / "cache" / "features").iterdir()] == []
    paths[1].unlink()
    with pytest.raises(DataError, match="3 of 4") as error:
        image_features(encoder, data, cache_dir=False)
    assert "no such file" in str(error.value)
    assert [problem.row for problem in unreadable(data.images)] == [0, 1, 2]


def test_progress_and_empty_requests(encoder):
    seen = []
    image_features(
        encoder, small_data(), cache_dir=False, batch_size=2, progress=lambda *at: seen.append(at)
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    with pytest.raises(SpecError, match="got 0 and 64"):
        image_features(encoder, small_data(), views=0, cache_dir=False)
    with pytest.raises(DataError, match='"d" has no images'):
        image_features(encoder, small_data().subset([]), cache_dir=False)


def test_grey_palette_and_transparent_files_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "LA", "1", "CMYK"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (3, 2)).save(path)
        assert read_image(path).mode == "RGB"
    with pytest.raises(DataError, match=r"array: expected shape .* got \(2, 3, 4\)"):
        read_image(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(DataError, match="uint8 values 0 to 255, got float64"):
        read_image(np.zeros((2, 3)))


def test_dataset_fingerprint_sees_every_change_and_no_path(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = files(tmp_path / "a"), files(tmp_path / "b")
    first = dataset_fingerprint(small_data(4, images=here))
    assert dataset_fingerprint(small_data(4, images=there)) == first
    others = [
        small_data(4, images=here, labels=[0, 0, 0, 1]),
        small_data(4, images=here, ids=list("abcd")),
        small_data(4, images=here, class_names=("a", "c")),
        small_data(4, images=here[::-1]),
    ]
    digests = {dataset_fingerprint(data) for data in others}
    assert len(digests) == 4
    assert first not in digests
    assert content_fingerprint(others[0]) == content_fingerprint(small_data(4, images=here))


def test_files_are_hashed_once_and_again_when_they_change(tmp_path, monkeypatch):
    paths, cache = files(tmp_path), tmp_path / "cache"
    data, read = small_data(4, images=paths), []
    digest_file = hashes.digest_file
    monkeypatch.setattr(hashes, "digest_file", lambda p: read.append(p.name) or digest_file(p))
    first = dataset_fingerprint(data, cache_dir=cache)
    assert dataset_fingerprint(data, cache_dir=cache) == first
    assert read == ["0.png", "1.png", "2.png", "3.png"]
    Image.fromarray(small_data(seed=9).images[0]).save(paths[2])
    os.utime(paths[2], ns=(0, 1))
    assert dataset_fingerprint(data, cache_dir=cache) != first
    assert read[4:] == ["2.png"]
    memo = cache / "file_hashes_3.json"
    whole = memo.read_text()
    for damaged in ('{"torn', whole.replace("4", "5", 1)):
        read.clear()
        memo.write_text(damaged)
        with pytest.warns(UserWarning, match="is damaged; every file is hashed again"):
            dataset_fingerprint(data, cache_dir=cache)
        assert len(read) == 4


def test_entries_can_be_read_by_those_who_can_read_the_folder(encoder, tmp_path):
    before = os.umask(0o027)
    try:
        key = image_features(encoder, small_data(4, images=files(tmp_path)), cache_dir=tmp_path).key
    finally:
        os.umask(before)
    entry = tmp_path / "features" / key
    assert {oct(p.stat().st_mode & 0o777) for p in entry.iterdir()} == {"0o640"}
    assert oct(entry.stat().st_mode & 0o777) == "0o750"
    assert oct((tmp_path / "file_hashes_3.json").stat().st_mode & 0o777) == "0o640"


def test_an_interrupted_encoding_goes_on_where_it_stopped(encoder, tmp_path):
    data = small_data()
    whole = image_features(encoder, data, cache_dir=False, batch_size=2)
    encoder.passes.clear()

    def interrupt(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_features(encoder, data, cache_dir=tmp_path, batch_size=2, progress=interrupt)
    assert encoder.passes == [2, 2]
    assert len(list((tmp_path / "features").glob(".*.rows/*.npz"))) == 1
    encoder.passes.clear()
    seen = []
    again = image_features(
        encoder,
        data,
        cache_dir=tmp_path,
        batch_size=2,
        progress=lambda *counts: seen.append(counts),
    )
    assert encoder.passes == [1]  # the last image alone
    assert seen == [(5, 5)]
    assert np.array_equal(again.image_features, whole.image_features)
    assert np.array_equal(again.views, whole.views)
    assert not list((tmp_path / "features").glob(".*.rows"))


def test_a_torn_piece_of_an_interrupted_encoding_is_made_again(encoder, tmp_path):
    data = small_data()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_features(encoder, data, cache_dir=tmp_path, batch_size=2, progress=interrupt)
    (piece,) = (tmp_path / "features").glob(".*.rows/*.npz")
    piece.write_bytes(piece.read_bytes()[:40])
    encoder.passes.clear()
    again = image_features(encoder, data, cache_dir=tmp_path, batch_size=2)
    assert encoder.passes == [2, 2, 1]
    assert np.isfinite(again.image_features).all()
