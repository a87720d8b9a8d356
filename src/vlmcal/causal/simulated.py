"""Simulated studies of a known effect, to see what calibration of propensities does."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import beta

from vlmcal.causal.study import study
from vlmcal.types.arrays import FloatArray, IntArray

EFFECT = 1.0


@dataclass(frozen=True)
class Sample:
    """One simulated study; the average effect is 1.

    Attributes:
        x: (N, P) covariates.
        d: (N,) treatment.
        y: (N,) outcome.
        m: (N,) true propensity.
    """

    x: FloatArray
    d: IntArray
    y: FloatArray
    m: FloatArray


def boosting_design(n: int, seed: int = 0) -> Sample:
    """Ten normal covariates, a propensity with an interaction, and an effect 1 + x1 / 2.

    m = sigmoid(0.9 x1 - 0.7 x2 + 0.5 x1 x3 - 0.3) limited to [0.03, 0.97];
    y = x1 + x2^2 / 2 + tau d + N(0, 1).

    Example:
        >>> sample = boosting_design(1000)
        >>> sample.x.shape, bool(0.03 <= sample.m.min() and sample.m.max() <= 0.97)
        ((1000, 10), True)
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10))
    m = expit(0.9 * x[:, 0] - 0.7 * x[:, 1] + 0.5 * x[:, 0] * x[:, 2] - 0.3).clip(0.03, 0.97)
    d = (rng.random(n) < m).astype(np.int64)
    y = x[:, 0] + 0.5 * x[:, 1] ** 2 + (1 + 0.5 * x[:, 0]) * d + rng.normal(size=n)
    return Sample(x, d, y, m)


def unbalanced_design(n: int, seed: int = 0, share: float = 0.05) -> Sample:
    """Few treated rows: m = a (1 + BetaCDF(min(x1, x2); 2, 4)) with a = 21 share / 31, effect x1 + x2.

    Twenty uniform covariates, so that the average effect is 1; y = tau d + N(0, 1).

    Source: after Kuenzel et al., PNAS 2019, as in arXiv 2503.17290.

    Example:
        >>> bool(0.03 < unbalanced_design(20_000).d.mean() < 0.07)
        True
    """
    rng = np.random.default_rng(seed)
    x = rng.random((n, 20))
    m = share * 21 / 31 * (1 + beta.cdf(x[:, :2].min(axis=1), 2, 4))
    d = (rng.random(n) < m).astype(np.int64)
    return Sample(x, d, (x[:, 0] + x[:, 1]) * d + rng.normal(size=n), m)


def benchmark(
    settings: Iterable[tuple[str, str]],
    *,
    n: int = 2000,
    repetitions: int = 30,
    learner: str = "boosting",
    estimator: str = "aipw",
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """Bias, root mean squared error and coverage of an estimator, raw and under (method, scheme) settings.

    Args:
        settings: Pairs such as ("platt(smooth=false)", "other-folds").
        n: Rows of a study of :func:`boosting_design`.
        repetitions: Number of studies.
        learner: Of the propensity.
        estimator: As :func:`~vlmcal.causal.effects.effect`.
        seed: Of the first study.

    Returns:
        "raw" and "METHOD, SCHEME" -> (bias, RMSE, share of the intervals that hold the effect).

    Example:
        >>> sorted(benchmark([("isotonic", "full-sample")], n=200, repetitions=2, learner="logistic"))
        ['isotonic, full-sample', 'raw']
    """
    found: dict[str, list[tuple[float, bool]]] = {}
    chosen = list(settings)
    for at in range(repetitions):
        sample = boosting_design(n, seed + at)
        scores = None
        for method, scheme in chosen:
            made = study(
                sample.d,
                sample.y,
                covariates=sample.x,
                scores=None if scheme == "nested" else scores,
                learner=learner,
                method=method,
                scheme=scheme,
                seed=seed + at,
            )
            sides = {f"{method}, {scheme}": made.effects}
            if scores is None and scheme != "nested":
                scores, sides["raw"] = made.scores, made.raw
            for name, effects in sides.items():
                out = next(e for e in effects if e.estimator == estimator)
                inside = abs(out.value - EFFECT) <= (out.high or 0.0) - out.value
                found.setdefault(name, []).append((out.value - EFFECT, inside))
    return {
        name: (
            float(np.mean([error for error, _ in rows])),
            float(np.sqrt(np.mean([error**2 for error, _ in rows]))),
            float(np.mean([inside for _, inside in rows])),
        )
        for name, rows in found.items()
    }
