"""Engines: what a cell costs besides its work, and what a second worker gains.

    python benchmarks/engines.py

Cells here only wait, so that the figures are those of the engine and not of the machine: what the parent
and its workers do around a cell, how long workers take to start, and the speed of two workers over one.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

from fake_work import FakeCell, FakeWork
from vlmcal.experiment.engines.base import engine_from

CELLS, WAIT = 100, 0.1


def timed(engine, cells, seconds):
    """Seconds until the first result, from there to the last one, and the number of results between."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ends = []
        for result in engine_from(engine)(cells, FakeWork(Path(folder), seconds)):
            assert result.error is None
            ends.append(time.perf_counter())
        return ends[0] - start, ends[-1] - ends[0], len(ends) - 1


def main():
    cells = [FakeCell(number) for number in range(CELLS)]
    print("engine                  start    per cell beside its work")
    for engine in ("inline", "processes(workers=1)", "ray(workers=1)"):
        runs = [timed(engine, cells, 0.0) for _ in range(3)]
        start = statistics.median(run[0] for run in runs)
        each = statistics.median(run[1] / run[2] for run in runs)
        print(f"{engine:22} {start:6.2f} s  {1000 * each:6.2f} ms")
    print(f"\n{CELLS} cells that wait {WAIT} s")
    for kind in ("processes", "ray"):
        one = timed(f"{kind}(workers=1)", cells, WAIT)
        two = timed(f"{kind}(workers=2)", cells, WAIT)
        print(f"{kind:22} 2 workers are {one[1] / two[1]:.2f} times as fast as 1 once they run")


if __name__ == "__main__":
    main()
