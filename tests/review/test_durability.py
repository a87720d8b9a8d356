"""Nothing that was acknowledged is lost, and a review of 100,000 cases opens at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from review.review_cases import CLASSES, evidence, review
from vlmcal.review import Policy, Review, Source
from vlmcal.review.case import Case

# One process that imports once; its eight children write on their own.
WRITERS = """
import os, sys
from vlmcal.review import Review
for i in range(8):
    if os.fork() == 0:
        review, told = Review.open(sys.argv[1]), open(f"{sys.argv[2]}/{i}.txt", "w", buffering=1)
        for round in range(1000):
            for case in review.cases():
                event = review.act(f"r{i}", case.id, "open", seconds=float(round))
                print(event.seq, event.hash, file=told)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked")
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    """The small form: eight writers and 200 actions, all killed in the middle of what they do."""
    made = review(tmp_path, 5)
    writers = subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(made.path), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while made.last()[0] < 200 and writers.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(writers.pid, signal.SIGKILL)
    assert writers.wait() == -signal.SIGKILL
    told: dict[str, str] = {}
    for i in range(8):
        text = (tmp_path / f"{i}.txt").read_text()
        told |= dict(line.split() for line in text.splitlines(keepends=True) if line[-1] == "\n")
    held = {str(event.seq): event.hash for event in Review.open(made.path).events()}
    assert len(told) >= 190
    assert told.items() <= held.items()
    found = Review.open(made.path).verify()
    assert found.whole
    assert len({event.user_code for event in made.events()}) == 8  # each had its turn
    # and it goes on
    made.act("r9", made.page("r9")[0].case.id, "open")
    assert made.verify().whole


def test_a_hundred_thousand_cases_open_in_under_a_second(tmp_path):
    cases = [
        Case(
            id=f"{i:06d}",
            classes=CLASSES,
            p=(0.5, 0.3, 0.2),
            predicted="benign",
            confidence=0.5,
            need=(i * 7919 % 100_000) / 100_000,
        )
        for i in range(100_000)
    ]
    policy = Policy(blind_share=0.0)
    source = Source(cases, CLASSES, evidence=evidence())
    path = Review.create(tmp_path / "big.sqlite", source, policy).path
    started = time.process_time()
    opened = Review.open(path)
    first = opened.page("r1", limit=50)
    counts = opened.counts("r1")
    state = opened.state(first[0].case.id, "r1")
    taken = time.process_time() - started
    assert taken < 1
    assert (len(first), counts.cases, state.next) == (50, 100_000, ("answer",))
    needs = [row.case.need for row in first]
    assert needs == sorted(needs, reverse=True)
    assert needs[0] > 0.999
    started = time.process_time()
    last = opened.page("r1", "all", offset=99_950, limit=50)
    assert opened.beside(last[0].case.id, "r1", -1) is not None
    assert time.process_time() - started < 1
    assert last[-1].place == 100_000
