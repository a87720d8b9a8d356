"""Large data sets are encoded in shards, with the numbers of one pass."""

import numpy as np

from vlmcal.backbones import load_backbone
from vlmcal.backbones.cache import encode_rows, image_features, is_encoded
from vlmcal.experiment import shards as module
from vlmcal.experiment.engines.base import engine_from
from vlmcal.experiment.plan import plan
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.shards import ShardWork, parts, shards
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io import fingerprint
from vlmcal.types.dataset import Dataset


def images(n=150):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (n, 8, 8, 3)).astype(np.uint8)
    splits = ["train"] * 20 + ["val"] * 10 + ["test"] * (n - 30)
    return Dataset(
        name="d", images=pixels, labels=np.arange(n) % 2, splits=splits, class_names=("cat", "dog")
    )


def test_rows_encoded_apart_are_the_whole(tmp_path, tiny_folder, monkeypatch):
    encoder, data = load_backbone(str(tiny_folder)), images()
    whole = image_features(encoder, data, cache_dir=False)
    told = []
    for rows in (range(64, 128), range(128, 150), range(0, 64)):
        assert not is_encoded(encoder, data, cache_dir=tmp_path)
        encode_rows(encoder, data, rows, cache_dir=tmp_path, progress=lambda *at: told.append(at))
    assert told == [(64, 64), (22, 22), (64, 64)]
    monkeypatch.setattr(type(encoder), "encode_pixels", None)  # nothing is left to encode
    found = image_features(encoder, data, cache_dir=tmp_path)
    assert np.array_equal(found.image_features, whole.image_features)
    assert np.array_equal(found.views, whole.views)
    assert is_encoded(encoder, data, cache_dir=tmp_path)
    assert not list(tmp_path.glob("features/.*"))


def test_an_engine_encodes_what_is_large_once_for_all_cells(tmp_path, tiny_folder, monkeypatch):
    monkeypatch.setattr(module, "FROM", 100)
    monkeypatch.setattr(module, "SIZE", 64)
    bench = Workbench(cache_dir=tmp_path, unchecked=True)
    bench.add_dataset({"name": "d"}, images())
    spec = {"data": {"name": "d"}, "backbone": str(tiny_folder), "method": ["zero_shot", "coop"]}
    cells = plan(parse_spec({**spec, "shots": 2, "seed": "1..3"}))
    found = shards(cells, bench)
    assert [(each.part, each.start, each.stop) for each in found] == [
        ("all", 0, 64),
        ("all", 64, 120),
    ]
    results = list(engine_from("inline")(found, ShardWork(bench)))
    assert all(result.error is None for result in results)
    encoder = bench.encoder(cells[0])
    part = parts(cells[0], bench)["all"]
    monkeypatch.setattr(type(encoder), "encode_pixels", None)
    assert bench.features(encoder, part).image_features.shape[0] == 120
    assert shards(cells, bench) == []


def test_zero_shot_encodes_no_training_image(tmp_path):
    told = []
    bench = Workbench(
        cache_dir=tmp_path, unchecked=True, progress=lambda done, total: told.append(total)
    )
    bench.add_dataset({"name": "d"}, images())
    zero_shot, coop = plan(
        parse_spec(
            {
                "data": {"name": "d"},
                "backbone": "pocket",
                "method": ["zero_shot", "coop"],
                "shots": 2,
                "seed": 1,
                "train": {"epochs": 1, "batch_size": 4},
            }
        )
    )
    store = Store(tmp_path / "runs")
    run_cell(zero_shot, store, bench)
    held, test = (len(part) for part in parts(zero_shot, bench).values())
    assert set(told) == {held, test}
    told.clear()
    run_cell(coop, store, bench)
    assert told == [4]  # what it is trained on; the rest is known


def test_files_are_hashed_once_for_all_parts(tmp_path, small_images, monkeypatch):
    read, digest_file = [], fingerprint.digest_file
    monkeypatch.setattr(fingerprint, "digest_file", lambda p: read.append(p) or digest_file(p))
    bench = Workbench(cache_dir=tmp_path, unchecked=True)
    (cell,) = plan(parse_spec({"data": {"path": str(small_images)}, "method": "zero_shot"}))
    whole = bench.content(bench.dataset(cell))
    assert len(read) == len(set(read)) == 48
    for part in parts(cell, bench).values():
        assert bench.content(part) not in ("", whole)
    assert len(read) == 48
    assert bench.content(bench.dataset(cell)) == fingerprint.dataset_fingerprint(
        bench.dataset(cell)
    )
