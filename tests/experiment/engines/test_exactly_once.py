"""Two engines on one store, workers killed at random: every cell published once, none lost.

``VLMCAL_STRESS=200,20`` is the large form: that many cells and kills; with real cells, and against a quiet
run, ``scripts/stress_engines.py``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fake_work import FakeCell, FakeWork
from stress_engines import workers_of

CELLS, KILLS = map(int, os.environ.get("VLMCAL_STRESS", "40,3").split(","))
ENGINE = """
import sys
from pathlib import Path
from fake_work import FakeCell, FakeWork
from vlmcal.experiment.engines.base import engine_from

if __name__ == "__main__":
    cells = [FakeCell(number, number % 3) for number in range(int(sys.argv[2]))]
    engine = engine_from("processes(workers=2)")
    for result in engine(cells, FakeWork(Path(sys.argv[1]), seconds=0.05)):
        print("failed" if result.error else "reused" if result.reused else "done", result.run)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_every_cell_is_published_once_by_two_engines_whose_workers_are_killed(tmp_path):
    (tmp_path / "engine.py").write_text(ENGINE)
    store = tmp_path / "store"
    store.mkdir()
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    engines = [
        subprocess.Popen(
            [sys.executable, tmp_path / "engine.py", store, str(CELLS)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    rng, kills = random.Random(0), 0
    work = FakeWork(store)
    while any(engine.poll() is None for engine in engines):
        workers = [pid for engine in engines for pid in workers_of(engine.pid)]
        if kills < KILLS and workers and len(work.published()) * KILLS >= kills * CELLS * 0.8:
            os.kill(rng.choice(workers), signal.SIGKILL)
            kills += 1
        time.sleep(0.05)
    told = [line.split() for engine in engines for line in engine.communicate()[0].splitlines()]
    assert [engine.returncode for engine in engines] == [0, 0]
    assert kills == KILLS
    # Published by one exclusive link each, with the number that a quiet run gives.
    assert work.published() == {f"{n:04}": n**2 for n in range(CELLS)}
    assert {word for word, _ in told} <= {"done", "reused"}
    done = [run for word, run in told if word == "done"]
    assert len(done) == len(set(done)) >= CELLS - KILLS
    started = sum(len(work.tries(FakeCell(n))) for n in range(CELLS))
    assert CELLS <= started <= CELLS + KILLS
