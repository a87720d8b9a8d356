"""Ours against the best peer on the same data, in one process, one thread, by CPU time, turns alternating.

    OMP_NUM_THREADS=1 python benchmarks/peers.py [WORD ...] [--rounds 7] [--small]

A ratio above 1 means that the peer is faster. The clock is that of the process, and the shortest of all
rounds counts, so other jobs on the machine matter little. Peers (torchmetrics, netcal, scikit-learn, torchcp,
MAPIE) are left out, and said so, where they are not installed.
"""

import argparse
import importlib
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

import vlmcal
from tables import write
from vlmcal.calibrators.base import make
from vlmcal.conformal.base import CONFORMAL
from vlmcal.metrics import ace, classwise_ece, ece, evaluate, nll
from vlmcal.options import build
from vlmcal.types.predictions import Predictions

Call = Callable[[], Any]


class Work(NamedTuple):
    """One row of the table: what is done, by us, and by peers."""

    what: str
    ours: Call
    peers: dict[str, Call]


def library(name: str) -> Any:
    """An installed module, or None, which is told once."""
    try:
        return importlib.import_module(name)
    except ImportError:
        MISSING.add(name.split(".")[0])
        return None


MISSING: set[str] = set()


def scores(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) float32 that are 1.7 times too sharp, and labels."""
    rng = np.random.default_rng([seed, n, k])
    z = rng.standard_normal((n, k), dtype=np.float32) * 1.15 * np.sqrt(2 * np.log(max(k, 2)))
    labels = (z + rng.gumbel(size=(n, k))).argmax(axis=1)
    return (1.7 * z).astype(np.float32), labels


def metric_work(size: float) -> Iterator[Work]:
    torchmetrics, torch = library("torchmetrics.functional.classification"), library("torch")
    netcal, sklearn = library("netcal.metrics"), library("sklearn.metrics")
    for n, k in ((1_000_000, 10), (100_000, 100)):
        n = int(n * size)
        logits, labels = scores(n, k)
        probs = softmax(logits, axis=1)
        peers: dict[str, Call] = {}
        if torchmetrics and torch:
            pair = torch.from_numpy(probs), torch.from_numpy(labels)
            peers["torchmetrics"] = lambda pair=pair, k=k: float(
                torchmetrics.multiclass_calibration_error(*pair, num_classes=k, n_bins=15)
            )
        if netcal:
            peers["netcal"] = lambda p=probs, y=labels: float(netcal.ECE(15).measure(p, y))
        yield Work(
            f"ECE from probabilities, {n:,} x {k}",
            lambda p=probs, y=labels: (
                evaluate(p, y, "ece", scores="probs", intervals=False)["ece"].value
            ),
            peers,
        )
        if k == 100:
            peers = {}
            if torch:
                pair = torch.from_numpy(logits), torch.from_numpy(labels)
                peers["torch"] = lambda pair=pair: float(torch.nn.functional.cross_entropy(*pair))
            if sklearn:
                peers["scikit-learn"] = lambda p=probs, y=labels: sklearn.log_loss(y, p)
            yield Work(
                f"NLL from logits, {n:,} x {k}",
                lambda z=logits, y=labels: nll(Predictions(logits=z, labels=y)),
                peers,
            )
    n, k = int(100_000 * size), 10
    logits, labels = scores(n, k)

    def columns() -> float:
        """What a user of numpy writes: a softmax, and a bincount for each class."""
        p, total = softmax(logits, axis=1), 0.0
        for c in range(k):
            column = p[:, c]
            cell = np.ceil(column * 15).astype(np.int64)
            total += np.abs(np.bincount(cell, column - (labels == c), 16)).sum()
        return total / n / k

    yield Work(
        f"class-wise ECE from logits, {n:,} x {k}",
        lambda: classwise_ece(Predictions(logits=logits, labels=labels)),
        {"plain numpy": columns},
    )
    n = int(1_000_000 * size)
    rng = np.random.default_rng(0)
    confidence = rng.beta(5, 2, n)
    correct = rng.random(n) < confidence

    def sorted_bins() -> float:
        order = np.argsort(confidence)
        gap = (confidence - correct)[order]
        return float(np.abs(np.add.reduceat(gap, np.arange(15) * n // 15)).sum() / n)

    peers = {"plain sort": sorted_bins}
    if netcal:
        peers["netcal"] = lambda: float(
            netcal.ECE(15, equal_intervals=False).measure(confidence, correct)
        )
    yield Work(f"ACE, {n:,}", lambda: ace(confidence, correct), peers)
    peers = {}
    if torchmetrics and torch:
        pair = torch.from_numpy(confidence), torch.from_numpy(correct.astype(np.int64))
        peers["torchmetrics"] = lambda: float(
            torchmetrics.binary_calibration_error(*pair, n_bins=15)
        )
    yield Work(f"ECE of confidences, {n:,}", lambda: ece(confidence, correct), peers)


def calibrator_work(size: float) -> Iterator[Work]:
    sklearn = library("sklearn.calibration")
    torch, netcal = library("torch"), library("netcal.binning")
    n, k = int(400_000 * size), 10
    fit, new = scores(n // 4, k), scores(n, k, 1)[0]
    probs = softmax(new.astype(np.float64), axis=1)
    for name, theirs in (
        ("temperature", "temperature"), ("platt", "sigmoid"), ("isotonic", "isotonic"),
        ("histogram", ""),
    ):  # fmt: skip
        mine = make(name).fit(*fit)
        peers: dict[str, Call] = {}
        if sklearn and theirs:
            model = scikit(fit, theirs)
            peers["scikit-learn"] = lambda model=model: model.predict_proba(new)
            yield Work(
                f"{name} fit, {n // 4:,} x {k}",
                lambda name=name: make(name).fit(*fit),
                {"scikit-learn": lambda theirs=theirs: scikit(fit, theirs)},
            )
        if torch and name == "temperature":
            heat = torch.from_numpy(new)
            t = mine.temperature_
            peers["torch"] = lambda heat=heat, t=t: torch.softmax(heat / t, dim=1)
        if netcal and name == "histogram":
            peer = netcal.HistogramBinning(bins=15)
            peer.fit(softmax(fit[0], axis=1), fit[1])
            peers["netcal"] = lambda peer=peer: peer.transform(probs)
        yield Work(f"{name} apply, {n:,} x {k}", lambda mine=mine: mine.predict_proba(new), peers)
    n, k = int(20_000 * size), 100
    fit, new = scores(n, k), scores(n, k, 1)[0]
    ids = np.char.add("scan-", np.arange(n).astype(np.str_))
    told = Predictions(logits=new, labels=None, ids=ids)
    mine = make("temperature").fit(
        Predictions(logits=fit[0], labels=fit[1], ids=np.char.add("val-", ids))
    )
    peers = {}
    if torch:
        heat = torch.from_numpy(new)
        peers["torch"] = lambda: torch.softmax(heat / mine.temperature_, dim=1)
    yield Work(
        f"temperature apply, {n:,} x {k}, ids",
        lambda: mine.transform(told).probabilities(np.float32),
        peers,
    )


def scikit(pair: tuple[Any, Any], method: str) -> Any:
    """scikit-learn's calibrator around scores that are there already."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    model = CalibratedClassifierCV(
        FrozenEstimator(passthrough(pair[0].shape[1])), method=method, ensemble=False, cv=2
    )
    return model.fit(*pair)


