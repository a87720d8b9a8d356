"""How cost grows by rows, classes, tokens, images, answers and cells: processor time, slope in log-log.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--write]     # about three minutes
    OMP_NUM_THREADS=1 python benchmarks/growth.py cells         # tables whose title has this word

A slope of 1 is linear: twice as much costs twice the time. Below 1, what costs the same whatever the size
still counts.
"""

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from peers import scores
from tables import write
from vlmcal.calibrators.base import make
from vlmcal.metrics import evaluate
from vlmcal.posthoc.similar import similar_right
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

Call = Callable[[], Any]


def rows() -> Iterator[tuple[int, Call]]:
    for n in (30_000, 100_000, 300_000, 1_000_000):  # fewer are drawn again for some intervals
        logits, labels = scores(n, 10)
        yield n, lambda z=logits, y=labels: evaluate(Predictions(logits=z, labels=y))


def fitting_rows() -> Iterator[tuple[int, Call]]:
    for n in (10_000, 30_000, 100_000, 300_000):
        logits, labels = scores(n, 10)
        yield n, lambda z=logits, y=labels: make("temperature").fit(z, y)


def classes() -> Iterator[tuple[int, Call]]:
    for k in (10, 100, 1000):
        logits, labels = scores(10_000, k)
        yield k, lambda z=logits, y=labels: evaluate(Predictions(logits=z, labels=y))


def tokens() -> Iterator[tuple[int, Call]]:
    import torch

    from vlmcal.backbones import load_backbone
    from vlmcal.text_encoding import PromptLayout, encode_prompts

    encoder = load_backbone("pocket")
    for m in (1, 4, 16):
        layout = PromptLayout.build(encoder, [f"class {i}" for i in range(10)], n_ctx=m)
        context = torch.zeros(m, encoder.text_width, requires_grad=True)
        yield m, lambda c=context, at=layout: encode_prompts(encoder, at, c).sum().backward()


def images() -> Iterator[tuple[int, Call]]:
    from PIL import Image

    from vlmcal.backbones import load_backbone

    encoder = load_backbone("pocket")
    noise = np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    for n in (20, 60, 200):
        yield n, lambda n=n: encoder.encode_images(pictures[:n])


def answers() -> Iterator[tuple[int, Call]]:
    rng = np.random.default_rng(0)
    for n in (3_000, 10_000, 30_000):
        confidence = rng.beta(5, 2, n).round(2)
        right = rng.random(n) < confidence
        yield n, lambda c=confidence, y=right: similar_right(Confidences(confidence=c, correct=y))


def cells() -> Iterator[tuple[int, Call]]:
    """Runs of one grid, trained, predicted and stored; data, backbone and features are there."""
    from vlmcal.experiment.grid import run_experiment
    from vlmcal.experiment.spec import parse_spec
    from vlmcal.experiment.store import Store
    from vlmcal.experiment.workbench import Workbench

    with tempfile.TemporaryDirectory() as folder:
        bench, number = Workbench(cache_dir=Path(folder, "cache")), itertools.count()

        def run(n: int) -> None:
            spec = parse_spec(
                {
                    "data": {"name": "digits", "protocol": "base-to-new", "calibration": "all"},
                    "method": {"name": "coop", "n_ctx": 4},
                    "shots": 4,
                    "seed": list(range(1, n + 1)),
                    "train": {"epochs": 10, "batch_size": 20},
                }
            )
            for result in run_experiment(spec, Store(Path(folder, str(next(number)))), bench=bench):
                if result.error is not None:
                    raise result.error

        run(27)
        for n in (1, 3, 9, 27):
            yield n, lambda n=n: run(n)


TABLES: dict[str, Callable[[], Iterator[tuple[int, Call]]]] = {
    "N: default metrics with intervals, K = 10": rows,
    "N: temperature fit, K = 10": fitting_rows,
    "K: default metrics with intervals, N = 10,000": classes,
    "M: context tokens, forward and backward, pocket model, K = 10": tokens,
    "images: encoded by the pocket model": images,
    "answers: similar answers, two decimals": answers,
    "cells: CoOp on digits, 10 epochs, pocket model": cells,
}


def shortest(call: Call, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def table(rounds: int, word: str = "") -> str:
    lines = ["| what grows | size: ms | slope in log-log |", "|---|---|---|"]
    for title, make_calls in TABLES.items():
        if word not in title:
            continue
        found = [(size, shortest(call, rounds)) for size, call in make_calls()]
        sizes, seconds = np.log(np.array(found)).T
        slope = np.polyfit(sizes, seconds, 1)[0]
        shown = ", ".join(f"{size:,}: {1000 * taken:.1f}" for size, taken in found)
        lines.append(f"| {title} | {shown} | {slope:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("word", nargs="?", default="", help="only tables whose title has it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = table(options.rounds, options.word)
    if options.write and not options.word:
        write("growth", found)


if __name__ == "__main__":
    main()
