"""Cells of one data set and backbone that are trained side by side."""

import numpy as np
import pytest

from vlmcal.experiment import work
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.plan import plan
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.experiment.workbench import Workbench
from vlmcal.io.predictions import load_predictions
from vlmcal.training import side_by_side

SPEC = {
    "data": {"name": "shapes", "n_classes": 4, "n_train": 8, "n_val": 4, "n_test": 4},
    "method": [{"name": "coop", "n_ctx": 2}, "zero_shot", "tip_adapter"],
    "objective": ["ce", ["ce", "mdca"]],
    "shots": [2, 4],
    "seed": [1, 2],
    "train": {"epochs": 3},
}


@pytest.fixture
def passes(monkeypatch):
    counted = []
    encode = side_by_side.encode_prompts

    def counting(encoder, layout, contexts, **options):
        counted.append(len(contexts))
        return encode(encoder, layout, contexts, **options)

    monkeypatch.setattr(side_by_side, "encode_prompts", counting)
    return counted


def run(folder, cache, spec=SPEC):
    bench = Workbench(cache_dir=cache)
    return list(run_experiment(parse_spec(spec), Store(folder), bench=bench))


def test_runs_are_those_of_cells_one_by_one(tmp_path, passes, monkeypatch):
    together = run(tmp_path / "together", tmp_path / "cache")
    assert passes == [8] * 3
    monkeypatch.setattr(work, "COMPANY", 1)
    apart = run(tmp_path / "apart", tmp_path / "cache")
    assert passes == [8] * 3
    ids = {r.cell.key: r.run for r in apart}
    assert {r.cell.key: r.run for r in together} == ids
    assert None not in ids.values()
    for name in ids.values():
        for path in (tmp_path / "apart" / "runs" / name / "predictions").glob("*.safetensors"):
            expected = load_predictions(path)
            found = load_predictions(
                tmp_path / "together" / "runs" / name / "predictions" / path.name
            )
            np.testing.assert_allclose(found.probabilities(), expected.probabilities(), atol=1e-5)
            assert found.ids.tolist() == expected.ids.tolist()


def test_what_fails_does_not_stop_its_company(tmp_path):
    spec = {**SPEC, "method": {"name": "coop", "n_ctx": 2}, "shots": [2, 50], "objective": "ce"}
    results = run(tmp_path / "runs", tmp_path / "cache", spec)
    failed = {r.cell.shots for r in results if r.error}
    assert failed == {50}
    assert len([r for r in results if r.run]) == 2


def test_who_holds_runs_waits_for_nobody(tmp_path):
    spec = {**SPEC, "method": {"name": "coop", "n_ctx": 2}, "shots": 2, "objective": "ce"}
    bench, store = Workbench(cache_dir=tmp_path / "cache"), Store(tmp_path / "runs").open()
    first, second = plan(parse_spec(spec))
    busy = work.StoreWork(store, bench)
    with store.lock(bench.run_id(first), wait=False) as mine:
        assert mine
        assert [(c.seed, r and r.run) for c, r in busy.together([first, second], False)] == [
            (1, None),
            (2, bench.run_id(second)),
        ]
    ((_, result),) = busy.together([first], True)
    assert result.run == bench.run_id(first)


def test_large_images_in_memory_keep_the_company_small(tmp_path, passes, monkeypatch):
    monkeypatch.setattr(work, "HELD_BYTES", 1)
    assert all(r.run for r in run(tmp_path / "runs", tmp_path / "cache"))
    assert passes == []


def test_what_another_process_ran_meanwhile_is_not_told_as_done_here(tmp_path, monkeypatch):
    store, bench = Store(tmp_path / "store"), Workbench(cache_dir=tmp_path / "cache")
    (cell,) = plan(parse_spec({"data": SPEC["data"], "method": "zero_shot"}))
    doing = work.StoreWork(store, bench)
    assert doing(cell, True).reused is False
    looked = iter(
        [False, False]
    )  # before it is waited for, and then the other one has published it
    monkeypatch.setattr(Store, "published", lambda *given: next(looked, True))
    assert doing(cell, True).reused is True
