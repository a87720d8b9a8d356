"""How often the intervals hold the truth: simulates it and prints a Markdown table.

    python benchmarks/interval_coverage.py > tables.md      # about half an hour on one core

The world: K = 5 classes, logits with independent normal entries, labels drawn from their softmax. A model
reports softmax(scale x logits): calibrated at scale 1, over-confident above, under-confident below. The truth
of each metric is its value on a very large sample (exactly 0 for calibration errors of the calibrated model;
for MCE the largest population gap among the bins that the sample fills).
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.special import softmax

from vlmcal.metrics import compare, evaluate
from vlmcal.metrics.kit import bootstrap
from vlmcal.types.binning import uniform_index
from vlmcal.types.predictions import Predictions

CLASSES = 5
SCALES = {"calibrated": 1.0, "over-confident": 1.7, "under-confident": 0.6}
SIZES = (200, 1000, 5000)
SMOOTH = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "brier",
    "nll",
    "top_label_brier",
    "top_label_nll",
    "auroc",
    "auprc_correct",
    "auprc_error",
    "aurc",
    "e_aurc",
    "accuracy_at_coverage",
    "net_benefit",
    "expected_cost",
)
ZERO_IF_CALIBRATED = (
    "ece",
    "ace",
    "overconfidence",
    "underconfidence",
    "max_bin_contribution",
    "classwise_ece",
    "topk_ece",
    "piece",
    "smooth_ece",
    "ks_error",
    "debiased_ece",
    "skce",
)
METRICS = [*SMOOTH, *ZERO_IF_CALIBRATED, "mce"]


def sample(n: int, scale: float, generator: np.random.Generator, copies: int = 1) -> Predictions:
    """``n`` rows, of which groups of ``copies`` are identical."""
    logits = generator.normal(size=(n // copies, CLASSES)) * 1.5
    chance = softmax(logits, axis=1).cumsum(axis=1)
    labels = (chance < generator.random((len(logits), 1))).sum(axis=1)
    labels = np.minimum(labels, CLASSES - 1)
    near = generator.random(len(logits))
    rows = np.repeat(np.arange(len(logits)), copies)
    return Predictions(
        logits=scale * logits[rows],
        labels=labels[rows],
        groups=rows.astype(str) if copies > 1 else None,
        extras={"knn_distance": near[rows]},
    )


def truths(model: str, size: int) -> tuple[dict[str, float], np.ndarray]:
    """Population values, and the population gap of each bin."""
    data = sample(size, SCALES[model], np.random.default_rng(12345))
    found = evaluate(data, METRICS, intervals=False)
    values = {name: estimate.value for name, estimate in found.estimates.items()}
    if model == "calibrated":
        values |= dict.fromkeys(ZERO_IF_CALIBRATED, 0.0)
    top = data.top_label()
    index = uniform_index(top.confidence, 15)
    count = np.maximum(np.bincount(index, minlength=15), 1)
    gaps = np.bincount(index, top.confidence - top.correct, minlength=15) / count
    return values, np.zeros(15) if model == "calibrated" else np.abs(gaps)


class Tally:
    """Coverage, misses on either side and mean width."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[bool, bool, float]]] = defaultdict(list)

    def add(self, name: str, low: float | None, high: float | None, truth: float) -> None:
        """Record one interval, if there is one."""
        if low is not None and high is not None:
            self.rows[name].append((low > truth + 1e-12, high < truth - 1e-12, high - low))

    def summary(self) -> Iterator[tuple[str, int, float, float, float, float]]:
        """Name, intervals shown, coverage, truth below, truth above, mean width."""
        for name, rows in self.rows.items():
            above, below, width = np.array(rows, dtype=float).mean(axis=0)
            yield name, len(rows), 1 - above - below, above, below, width


def run(model: str, n: int, repeats: int, resamples: int, copies: int, reference: int) -> Tally:
    values, gaps = truths(model, reference)
    generator = np.random.default_rng([n, len(model), copies])
    tally = Tally()
    for repeat in range(repeats):
        data = sample(n, SCALES[model], generator, copies)
        found = evaluate(data, METRICS, resamples=resamples, seed=repeat)
        filled = np.unique(uniform_index(data.top_label().confidence, 15))
        for name, estimate in found.estimates.items():
            truth = float(gaps[filled].max()) if name == "mce" else values[name]
            tally.add(name, estimate.low, estimate.high, truth)
    return tally


