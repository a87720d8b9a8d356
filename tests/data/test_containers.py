"""Images inside tar archives and Parquet files, and published few-shot files."""

import io
import json
import pickle
import subprocess
import sys
import tarfile
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmcal.data.audit import audit
from vlmcal.data.base import load_dataset, loader_of_path
from vlmcal.data.few_shot import few_shot
from vlmcal.data.parquet_images import parquet_images
from vlmcal.data.problems import InvalidDataError
from vlmcal.errors import DataError
from vlmcal.io.fingerprint import image_hashes
from vlmcal.io.images import read_image


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tar(file, members, mode="w"):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return file


# --- WebDataset


def test_shards_of_numbers_with_the_files_of_clip_benchmark(tmp_path):
    root = tmp_path / "wds_pets"
    tar(
        root / "train" / "0.tar",
        {"s1.png": png(1), "s1.cls": b"0", "s2.png": png(2), "s2.cls": b"1"},
    )
    tar(root / "test" / "0.tar", {"s1.webp": png(3), "s1.cls": b"1\n"})
    (root / "classnames.txt").write_text("cat\ndog\n")
    (root / "zeroshot_classification_templates.txt").write_text("a pet {c}.\n")
    assert loader_of_path(root) == "webdataset"
    data = load_dataset(root)
    assert data.class_names == ("cat", "dog")
    assert data.templates == ("a pet {}.",)
    assert dict(zip(data.ids.tolist(), data.splits.tolist(), strict=True)) == {
        "train/0.tar:s1": "train", "train/0.tar:s2": "train", "test/0.tar:s1": "test",
    }  # fmt: skip
    picture = data.images[data.ids.tolist().index("train/0.tar:s2")]
    assert np.array_equal(
        np.asarray(read_image(picture)), np.asarray(Image.open(io.BytesIO(png(2))))
    )
    assert audit(data).ok
    assert len(set(image_hashes(data, tmp_path))) == 3


def test_labels_and_groups_in_json(tmp_path):
    members = {}
    for n, (name, patient) in enumerate([("ill", "p1"), ("well", "p2"), ("ill", "p1")]):
        members[f"x/{n}.jpg"] = png(n)
        members[f"x/{n}.json"] = json.dumps({"finding": name, "patient": patient}).encode()
    file = tar(tmp_path / "clinic-train-000.tar", members)
    with pytest.raises(DataError, match=r'no sample has a label "json".*pass label=json.KEY'):
        load_dataset(file)
    data = load_dataset({"path": str(file), "label": "json.finding", "group": "json.patient"})
    assert data.labels.tolist() == [0, 1, 0]
    assert data.groups.tolist() == ["p1", "p2", "p1"]
    assert set(data.splits.tolist()) == {"train"}