def passthrough(k: int) -> Any:
    """A fitted classifier of K classes whose input is its scores."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Passthrough(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_, n_features_in_ = np.arange(k), k

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def decision_function(self, X: Any) -> Any:
            return X

        def predict_proba(self, X: Any) -> Any:
            return softmax(X, axis=1)

        def predict(self, X: Any) -> Any:
            return X.argmax(axis=1)

    return Passthrough()


def conformal_work(size: float) -> Iterator[Work]:
    torch = library("torch")
    kinds, ways = (
        library("torchcp.classification.score"),
        library("torchcp.classification.predictor"),
    )
    mapie = library("mapie.classification")
    n, k, alpha = int(20_000 * size), 100, 0.1
    fit, new = scores(n, k), scores(n, k, 1)[0]
    named = {
        name: (build(CONFORMAL, name, {}), kind, way)
        for name, kind, way in (
            ("lac", "LAC", "SplitPredictor"),
            ("aps", "APS", "SplitPredictor"),
            ("raps", "RAPS", "SplitPredictor"),
            ("saps", "SAPS", "SplitPredictor"),
            ("class_conditional", "LAC", "ClassConditionalPredictor"),
            ("clustered", "LAC", "ClusteredPredictor"),
        )
    }
    for name, (method, kind, way) in named.items():
        method.fit(*fit, alpha=alpha)
        fits: dict[str, Call] = {}
        sets: dict[str, Call] = {}
        if torch and kinds and ways:
            held, labels = torch.from_numpy(fit[0]), torch.from_numpy(fit[1])
            fresh = torch.from_numpy(new)
            score = getattr(kinds, kind)
            made = score(weight=0.2) if kind == "SAPS" else score()
            predictor = getattr(ways, way)(made, model=None, alpha=alpha)
            predictor.calculate_threshold(held, labels, alpha)
            fits["torchcp"] = lambda p=predictor, h=held, y=labels: p.calculate_threshold(
                h, y, alpha
            )
            sets["torchcp"] = lambda p=predictor, x=fresh: p.predict_with_logits(x)
        if mapie and name in ("lac", "aps", "raps"):
            model = mapie_sets(mapie, name, fit, alpha)
            fits["MAPIE"] = lambda name=name: mapie_sets(mapie, name, fit, alpha)
            sets["MAPIE"] = lambda model=model: model.predict_set(new)
        yield Work(
            f"{name} fit, {n:,} x {k}",
            lambda name=name: build(CONFORMAL, name, {}).fit(*fit, alpha=alpha),
            fits,
        )
        yield Work(f"{name} sets, {n:,} x {k}", lambda m=method: m.predict(new), sets)


def mapie_sets(mapie: Any, score: str, pair: tuple[Any, Any], alpha: float) -> Any:
    """MAPIE's classifier around scores that are there already."""
    model = mapie.SplitConformalClassifier(
        passthrough(pair[0].shape[1]),
        confidence_level=1 - alpha,
        conformity_score=score,
        prefit=True,
    )
    return model.conformalize(*pair)