def run_pairs(n: int, repeats: int, resamples: int, reference: int) -> Tally:
    """Differences of two models on the same rows."""
    truth = {model: truths(model, reference)[0] for model in SCALES}
    generator = np.random.default_rng(n)
    tally = Tally()
    for repeat in range(repeats):
        base = sample(n, 1.0, generator)
        models = {
            m: Predictions(logits=s * base.logits, labels=base.labels) for m, s in SCALES.items()
        }
        for one, two in (("calibrated", "over-confident"), ("over-confident", "under-confident")):
            for name in ("ece", "ace", "classwise_ece", "brier", "auroc"):
                found = compare(models[one], models[two], name, resamples=resamples, seed=repeat)
                gap = truth[one][name] - truth[two][name]
                key = f"{name}: {one} - {two}"
                tally.add(key, found.difference.low, found.difference.high, gap)
    return tally


Key = tuple[str, str, int]


def tables(results: dict[Key, tuple[int, float, float, float, float]]) -> str:
    """Coverage and mean width by metric (rows) and world (columns), in Markdown."""
    lines = []
    for title, show in (
        ("Coverage in percent (nominal 95)", lambda r: f"{100 * r[1]:.0f}"),
        ("Mean width", lambda r: f"{r[4]:.3f}"),
    ):
        for kind in ("single", "grouped", "paired"):
            part = {key: value for key, value in results.items() if _kind(key) == kind}
            worlds = list(dict.fromkeys((model, n) for _, model, n in part))
            if not worlds:
                continue
            lines.append(f"\n### {title}: {_HEADINGS[kind]}\n")
            lines.append("| metric | " + " | ".join(f"{m}, {n}" for m, n in worlds) + " |")
            lines.append("|---" * (len(worlds) + 1) + "|")
            for name in dict.fromkeys(key[0] for key in part):
                cells = [part.get((name, m, n)) for m, n in worlds]
                row = [show(cell) if cell else "-" for cell in cells]
                lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)


_HEADINGS = {
    "single": "independent rows",
    "grouped": "groups of 5 equal rows, resampled as groups",
    "paired": "difference of two models on the same rows",
}


def _kind(key: Key) -> str:
    return "paired" if key[1] == "pair" else "grouped" if "groups" in key[1] else "single"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=250)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--reference", type=int, default=1_000_000)
    parser.add_argument("--metrics", help="comma-separated names instead of all")
    parser.add_argument(
        "--analytic",
        action="store_true",
        help="analytic intervals, which begin at 10,000 rows, at every size",
    )
    options = parser.parse_args()
    if options.analytic:
        bootstrap.ANALYTIC = 1
        METRICS[:] = ["brier", "nll", "top_label_brier", "top_label_nll", "auroc", "aurc", "e_aurc"]
        METRICS.extend(["auprc_correct", "auprc_error"])
    if options.metrics:
        METRICS[:] = options.metrics.split(",")
    results: dict[Key, tuple[int, float, float, float, float]] = {}
    start = time.perf_counter()
    sizes = (1000, 5000, 10_000) if options.analytic else SIZES
    jobs = [(model, n, 1) for n in sizes for model in SCALES]
    jobs += [("calibrated", 1000, 5), ("over-confident", 1000, 5)]
    for model, n, copies in jobs:
        tally = run(model, n, options.repeats, options.resamples, copies, options.reference)
        label = model if copies == 1 else f"{model}, groups"
        for name, *values in tally.summary():
            results[name, label, n] = tuple(values)
        print(f"{label} n={n}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    for n in () if options.metrics or options.analytic else (200, 1000):
        tally = run_pairs(n, options.repeats, 99, options.reference)
        for name, *values in tally.summary():
            results[name, "pair", n] = tuple(values)
    print(tables(results))


if __name__ == "__main__":
    main()
