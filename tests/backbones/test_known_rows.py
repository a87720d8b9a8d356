"""Images are encoded once per tower, whatever data set or part of one asks for them."""

import json

import numpy as np
import pytest

from small_data import small_data
from vlmcal.backbones import load_backbone
from vlmcal.backbones.cache import encode_rows, image_features


@pytest.fixture
def encoder(counting):
    return counting(load_backbone("pocket"))


def dataset(n=7, **changes):
    return small_data(n, size=(9, 12), **changes)


def test_a_part_then_the_whole_encodes_the_rest_alone(encoder, tmp_path):
    data = dataset()
    whole = image_features(encoder, data, cache_dir=False)
    encoder.passes.clear()
    image_features(encoder, data.subset([1, 3, 6]), cache_dir=tmp_path, batch_size=2)
    assert encoder.passes == [2, 1]
    encoder.passes.clear()
    seen = []
    again = image_features(
        encoder, data, cache_dir=tmp_path, batch_size=3, progress=lambda *at: seen.append(at)
    )
    assert encoder.passes == [3, 1]
    assert seen == [(6, 7), (7, 7)]
    assert np.array_equal(again.image_features, whole.image_features)  # to the last bit
    assert np.array_equal(again.views, whole.views)
    encoder.passes.clear()
    other = image_features(encoder, data.subset([5, 0]), cache_dir=tmp_path)
    assert encoder.passes == []
    assert np.array_equal(other.image_features, again.image_features[[5, 0]])


def test_data_sets_share_images_of_one_tower(encoder, tmp_path):
    data = dataset()
    image_features(encoder, data, cache_dir=tmp_path)
    encoder.passes.clear()
    other = dataset(name="other", ids=list("tuvwxyz"), class_names=("c", "d"))
    image_features(encoder, other, cache_dir=tmp_path)
    assert encoder.passes == []
    image_features(encoder, other, cache_dir=tmp_path, views=2)
    assert encoder.passes == [14]  # other views are other pictures
    encoder.passes.clear()
    image_features(encoder, other.subset([2]), cache_dir=tmp_path, views=2)
    assert encoder.passes == []
    image_features(encoder, data.subset([2]), cache_dir=tmp_path, views=2)
    assert encoder.passes == [2]  # whose crops are drawn from its id
    encoder.passes.clear()
    warmer = load_backbone("pocket(logit_scale=20)")  # another fingerprint, and so another tower
    made = image_features(warmer, data.subset([2]), cache_dir=tmp_path)
    record = json.loads((tmp_path / "features" / made.key / "entry.json").read_text())
    assert record["about"]["encoder"] == warmer.fingerprint != encoder.fingerprint


def as_before(entry):
    """An entry of the time when rows had no names."""
    (entry / "images.npy").unlink()
    record = json.loads((entry / "entry.json").read_text())
    del record["arrays"]["images"], record["about"]["tower"]
    (entry / "entry.json").write_text(json.dumps(record))


def test_entries_from_before_rows_were_named_stay_valid(encoder, tmp_path):
    data = dataset()
    key = image_features(encoder, data, cache_dir=tmp_path).key
    as_before(tmp_path / "features" / key)
    encoder.passes.clear()
    again = image_features(encoder, data, cache_dir=tmp_path)
    assert (encoder.passes, again.key) == ([], key)
    image_features(encoder, data.subset([0]), cache_dir=tmp_path)
    assert encoder.passes == [1]


def test_damaged_rows_are_not_handed_on(encoder, tmp_path):
    data = dataset()
    first = image_features(encoder, data, cache_dir=tmp_path)
    file = tmp_path / "features" / first.key / "features.npy"
    del first
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    encoder.passes.clear()
    image_features(encoder, data.subset([6, 1]), cache_dir=tmp_path)
    assert encoder.passes == [2]


def test_a_shard_leaves_out_what_is_known(encoder, tmp_path):
    data = dataset()
    image_features(encoder, data.subset([0, 1]), cache_dir=tmp_path)
    encoder.passes.clear()
    encode_rows(encoder, data, range(4), cache_dir=tmp_path)
    assert encoder.passes == [2]
    image_features(encoder, data, cache_dir=tmp_path)
    assert encoder.passes == [2, 3]