def compared(work: Work, rounds: int) -> str:
    """One line of the table; each round takes everyone's turn once."""
    everyone = {"": work.ours, **work.peers}
    times: dict[str, list[float]] = {who: [] for who in everyone}
    for _ in range(rounds):
        for who, call in everyone.items():
            start = time.process_time()
            with warnings.catch_warnings(), suppress(ZeroDivisionError):
                warnings.simplefilter("ignore")
                call()
            times[who].append(time.process_time() - start)
    shortest = {who: min(spent) for who, spent in times.items()}
    ours = shortest.pop("")
    if not shortest:
        return f"| {work.what} | {1000 * ours:.1f} | no peer here | | |"
    best = min(shortest, key=lambda who: shortest[who])
    others = ", ".join(f"{who} {ours / spent:.2f}" for who, spent in shortest.items())
    return (
        f"| {work.what} | {1000 * ours:.1f} | {best} {1000 * shortest[best]:.1f} "
        f"| {ours / shortest[best]:.2f} | {others} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only work whose name holds one of these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="a twentieth of the rows")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    if torch := library("torch"):
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"vlmcal {vlmcal.__version__}; {options.rounds} rounds, CPU time of one thread\n")
    lines = [
        "| work | ours, ms | best peer, ms | ours / best | ours / each |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    size = 0.05 if options.small else 1.0
    for part in (metric_work, calibrator_work, conformal_work):
        for work in part(size):
            if not options.words or any(word in work.what for word in options.words):
                lines.append(compared(work, options.rounds))
                print(lines[-1], flush=True)
    if MISSING:
        lines += ["", f"Not installed here, so left out: {', '.join(sorted(MISSING))}."]
        print("\n".join(lines[-2:]))
    if options.write:
        write("peers", "\n".join(lines))


if __name__ == "__main__":
    main()
