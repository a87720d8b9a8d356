"""Times of the metrics beside plain numpy and the libraries that are installed; prints Markdown.

    python benchmarks/metrics.py            # all sizes, about 3 GB of memory
    python benchmarks/metrics.py --small    # a tenth of the rows

Every line is one run on the same data: the shortest of several repeats in CPU time, the value, and how our
time compares. Libraries that are not installed are left out. "plain" is the usual
numpy code without edge rule, checks or exact sums; "brute force" compares every row with every edge.
"""

import argparse
import importlib
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from vlmcal.metrics import StreamingBins, evaluate
from vlmcal.metrics.adaptive_calibration_error import ace
from vlmcal.metrics.aurc import aurc
from vlmcal.metrics.auroc import auroc
from vlmcal.metrics.classwise_ece import classwise_ece
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.kde_ece import kde_ece_loo
from vlmcal.metrics.smooth_ece import smooth_ece
from vlmcal.types.predictions import Predictions

Timed = tuple[str, Callable[[], Any]]


def library(name: str) -> Any:
    """An installed library, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def shortest(call: Callable[[], Any], seconds: float = 2.0) -> tuple[float, Any]:
    """Shortest CPU time of repeated calls, and the last result."""
    times: list[float] = []
    value = None
    while not times or (sum(times) < seconds and len(times) < 30):
        start = time.process_time()
        value = call()
        times.append(time.process_time() - start)
    return min(times), value


def block(title: str, lines: list[Timed]) -> None:
    """One table; the first line is ours."""
    print(f"\n### {title}\n\n| code | CPU time | value | ours / this |\n|---|---|---|---|")
    results = [(name, *shortest(call)) for name, call in lines]
    ours = results[0][1]
    for name, seconds, value in results:
        shown = f"{value:.12f}" if isinstance(value, float) else str(value)
        print(f"| {name} | {1000 * seconds:.2f} ms | {shown} | {ours / seconds:.2f} |")


def plain_ece(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    index = np.ceil(confidence * bins).astype(np.int64)
    return float(np.abs(np.bincount(index, confidence - correct)).sum() / len(confidence))


def brute_ece(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Comparison of every row with every edge, after snapping."""
    edges = np.arange(1, bins) / bins
    index = np.zeros(len(confidence), dtype=np.int64)
    for edge in edges:
        index += confidence > edge + 1e-6
    total = np.array([(confidence - correct)[index == b].sum() for b in range(bins)])
    return float(np.abs(total).sum() / len(confidence))


def plain_adaptive(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    order = np.argsort(confidence)
    parts = np.array_split((confidence - correct)[order], bins)
    return float(sum(abs(part.sum()) for part in parts) / len(confidence))


def plain_classwise(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(
        np.mean(
            [
                plain_ece(column.astype(np.float64), labels == k)
                for k, column in enumerate(probabilities.T)
            ]
        )
    )


def streamed(confidence: np.ndarray, correct: np.ndarray) -> float:
    stream = StreamingBins()
    for start in range(0, len(confidence), 100_000):
        rows = slice(start, start + 100_000)
        stream.update(confidence[rows], correct[rows])
    return stream.ece()


def top_label_blocks(n: int) -> None:
    generator = np.random.default_rng(0)
    confidence = generator.beta(5, 2, n)
    correct = generator.random(n) < confidence - 0.05
    pair = (confidence, correct)
    netcal = library("netcal.metrics")
    torchmetrics = library("torchmetrics.functional.classification")
    relplot = library("relplot")
    lines: list[Timed] = [
        ("vlmcal ece", lambda: ece(*pair)),
        ("one bincount (plain)", lambda: plain_ece(*pair)),
        ("brute force", lambda: brute_ece(*pair)),
        ("vlmcal StreamingBins, batches of 1e5", lambda: streamed(*pair)),
    ]
    if netcal is not None:
        lines.append(("netcal ECE", lambda: float(netcal.ECE(15).measure(*pair))))
    if torchmetrics is not None:
        torch = library("torch")
        p, y = torch.from_numpy(confidence), torch.from_numpy(correct.astype(np.int64))
        lines.append(
            ("torchmetrics", lambda: float(torchmetrics.binary_calibration_error(p, y, n_bins=15)))
        )
    block(f"ECE, N = {n:.0e}, 15 bins", lines)
    lines = [
        ("vlmcal ace", lambda: ace(*pair)),
        ("sort and split (plain)", lambda: plain_adaptive(*pair)),
    ]
    if netcal is not None:
        lines.append(
            (
                "netcal ECE, equal mass",
                lambda: float(netcal.ECE(15, equal_intervals=False).measure(*pair)),
            )
        )
    block(f"equal-mass ECE, N = {n:.0e}", lines)
    lines = [("vlmcal smooth_ece", lambda: smooth_ece(*pair))]
    if relplot is not None:
        lines.append(("relplot smECE", lambda: float(relplot.smECE(*pair))))
    block(f"smooth ECE, N = {n:.0e}", lines)
    few = slice(0, n // 10)
    block(
        f"Gaussian kernel ECE, N = {n // 10:.0e}",
        [("vlmcal kde_ece_loo", lambda: kde_ece_loo(confidence[few], correct[few]))],
    )
    sklearn = library("sklearn.metrics")
    block(
        f"ranking, N = {n:.0e}",
        [
            ("vlmcal auroc", lambda: auroc(*pair)),
            (
                "scikit-learn roc_auc_score",
                lambda: float(sklearn.roc_auc_score(correct, confidence)),
            ),
            ("vlmcal aurc", lambda: aurc(*pair)),
        ],
    )


def class_blocks(n: int) -> None:
    for k in (10, 100, 1000):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(n, k)).astype(np.float32) * 2
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        labels = generator.integers(0, k, n)
        tracemalloc.start()
        classwise_ece(probabilities, labels)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(f"\nclass-wise ECE at K = {k} allocates {peak:.0f} MB at most")
        block(
            f"class-wise ECE, N = {n:.0e}, K = {k}",
            [
                (
                    "vlmcal classwise_ece (float32 probabilities)",
                    lambda p=probabilities, y=labels: classwise_ece(p, y),
                ),
                (
                    "one column at a time (plain)",
                    lambda p=probabilities, y=labels: plain_classwise(p, y),
                ),
            ],
        )


def table_blocks(n: int) -> None:
    generator = np.random.default_rng(0)
    wide = Predictions(
        logits=generator.normal(size=(n // 20, 100)).astype(np.float32),
        labels=generator.integers(0, 100, n // 20),
    )
    tall = Predictions(
        logits=generator.normal(size=(n, 10)).astype(np.float32),
        labels=generator.integers(0, 10, n),
    )
    block(
        "whole default table",
        [
            (
                f"{n // 20} x 100 with 1000 resamples",
                lambda: f"{len(evaluate(wide).estimates)} metrics",
            ),
            (
                f"{n} x 10 without intervals",
                lambda: f"{len(evaluate(tall, intervals=False).estimates)} metrics",
            ),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the rows")
    n = 100_000 if parser.parse_args().small else 1_000_000
    top_label_blocks(n)
    class_blocks(n // 10)
    table_blocks(n)


if __name__ == "__main__":
    main()
