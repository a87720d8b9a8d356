"""Images of Hugging Face's datasets, written here as ``save_to_disk`` and ``to_parquet`` write them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import vlmcal
from vlmcal.data import load_dataset
from vlmcal.errors import DataError

FEATURES = {
    "picture": {"_type": "Image"},
    "label": {"names": ["dark", "light"], "_type": "ClassLabel"},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))


def table(n, start=0):
    cells = []
    for i in range(start, start + n):
        stream = io.BytesIO()
        Image.fromarray(np.full((9, 9, 3), 200 * (i % 2) + i % 50, np.uint8)).save(stream, "PNG")
        cells.append({"bytes": stream.getvalue(), "path": None})
    columns = {
        "picture": cells,
        "label": [i % 2 for i in range(n)],
        "who": [f"p{i // 2}" for i in range(n)],
    }
    told = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pa.table(columns).replace_schema_metadata(told)


def save(folder, part):
    folder.mkdir(parents=True)
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", part.schema) as stream:
        stream.write_table(part)
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (folder / "state.json").write_text("{}")
    return folder


class AtHand:
    """What is used of a ``datasets.Dataset``."""

    def __init__(self, part):
        self.part, self.column_names = part, part.column_names
        self.features = {"label": type("ClassLabel", (), {"names": ["dark", "light"]})()}

    def with_format(self, form):
        assert form == "arrow"
        return self

    def __getitem__(self, rows):
        return self.part


def test_splits_saved_to_disk(tmp_path):
    root = tmp_path / "rooms"
    for split, part in (("train", table(8)), ("validation", table(4, 8)), ("test", table(6, 12))):
        save(root / split, part)
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    data = load_dataset({"path": str(root), "group": "who"})
    assert data.class_names == ("dark", "light")
    assert data.name == "rooms"
    assert [int((data.splits == s).sum()) for s in ("train", "val", "test")] == [8, 4, 6]
    train = data.of_split("train")
    assert (train.ids[3], train.groups[3], train.labels[3]) == ("train/3", "p1", 1)
    assert np.asarray(Image.open(train.images[3]))[0, 0, 0] == 203
    # the files that were written are the bytes that were held, and are not written again
    assert len(set(load_dataset(str(root)).images) - set(data.images)) == 0


def test_one_part_gets_a_split(tmp_path):
    data = load_dataset(str(save(tmp_path / "one", table(20))))
    assert {"train", "val", "test"} == set(data.splits.tolist())
    assert data.ids[:2].tolist() == ["0", "1"]


def test_parquet_files_of_a_repository(tmp_path):
    (tmp_path / "repo" / "data").mkdir(parents=True)
    for split in ("train", "test"):
        pa.parquet.write_table(
            table(6), tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet"
        )
    data = load_dataset(str(tmp_path / "repo"))
    assert (data.class_names, len(data.of_split("test"))) == (("dark", "light"), 6)


def test_at_hand_trains(tmp_path):
    parts = {"train": AtHand(table(8)), "validation": AtHand(table(8)), "test": AtHand(table(8))}
    assert len(load_dataset(parts["train"])) == 8
    model = vlmcal.fit(parts, shots=2, epochs=1, store=tmp_path / "runs", unchecked=True)
    assert model.class_names == ("dark", "light")


def test_refusals(tmp_path):
    with pytest.raises(DataError, match='unknown split "extra"'):
        load_dataset({"extra": AtHand(table(4))})
    with pytest.raises(DataError, match='no column "label"'):
        load_dataset(AtHand(table(4).drop_columns("label")))
    with pytest.raises(DataError, match='no column "image" with images'):
        load_dataset(AtHand(table(4).drop_columns("picture")))
    broken = save(tmp_path / "broken", table(4))
    (broken / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match=r"broken.*data-00000-of-00001\.arrow is not readable"):
        load_dataset(str(broken))
    without = table(4).set_column(0, "picture", pa.array([{"bytes": b"text", "path": ""}] * 4))
    with pytest.raises(DataError, match="not a readable image"):
        load_dataset(AtHand(without))
