"""``ray``: tasks of a cluster of this machine; a worker that dies loses nothing."""

import os
from pathlib import Path

import pytest

from fake_work import FakeCell, FakeWork
from vlmcal.experiment.engines.base import engine_from

ray = pytest.importorskip("ray", reason="ray is not installed: the engine is not tested")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster():
    place = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", place)  # workers import the cells of the tests
        yield from _cluster()


def _cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_every_cell_is_run_once_whatever_becomes_of_the_workers(tmp_path):
    behaviour = {3: "dies once", 5: "fails", 9: "dies"}
    cells = [FakeCell(number, number % 2, behaviour.get(number, "")) for number in range(12)]
    work = FakeWork(tmp_path)
    results = list(engine_from("ray(workers=2, gpus_per_cell=0)")(cells, work))
    found = {r.cell.number: r for r in results}
    assert len(results) == len(found) == 12
    assert {n for n, r in found.items() if r.error} == {5, 9}
    assert "3 workers ended with it" in str(found[9].error)
    assert work.published() == {c.key: c.number**2 for c in cells if c.number not in (5, 9)}
    assert all(len(work.tries(cell)) == 1 for cell in cells if cell.number not in (3, 5, 9))
    assert sorted((tmp_path / "loaded.log").read_text().split()) == ["0", "1"]


def test_what_is_loaded_here_comes_along(tmp_path, small_images, tiny_folder, monkeypatch):
    """A worker elsewhere has weights, data and features without a file to read them from."""
    import pickle

    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.run import Workbench
    from vlmcal.experiment.spec import parse_spec
    from vlmcal.experiment.store import Store
    from vlmcal.experiment.work import StoreWork

    settings = {"data": {"path": str(small_images)}, "backbone": str(tiny_folder)}
    cells = plan(parse_spec({**settings, "method": "zero_shot"}))
    work = StoreWork(Store(tmp_path).open(), Workbench(cache_dir=tmp_path / "cache"))
    there = pickle.loads(pickle.dumps(work.loaded(cells[0])))
    alone = pickle.loads(pickle.dumps(work))
    for name in ("load_backbone", "load_dataset", "image_features"):
        monkeypatch.setattr(f"vlmcal.experiment.workbench.{name}", None)
    assert there(cells[0], True).error is None
    assert alone(cells[0], True).run is None
