"""``vlmcal evaluate`` on a million predictions: default metrics without resampling, after loading.

Prints the time of each part beside one plain pass over the same data (a softmax and an argmax in
numpy), so that the ratio carries over to other machines.

    python benchmarks/evaluate.py [--rows 1000000] [--classes 10]
"""

import argparse
import time

import numpy as np
from scipy.special import softmax

from vlmcal.metrics import evaluate
from vlmcal.types.predictions import Predictions


def seconds(function, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(options.rows, options.classes)).astype(np.float32) * 2
    labels = rng.integers(0, options.classes, options.rows)
    predictions = Predictions(logits=logits, labels=labels)
    plain = seconds(lambda: softmax(logits.astype(np.float64), axis=1).argmax(axis=1))
    print(f"{options.rows} x {options.classes}, best of 3")
    print("| part | seconds | ratio to one plain float64 softmax + argmax |")
    print("|---|---|---|")
    print(f"| plain pass | {plain:.3f} | 1.0 |")
    for name in ("default", "ece", "classwise_ece"):
        taken = seconds(lambda name=name: evaluate(predictions, name, intervals=False))
        print(f"| `{name}` without intervals | {taken:.3f} | {taken / plain:.1f} |")


if __name__ == "__main__":
    main()
