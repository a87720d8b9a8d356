"""Post-hoc calibrators against scikit-learn and netcal: time to fit and to apply, log-loss reached.

Run:  OMP_NUM_THREADS=1 python benchmarks/posthoc.py [--rows 10000 100000] [--classes 10 100] [--large]

Times are CPU seconds of this process (the best of three where a run takes less than a second), so that
other work on the machine does not count. The data are logits ``1.7 z`` with labels drawn from softmax(z).
A peer that would need more than ``--budget`` seconds, judged by its last smaller run, is left out.
"""

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from vlmcal.calibrators.base import make
from vlmcal.calibrators.temperature import Temperature
from vlmcal.types.predictions import Predictions

TEMPERATURE = 1.7
Fitter = Callable[[Any, Any], Callable[[Any], Any]]


class Timing(NamedTuple):
    """CPU seconds of fitting and applying, and the mean log-loss on new rows."""

    fit: float
    apply: float
    nll: float


class Passthrough(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose features are its scores: what scikit-learn's calibrators wrap."""

    def __init__(self, kind: str = "logits") -> None:
        self.kind = kind

    def fit(self, X: Any, y: Any) -> "Passthrough":
        """Only counts the classes."""
        self.classes_ = np.arange(X.shape[1])
        self.n_features_in_ = X.shape[1]
        return self

    def decision_function(self, X: Any) -> Any:
        """The scores."""
        return X if self.kind == "logits" else log_softmax(X, axis=1)

    def predict_proba(self, X: Any) -> Any:
        """Their softmax."""
        return softmax(X, axis=1)

    def predict(self, X: Any) -> Any:
        """The largest score."""
        return X.argmax(axis=1)


def ours(name: str, **parameters: Any) -> Fitter:
    def fit(logits: Any, labels: Any) -> Callable[[Any], Any]:
        calibrator = make(name, parameters).fit(Predictions(logits=logits, labels=labels))

        def apply(new: Any) -> Any:
            ids = np.char.add("t", np.arange(len(new)).astype(np.str_))
            rows = Predictions(logits=new, labels=np.zeros(len(new), int), ids=ids)
            scores = calibrator.scores(rows)
            return rows.with_scores(scores.values, scores.kind, {}).probabilities()

        return apply

    return fit


def scikit(method: str) -> Fitter:
    def fit(logits: Any, labels: Any) -> Callable[[Any], Any]:
        scores = Passthrough().fit(logits, labels)
        model = CalibratedClassifierCV(FrozenEstimator(scores), method=method, ensemble=False, cv=2)
        apply: Callable[[Any], Any] = model.fit(logits, labels).predict_proba
        return apply

    return fit


def scikit_matrix(logits: Any, labels: Any) -> Callable[[Any], Any]:
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(logits, labels)
    apply: Callable[[Any], Any] = model.predict_proba
    return apply


def netcal(module: str, name: str, **parameters: Any) -> Fitter:
    def fit(logits: Any, labels: Any) -> Callable[[Any], Any]:
        import importlib

        model = getattr(importlib.import_module(f"netcal.{module}"), name)(**parameters)
        model.fit(softmax(logits, axis=1), labels)
        return lambda new: model.transform(softmax(new, axis=1))

    return fit


TASKS: dict[str, tuple[Fitter, dict[str, Fitter]]] = {
    "temperature": (
        ours("temperature"),
        {"scikit-learn": scikit("temperature"), "netcal": netcal("scaling", "TemperatureScaling")},
    ),
    "ensemble_temperature": (ours("ensemble_temperature"), {}),
    "adaptive_temperature": (ours("adaptive_temperature"), {}),
    "vector": (ours("vector"), {"netcal": netcal("scaling", "LogisticCalibration")}),
    "matrix": (ours("matrix"), {"scikit-learn": scikit_matrix}),
    "dirichlet": (ours("dirichlet"), {}),
    "platt": (ours("platt"), {"scikit-learn": scikit("sigmoid")}),
    "beta": (ours("beta"), {"netcal": netcal("scaling", "BetaCalibration")}),
    "isotonic": (
        ours("isotonic"),
        {"scikit-learn": scikit("isotonic"), "netcal": netcal("binning", "IsotonicRegression")},
    ),
    "isotonic (order preserving)": (ours("isotonic", form="order_preserving"), {}),
    "histogram": (
        ours("histogram", bins=15),
        {"netcal": netcal("binning", "HistogramBinning", bins=15)},
    ),
    "bbq": (ours("bbq"), {"netcal": netcal("binning", "BBQ")}),
    "spline": (ours("spline"), {}),
    "venn_abers": (ours("venn_abers"), {}),
}


def generate(n: int, k: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 1.5
    return TEMPERATURE * z, (z + rng.gumbel(size=z.shape)).argmax(axis=1)


def measure(fitter: Fitter, logits: Any, labels: Any, new: Any, new_labels: Any) -> Timing:
    fits, applies = [], []
    for _ in range(3):
        start = time.process_time()
        apply = fitter(logits, labels)
        fits.append(time.process_time() - start)
        start = time.process_time()
        probs = np.asarray(apply(new))
        applies.append(time.process_time() - start)
        if fits[-1] + applies[-1] > 1.0:
            break
    with np.errstate(divide="ignore"):
        nll = -np.log(probs[np.arange(len(new)), new_labels]).mean()
    return Timing(min(fits), min(applies), float(nll))


def rows(task: str, sizes: list[tuple[int, int]], budget: float) -> Iterator[str]:
    fitter, peers = TASKS[task]
    last: dict[str, tuple[float, float]] = {}
    for n, k in sizes:
        data = (*generate(n, k, 0), *generate(n, k, 1))
        own = measure(fitter, *data)
        yield line(task, n, k, "vlmcal", own, "")
        for name, peer in peers.items():
            seconds, size = last.get(name, (0.0, 1.0))
            if seconds * n * k / size > budget:
                yield f"| {task} | {n:.0e} | {k} | {name} | over {budget:.0f} s | - | - | - |"
                continue
            theirs = measure(peer, *data)
            last[name] = (theirs.fit + theirs.apply, n * k)
            yield line(task, n, k, name, theirs, f"{theirs.fit / max(own.fit, 1e-9):.1f}")


def line(task: str, n: int, k: int, who: str, timing: Timing, ratio: str) -> str:
    return (
        f"| {task} | {n:.0e} | {k} | {who} | {timing.fit:.4f} | {timing.apply:.4f} "
        f"| {timing.nll:.5f} | {ratio} |"
    )


def large() -> str:
    """Temperature at 1e6 x 1000 in float32: wall time and the memory that fitting adds."""
    n, k = 1_000_000, 1000
    rng = np.random.default_rng(0)
    logits = np.empty((n, k), dtype=np.float32)
    labels = np.empty(n, dtype=np.int64)
    for start in range(0, n, 10_000):
        z = rng.standard_normal((10_000, k), dtype=np.float32) * 1.5
        noise = -np.log(np.maximum(rng.standard_exponential(z.shape, dtype=np.float32), 1e-30))
        labels[start : start + 10_000] = (z + noise).argmax(axis=1)
        logits[start : start + 10_000] = TEMPERATURE * z
    predictions = Predictions(logits=logits, labels=labels)
    tracemalloc.start()
    wall, cpu = time.perf_counter(), time.process_time()
    calibrator = Temperature().fit(predictions)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    extra = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return (
        f"temperature at 1e6 x 1000 (float32): T = {calibrator.temperature_:.6f}, log-loss "
        f"{calibrator.nll_:.6f}, {calibrator.steps_} passes, {wall:.1f} s wall, {cpu:.1f} s CPU, "
        f"{extra:.0f} MB more at the peak"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--methods", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a peer may take")
    parser.add_argument(
        "--large", action="store_true", help="also temperature at 1e6 x 1000 (4 GB)"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| method | N | K | library | fit s | apply s | log-loss on new rows | fit time / ours |")
    print("|---|---|---|---|---|---|---|---|")
    sizes = sorted(((n, k) for n in options.rows for k in options.classes), key=np.prod)
    for task in options.methods:
        for text in rows(task, sizes, options.budget):
            print(text, flush=True)
    if options.large:
        print("\n" + large())


if __name__ == "__main__":
    main()
