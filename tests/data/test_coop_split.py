import gzip
import json

import pytest

from vlmcal.data.coop_split import coop_split
from vlmcal.data.problems import InvalidDataError
from vlmcal.errors import DataError

SPLIT = {
    "train": [["z/1.jpg", 1, "sea_lion"], ["a/1.jpg", 0, "cat"]],
    "val": [["z/2.jpg", 1, "sea_lion"]],
    "test": [["a/2.jpg", 0, "cat"]],
}


@pytest.fixture
def split(tmp_path):
    def write(content, name="split_zhou_DescribableTextures.json"):
        file = tmp_path / name
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return file

    return write


@pytest.mark.parametrize("name", ["split_zhou_DescribableTextures.json", "split_BTMRI.json.gz"])
def test_rows_keep_the_order_of_the_file(split, tmp_path, name):
    data = coop_split(split(SPLIT, name), image_root=tmp_path / "images")
    assert data.ids.tolist() == ["z/1.jpg", "a/1.jpg", "z/2.jpg", "a/2.jpg"]
    assert data.labels.tolist() == [1, 0, 1, 0]
    assert data.splits.tolist() == ["train", "train", "val", "test"]
    assert data.class_names == ("cat", "sea_lion")
    assert data.images[0] == tmp_path / "images" / "z/1.jpg"


def test_known_data_sets_get_their_published_template(split):
    assert coop_split(split(SPLIT)).templates == ("{} texture.",)
    assert coop_split(split(SPLIT, "split_Mine.json")).templates == ("a photo of a {}.",)
    assert coop_split(split(SPLIT), templates="{}!").templates == ("{}!",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"val": [["q.jpg", "1", "cat"]]},
            r"1 entries are not .image path, label from 0, class name",
        ),
        ({"val": [["q.jpg", True, "cat"]]}, "1 entries are not"),
        ({"val": [["q.jpg", -1, "cat"], "x"]}, "2 entries are not"),
        ({"test": [["z/1.jpg", 1, "sea_lion"]]}, "1 ids occur more than once: z/1.jpg"),
        ({"val": [["q.jpg", 1, "cat"]]}, 'class "cat" has several labels: 0, 1'),
        ({"val": [["q.jpg", 0, "dog"]]}, "label 0 has several class names: cat, dog"),
        ({"val": [["q.jpg", 4, "dog"]]}, "count from 0 without gaps; no image has label 2, 3"),
    ],
)
def test_bad_entries(split, change, message):
    with pytest.raises(InvalidDataError, match=message):
        coop_split(split(SPLIT | change))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [], "valid": [], "test": []}, 'no list "val"; .* did you mean "valid"'),
        ([1], "expected an object with the lists train, val, test, got a list"),
        ({"train": [], "val": [], "test": []}, "no usable entry in train, val, test"),
        (b'{"train": [', "not readable as JSON"),
    ],
)
def test_unreadable_split_files(split, content, message):
    with pytest.raises(DataError, match=message):
        coop_split(split(content))


def test_damaged_gzip(split):
    file = split(SPLIT, "split_x.json.gz")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match="not readable as JSON"):
        coop_split(file)