def test_what_is_wrong_with_shards(tmp_path):
    tar(
        tmp_path / "a" / "train-0.tar",
        {"1.png": png(1), "2.png": png(2), "2.cls": b"7", "3.cls": b"0"},
    )
    tar(tmp_path / "a" / "more.tar", {"4.png": png(4), "4.cls": b"0"})
    with pytest.raises(InvalidDataError) as caught:
        load_dataset({"path": str(tmp_path / "a"), "class_names": ["cat", "dog"]})
    text = str(caught.value)
    assert "some archives name a split and 1 do not: more.tar" in text
    assert "1 samples have no image: train-0.tar: 3" in text
    assert "1 labels are outside 0 to 1" in text
    assert 'column "label" is empty in data rows' in text
    tar(tmp_path / "b.tar.gz", {"1.png": png(1), "1.cls": b"cat"}, "w:gz")
    with pytest.raises(DataError, match=r"uncompress it once: gunzip"):
        load_dataset(tmp_path / "b.tar.gz")
    (tmp_path / "c.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match="not a readable tar archive"):
        load_dataset(tmp_path / "c.tar")


def test_a_truncated_archive_is_found_by_the_audit(tmp_path):
    file = tar(tmp_path / "train-0.tar", {"1.cls": b"cat", "1.png": png(1)})
    whole = file.read_bytes()
    file.write_bytes(whole[: 512 * 3 + 40])
    with pytest.raises(DataError, match=r"not a readable tar|ends inside"):
        read_image(load_dataset(file).images[0])


# --- Hugging Face


def parquet(file, n, start=0, *, names=("cat", "dog"), rows=2, label="label"):
    cells = [{"bytes": png(start + i), "path": f"{start + i}.png"} for i in range(n)]
    labels = [i % 2 for i in range(n)]
    table = pa.table({"image": cells, label: labels, "patient": [f"p{i // 2}" for i in range(n)]})
    features = {"image": {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(note), file, row_group_size=rows)
    return file


def test_a_folder_as_the_hub_has_it(tmp_path):
    parquet(tmp_path / "pets" / "data" / "train-00000-of-00002.parquet", 5)
    parquet(tmp_path / "pets" / "data" / "train-00001-of-00002.parquet", 3, 5)
    parquet(tmp_path / "pets" / "data" / "validation-00000-of-00001.parquet", 2, 8)
    parquet(tmp_path / "pets" / "data" / "test-00000-of-00001.parquet", 4, 10)
    assert loader_of_path(tmp_path / "pets") == "parquet_images"
    data = load_dataset(tmp_path / "pets")
    assert data.class_names == ("cat", "dog")
    assert {s: int((data.splits == s).sum()) for s in ("train", "val", "test")} == {
        "train": 8, "val": 2, "test": 4,
    }  # fmt: skip
    order = data.ids.tolist()
    last = order.index("train/7")
    assert np.array_equal(
        np.asarray(read_image(data.images[last])), np.asarray(Image.open(io.BytesIO(png(7))))
    )
    assert audit(data).ok
    grouped = load_dataset({"path": str(tmp_path / "pets"), "group": "patient"})
    assert grouped.groups.tolist()[:3] == ["p0", "p0", "p1"]


def test_a_table_with_images_inside_is_no_plain_manifest(tmp_path):
    file = parquet(tmp_path / "x.parquet", 6, label="breed")
    assert loader_of_path(file) == "parquet_images"
    data = load_dataset(file)
    assert set(data.splits.tolist()) == {"train", "val", "test"}
    paths = pa.table({"image": ["a.png"], "label": ["cat"]})
    pq.write_table(paths, tmp_path / "y.parquet")
    assert loader_of_path(tmp_path / "y.parquet") == "manifest"


def test_columns_that_are_not_described(tmp_path):
    cells = [{"bytes": png(1), "path": None}]
    pq.write_table(pa.table({"a": cells, "b": cells, "kind": ["cat"]}), tmp_path / "train.parquet")
    with pytest.raises(
        DataError, match=r'no column "image"; .*pass image=NAME.*\(a, b could be it\)'
    ):
        load_dataset(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r'no column "label"; .* pass label=NAME'):
        load_dataset({"path": str(tmp_path / "train.parquet"), "image": "a"})
    with pytest.raises(DataError, match=r'no column "kin"; .*"kind"'):
        load_dataset({"path": str(tmp_path / "train.parquet"), "image": "a", "label": "kin"})
    data = load_dataset({"path": str(tmp_path / "train.parquet"), "image": "a", "label": "kind"})
    assert data.class_names == ("cat",)


def test_a_hub_id(tmp_path, monkeypatch):
    import huggingface_hub

    parquet(tmp_path / "copy" / "data" / "test-00000-of-00001.parquet", 4)
    asked = []

    def download(repo, **options):
        asked.append((repo, options["repo_type"], options["revision"]))
        if repo == "nobody/nothing":
            raise OSError("404")
        return str(tmp_path / "copy")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    data = load_dataset("parquet_images(repo=owner/pets, revision=v1)")
    assert asked == [("owner/pets", "dataset", "v1")]
    assert (data.name, len(data)) == ("pets", 4)
    with pytest.raises(DataError, match=r'hub data set "nobody/nothing": cannot be had \(404\)'):
        parquet_images(repo="nobody/nothing")
    with pytest.raises(DataError, match="pass either path=FOLDER or repo="):
        parquet_images()


# --- published few-shot files


@pytest.fixture
def split_file(tmp_path):
    parts = {
        part: [[f"{name}/{part}{i}.png", label, name] for label, name in enumerate(("cat", "dog"))
               for i in range(6)]
        for part in ("train", "val", "test")
    }  # fmt: skip
    file = tmp_path / "split_zhou_Toy.json"
    file.write_text(json.dumps(parts))
    return file


def index_of(data, rows):
    return [
        {
            "impath": f"./data/toy/images/{data.ids[r]}",
            "label": int(data.labels[r]),
            "classname": "?",
        }
        for r in rows
    ]


def test_an_index_file_is_the_published_draw(tmp_path, split_file):
    data = load_dataset(split_file)
    drawn = few_shot(data, 2, 1)
    index = tmp_path / "shot_2-seed_1.json"
    lists = {
        "train": {"data": index_of(data, drawn.train)},
        "val": {"data": index_of(data, drawn.val)},
    }
    index.write_text(json.dumps(lists))
    cut = load_dataset({"path": str(split_file), "few_shot": str(index)})
    assert cut.ids[cut.splits == "train"].tolist() == data.ids[drawn.train].tolist()
    assert cut.ids[cut.splits == "val"].tolist() == data.ids[drawn.val].tolist()
    assert (cut.splits == "test").sum() == 12
    assert any("shot_2-seed_1.json" in line for line in cut.remarks)
    lists["train"]["data"][0]["impath"] = "elsewhere/x.png"
    index.write_text(json.dumps(lists))
    with pytest.raises(DataError, match="1 listed images are not in"):
        load_dataset({"path": str(split_file), "few_shot": str(index)})


def test_pickles_are_refused_with_a_command_that_works(tmp_path, split_file):
    data = load_dataset(split_file)
    module = types.ModuleType("old_code")
    source = "class Datum:\n    def __init__(self, **d): self.__dict__.update(d)\n"
    exec(source, module.__dict__)
    module.Datum.__module__ = "old_code"
    sys.modules["old_code"] = module
    try:
        items = [module.Datum(**item) for item in index_of(data, few_shot(data, 2, 1).train)]
        file = tmp_path / "shot_2-seed_1.pkl"
        file.write_bytes(pickle.dumps({"train": items, "val": []}))
    finally:
        del sys.modules["old_code"]
    for spec in (file, {"path": str(split_file), "few_shot": str(file)}):
        with pytest.raises(DataError, match="a pickle, which runs whatever is in it") as caught:
            load_dataset(spec)
    command = next(line for line in str(caught.value).splitlines() if line.startswith("  python"))
    (tmp_path / "old_code.py").write_text(source)
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True, cwd=tmp_path,
                   env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    cut = load_dataset({"path": str(split_file), "few_shot": str(tmp_path / "shot_2-seed_1.json")})
    assert (cut.splits == "train").sum() == 4


def test_a_converted_list_is_a_data_set_of_its_own(tmp_path, draw):
    root = draw("train/ill/a.png", "test/ill/b.png")
    content = {
        part: {"data": [{"impath": f"/home/them/images/{path}", "label": 0, "classname": "ill"}]}
        for part, path in {"train": "train/ill/a.png", "test": "test/ill/b.png"}.items()
    }
    (root / "preprocessed.json").write_text(json.dumps(content))
    data = load_dataset(root / "preprocessed.json")
    assert all(path.is_file() for path in data.images)
    assert audit(data).ok
