"""What every registered loader of images promises, whoever wrote it."""

import inspect
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from vlmcal.data.base import DATASETS, ByName, accepts, as_spec, load_dataset, loader_of_path
from vlmcal.errors import DataError, SpecError, VlmcalError
from vlmcal.io.fingerprint import dataset_fingerprint
from vlmcal.options import Typed, parameters
from vlmcal.types.dataset import Dataset

NAMES = DATASETS.names()
WITH_PATH = [name for name, loader in DATASETS.items() if hasattr(loader, "accepts")]


def photos(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def held(folder: Path) -> dict[str, Path]:
    """The same photos inside Parquet files, a saved Arrow table, and tar archives, by split."""
    places = {name: folder / name for name in ("parquet_images", "hugging_face", "webdataset")}
    for place in places.values():
        place.mkdir()
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    for offset, split in enumerate(("train", "val", "test")):
        chosen = [
            (k, folder / f"photos/{c}/{i}.png")
            for k, c in enumerate(("cat", "dog"))
            for i in range(offset, 6, 3)
        ]
        cells = [{"bytes": path.read_bytes(), "path": None} for _, path in chosen]
        part = pa.table({"image": cells, "label": [k for k, _ in chosen]})
        part = part.replace_schema_metadata(told)
        pyarrow.parquet.write_table(part, places["parquet_images"] / f"{split}-00000.parquet")
        saved = places["hugging_face"] / split
        saved.mkdir()
        with pa.ipc.new_stream(saved / "data-00000-of-00001.arrow", part.schema) as stream:
            stream.write_table(part)
        (saved / "dataset_info.json").write_text(json.dumps({"features": features}))
        (saved / "state.json").write_text("{}")
        shard = places["webdataset"] / split
        shard.mkdir()
        with tarfile.open(shard / "0.tar", "w") as archive:
            for number, (k, path) in enumerate(chosen):
                for ending, content in (("png", path.read_bytes()), ("cls", str(k).encode())):
                    member = tarfile.TarInfo(f"{number}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    splits = {"splits": ["train", "val", "test"]}
    (places["hugging_face"] / "dataset_dict.json").write_text(json.dumps(splits))
    (places["webdataset"] / "classnames.txt").write_text("cat\ndog\n")
    return places


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A path for every loader that is given one; each shows two classes in twelve images."""
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    root = photos(tmp_path / "photos")
    rows = [
        (f"{c}/{i}.png", c, ("train", "val", "test")[i % 3])
        for c in ("cat", "dog")
        for i in range(6)
    ]
    table = tmp_path / "rows.csv"
    table.write_text("image,label,split\n" + "".join(f"photos/{p},{c},{s}\n" for p, c, s in rows))
    findings = tmp_path / "findings.csv"
    findings.write_text(
        "image,tail,fur,split\n"
        + "".join(f"photos/{p},{int(c == 'cat')},1,{s}\n" for p, c, s in rows)
    )
    split = tmp_path / "split.json"
    parts = {
        s: [[f"photos/{p}", "cd".index(c[0]), c] for p, c, t in rows if t == s]
        for s in ("train", "val", "test")
    }
    split.write_text(json.dumps(parts))
    arrays = tmp_path / "arrays.npz"
    labels = np.repeat([0, 1], 6)
    pixels = np.repeat(np.arange(12, dtype=np.uint8), 64).reshape(12, 8, 8)
    common = {"labels": labels, "class_names": ["cat", "dog"]}
    np.savez(arrays, images=pixels, **common)
    features = tmp_path / "features.npz"
    unit = np.eye(12, 4, dtype=np.float32) + 0.1
    np.savez(features, image_features=unit, text_features=np.eye(2, 4, dtype=np.float32), **common)
    return {
        "folder": root,
        "manifest": table,
        "findings": findings,
        "coop_split": split,
        "arrays": arrays,
        "features": features,
        **held(tmp_path),
    }


def given(name, sources):
    """What names the example of a loader."""
    if name == "finding":  # is told which one, and found by no path
        return {"name": name, "path": sources["findings"], "finding": "tail"}
    if name == "corrupted":  # of another data set
        return {"name": name, "of": "digits", "kind": "contrast"}
    return {"path": sources[name]} if name in sources else {"name": name}


def load(name, sources):
    return load_dataset(given(name, sources))


def test_every_loader_that_accepts_paths_has_an_example_here(sources):
    assert set(WITH_PATH) == set(sources) - {"findings"}


@pytest.mark.parametrize("name", NAMES)
def test_a_loader_gives_a_data_set_that_is_the_same_every_time(name, sources):
    first, again = load(name, sources), load(name, sources)
    assert isinstance(first, Dataset)
    assert len(first) > 0
    assert first.class_names == again.class_names
    assert dataset_fingerprint(first) == dataset_fingerprint(again)
    np.testing.assert_array_equal(first.splits, again.splits)
    assert set(np.unique(first.labels)) <= set(range(len(first.class_names)))
    assert {"train", "test"} <= set(first.splits)
    assert first.templates


@pytest.mark.parametrize("name", WITH_PATH)
def test_its_path_finds_it_and_changes_nothing(name, sources):
    assert loader_of_path(sources[name]) == name
    named = load_dataset({"name": name, next(iter(parameters(DATASETS.get(name)))): sources[name]})
    assert dataset_fingerprint(named) == dataset_fingerprint(load(name, sources))


@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked_and_unknown_ones_named(name, sources):
    told = given(name, sources)
    with pytest.raises(SpecError, match=f'data set "{name}" has no option "no_such_option"'):
        load_dataset({**told, "no_such_option": 1})
    for option, hint in parameters(DATASETS.get(name)).items():
        if hint in (int, float, str, bool) and option != "name":  # names the loader there
            with pytest.raises(SpecError, match=f"{option} must be"):
                load_dataset({**told, option: object()})


@pytest.mark.parametrize("name", NAMES)
def test_templates_can_be_given(name, sources):
    if "templates" not in parameters(DATASETS.get(name)):
        assert load(name, sources).templates
        return
    told = given(name, sources)
    assert load_dataset({**told, "templates": ["a scan of {}."]}).templates == ("a scan of {}.",)


@pytest.mark.parametrize("name", WITH_PATH)
def test_a_damaged_source_is_one_message(name, sources, tmp_path):
    if sources[name].is_dir():
        bad = tmp_path / "empty"
        bad.mkdir()
    else:
        bad = tmp_path / f"bad{sources[name].suffix}"
        bad.write_bytes(b"\x00\xff{not a table")
    loader = DATASETS.get(name)
    with pytest.raises(VlmcalError):
        loader(bad)


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_what_it_reads(name):
    text = inspect.getdoc(DATASETS.get(name))
    assert "Example:" in text
    assert all(f"{option}:" in text for option in parameters(DATASETS.get(name)))


# --- a layout of an add-on package


@pytest.fixture
def file_pairs(monkeypatch):
    """A layout that vlmcal does not ship: NAME.png beside NAME.txt with the class name."""

    def looks_like_pairs(path):
        return path.is_dir() and any(f.with_suffix(".txt").is_file() for f in path.glob("*.png"))

    @accepts(looks_like_pairs)
    def pairs(root: str | Path, *, upper: bool = False):
        files = sorted(Path(root).glob("*.png"))
        words = [f.with_suffix(".txt").read_text().strip() for f in files]
        names = sorted(set(words))
        shown = [w.upper() for w in names] if upper else names
        splits = ["train", "val", "test"] * len(files)
        return Dataset(
            name="pairs",
            images=files,
            labels=[names.index(word) for word in words],
            splits=splits[: len(files)],
            class_names=tuple(shown),
        )

    monkeypatch.setitem(DATASETS._entries, "file_pairs", pairs)


@pytest.fixture
def pairs_folder(tmp_path):
    root = photos(tmp_path / "source")
    flat = tmp_path / "pairs"
    flat.mkdir()
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(flat / f"{i}.png")
        (flat / f"{i}.txt").write_text(path.parent.name)
    return flat


def test_a_layout_of_a_plug_in_is_found_by_its_path(file_pairs, pairs_folder, sources):
    assert loader_of_path(pairs_folder) == "file_pairs"
    assert load_dataset(pairs_folder).class_names == ("cat", "dog")
    assert loader_of_path(sources["folder"]) == "folder"
    spec = as_spec(str(pairs_folder), {"upper": Typed("true")})
    assert load_dataset(spec).class_names == ("CAT", "DOG")


def test_two_loaders_for_one_path_are_told(file_pairs, pairs_folder, monkeypatch):
    other = accepts(lambda path: path.is_dir())(lambda root: None)
    monkeypatch.setitem(DATASETS._entries, "other", other)
    with pytest.raises(
        DataError, match=r"several loaders accept it \(file_pairs, other\); name one"
    ):
        load_dataset(pairs_folder)


def test_a_name_alone_gives_way_to_a_look_inside():
    assert ByName((".csv",))(Path("A.CSV"))
    assert not ByName((".csv",))(Path("."))
    assert ByName(folders=True)(Path("."))
