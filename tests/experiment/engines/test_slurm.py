"""``slurm``: jobs through submitit, here as processes of this machine."""

import os
from pathlib import Path

import pytest

from fake_work import FakeCell, FakeWork
from vlmcal.experiment.engines.base import engine_from

submitit = pytest.importorskip("submitit", reason="submitit is not installed: not tested")


@pytest.mark.slow
def test_jobs_run_every_cell_once(tmp_path, monkeypatch):
    place = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", place)  # jobs import the cells of the tests
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # of the job that is killed
    cells = [FakeCell(n, n % 2, {2: "fails", 3: "dies once"}.get(n, "")) for n in range(6)]
    work = FakeWork(tmp_path)
    engine = engine_from(
        {"name": "slurm", "cluster": "local", "workers": 2, "logs": str(tmp_path / "l")}
    )
    results = {r.cell.number: r for r in engine(cells, work)}
    assert sorted(results) == list(range(6))
    assert [n for n, r in results.items() if r.error] == [2]
    assert work.published() == {c.key: c.number**2 for c in cells if c.number != 2}
    assert all(len(work.tries(cells[n])) == 1 for n in (0, 1, 4, 5))


def test_a_job_that_is_queued_again_passes_over_what_is_published(tmp_path):
    from vlmcal.experiment.engines.slurm import Piece

    work = FakeWork(tmp_path)
    cells = [FakeCell(1), FakeCell(2)]
    work(cells[0], True)
    again = Piece(work).checkpoint(cells)
    outcomes = again.result()
    assert [(cell.number, result.reused) for cell, result in outcomes] == [(1, True), (2, False)]
    assert len(work.tries(cells[0])) == 1


def test_settings_of_jobs_go_to_the_scheduler(tmp_path, monkeypatch):
    seen = {}
    real = submitit.AutoExecutor

    class Executor(real):
        def update_parameters(self, **settings):
            seen.update(settings)
            super().update_parameters(**settings)

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    options = {"cluster": "debug", "partition": "gpu", "gpus_per_cell": 0.5, "minutes": 30}
    engine = engine_from({"name": "slurm", "workers": 3, "logs": str(tmp_path / "l"), **options})
    assert [r.run for r in engine([FakeCell(1)], FakeWork(tmp_path))] == ["0001"]
    assert seen["slurm_partition"] == "gpu"
    assert seen["slurm_array_parallelism"] == 3
    assert seen["timeout_min"] == 30
    assert seen["gpus_per_node"] == 1
