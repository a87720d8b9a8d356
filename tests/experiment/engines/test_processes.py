"""``processes``: every cell once, whatever happens to the workers."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fake_work import FakeCell, FakeWork
from vlmcal.errors import SpecError
from vlmcal.experiment.engines.base import engine_from
from vlmcal.experiment.engines.devices import share
from vlmcal.experiment.engines.pieces import Pieces


def test_every_cell_is_run_once_whatever_becomes_of_the_workers(tmp_path):
    behaviour = {3: "dies once", 5: "fails", 9: "dies"}
    cells = [FakeCell(number, number % 2, behaviour.get(number, "")) for number in range(20)]
    work = FakeWork(tmp_path)
    results = {r.cell.number: r for r in engine_from("processes(workers=2)")(cells, work)}
    assert sorted(results) == list(range(20))
    assert {n for n, r in results.items() if r.error} == {5, 9}
    assert "no such images" in str(results[5].error)
    assert "3 workers ended while they ran it, the last by SIGKILL" in str(results[9].error)
    assert work.published() == {c.key: c.number**2 for c in cells if c.number not in (5, 9)}
    assert len(work.tries(cells[3])) == 2
    assert len(work.tries(cells[9])) == 3
    others = [cell for cell in cells if cell.number not in (3, 5, 9)]
    assert all(len(work.tries(cell)) == 1 for cell in others)
    heard = (tmp_path / "heard.log").read_text()
    assert heard.startswith(("0 ", "1 "))
    assert "9 starting" in heard


def test_a_cell_that_another_process_holds_is_waited_for(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from fake_work import FakeCell, FakeWork\n"
        "print(FakeWork(Path(sys.argv[1]), seconds=3)(FakeCell(1), True).run)"
    )
    path = os.pathsep.join([os.path.dirname(__file__) + "/../..", *sys.path])
    other = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], env={**os.environ, "PYTHONPATH": path}
    )
    while not (tmp_path / "0001.log").exists():
        time.sleep(0.02)
    work = FakeWork(tmp_path)
    found = list(engine_from("processes(workers=1)")([FakeCell(1), FakeCell(2)], work))
    assert [(r.cell.number, r.reused) for r in found] == [(2, False), (1, True)]
    assert other.wait() == 0
    assert len(work.tries(FakeCell(1))) == 1


def test_leaving_early_ends_the_workers(tmp_path):
    cells = [FakeCell(0), *(FakeCell(number) for number in range(1, 4))]
    results = engine_from("processes(workers=1)")(cells, FakeWork(tmp_path, seconds=0.5))
    next(results)
    worker = int(FakeWork(tmp_path).tries(cells[0])[0].split()[0])
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert len(FakeWork(tmp_path).published()) < 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_workers_end_with_their_parent(tmp_path):
    script = (
        "import sys; from pathlib import Path; from fake_work import FakeCell, FakeWork\n"
        "from vlmcal.experiment.engines.base import engine_from\n"
        "if __name__ == '__main__':\n"
        "    cells = [FakeCell(number) for number in range(4)]\n"
        "    list(engine_from('processes(workers=1)')(cells, FakeWork(Path(sys.argv[1]), 60)))\n"
    )
    (tmp_path / "main.py").write_text(script)
    path = os.pathsep.join([os.path.dirname(__file__) + "/../..", *sys.path])
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path], env={**os.environ, "PYTHONPATH": path}
    )
    while not (tmp_path / "0000.log").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    time.sleep(0.05)
    worker = int((tmp_path / "0000.log").read_text().split()[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while _runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] != "Z"
    except OSError:
        return False


def test_a_worker_keeps_its_data_set_and_takes_what_has_most_left():
    cells = [FakeCell(n, group) for group, count in enumerate((4, 8, 2)) for n in range(count)]
    pieces = Pieces(cells, workers=2)
    assert [c.group for c in pieces.take(0)] == [1, 1]
    assert [c.group for c in pieces.take(1)] == [0]
    assert [c.group for c in pieces.take(0)] == [1, 1]
    kept = pieces.take(1)
    pieces.give_back(kept)
    assert pieces.take(1) == kept
    left = []
    while pieces:
        left += pieces.take(0)
    assert len(left) == 14 - 6


def test_devices_and_threads_are_divided():
    assert [share(n, 4, ["2", "5"], 8)["CUDA_VISIBLE_DEVICES"] for n in range(4)] == list("2525")
    assert share(0, 4, [], 8) == {"OMP_NUM_THREADS": "2"}
    assert share(0, 99, [], 8) == {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("processes(worker=2)", 'did you mean "workers"'),
        ("processes(workers=0)", "workers"),
        ({"name": "inline", "workers": 2}, 'engine "inline" has no option "workers"'),
        ("proceses", 'did you mean "processes"'),
    ],
)
def test_wrong_engines_are_refused(engine, words):
    with pytest.raises(SpecError, match=None) as caught:
        engine_from(engine)
    assert words in str(caught.value)
