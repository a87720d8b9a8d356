"""Memory of an evaluation: at most the data once more, and not more with every round."""

import gc
import tracemalloc

import numpy as np
import pytest

from vlmcal.io.predictions import load_predictions
from vlmcal.metrics import evaluate
from vlmcal.types.predictions import Predictions


def rows(n, k, seed=0):
    draw = np.random.default_rng(seed)
    return Predictions(logits=draw.normal(size=(n, k)), labels=draw.integers(0, k, n))


@pytest.mark.parametrize(("n", "k"), [(100_000, 10), (4_000, 1_000), (800, 5_000)])
def test_an_evaluation_needs_at_most_the_memory_of_the_data(n, k):
    evaluate(rows(300, 3), resamples=20)  # imports
    data = rows(n, k)
    size = data.logits.nbytes + data.labels.nbytes + data.ids.nbytes
    tracemalloc.start()
    evaluate(data, resamples=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What does not grow with the rows (chunks, tables of bins) is allowed for.
    assert peak <= size + 8 * 2**20, (peak, size)


def test_rows_in_single_precision_need_at_most_twice_their_memory_more():
    evaluate(rows(300, 3), resamples=20)  # imports
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((300_000, 10), dtype=np.float32)
    data = Predictions(logits=logits, labels=draw.integers(0, 10, len(logits)))
    size = data.logits.nbytes + data.labels.nbytes
    tracemalloc.start()
    evaluate(data, resamples=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The work is done in double precision, a few numbers a row; tables of a million ticks come on top.
    assert peak <= 2 * size + 24 * 2**20, (peak, size)


def test_reading_an_array_needs_at_most_the_memory_of_the_data(tmp_path):
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((200_000, 10), dtype=np.float32)
    file = tmp_path / "rows.npz"
    np.savez(file, logits=logits, labels=draw.integers(0, 10, 200_000))
    load_predictions(file, scores="logits")  # imports
    tracemalloc.start()
    read = load_predictions(file, scores="logits")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = read.logits.nbytes + read.labels.nbytes
    assert peak <= 2 * size + 8 * 2**20, (peak, size)


def test_fifty_rounds_leave_nothing_behind():
    data = rows(100, 3)
    for _ in range(3):
        evaluate(data, resamples=0)
    gc.collect()
    tracemalloc.start()
    evaluate(rows(100, 3), resamples=0)
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    for seed in range(50):
        evaluate(rows(100, 3, seed), resamples=0)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 100_000, grown  # bytes, 2,000 a round
