"""Out-of-fold propensities and expected outcomes by learners of scikit-learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from vlmcal.causal.schemes import Nested, require_arms
from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.types.arrays import FloatArray, IntArray, Numbers, as_array, require_finite

Maker = Callable[[int], Any]


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _linear(seed: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _ensemble(name: str, **settings: Any) -> Maker:
    """An ensemble of scikit-learn, which is imported when one is made."""

    def make(seed: int) -> Any:
        from sklearn import ensemble

        return getattr(ensemble, name)(**settings, random_state=seed)

    return make


LEARNERS: Mapping[str, Maker] = MappingProxyType(
    {
        "logistic": _logistic,
        "forest": _ensemble("RandomForestClassifier", n_estimators=200, min_samples_leaf=20),
        "boosting": _ensemble("HistGradientBoostingClassifier", max_iter=150, min_samples_leaf=5),
    }
)
OUTCOMES: Mapping[str, Maker] = MappingProxyType(
    {
        "linear": _linear,
        "forest": _ensemble("RandomForestRegressor", n_estimators=200, min_samples_leaf=5),
    }
)


def stratified_folds(treated: Numbers, folds: int = 5, seed: int = 0) -> IntArray:
    """Fold of every row, (N,), balanced over the arms.

    Raises:
        SpecError: Fewer than two folds.
        DataError: An arm has fewer rows than folds.

    Example:
        >>> fold = stratified_folds([0, 0, 1, 1], folds=2)
        >>> sorted(fold[:2].tolist()), sorted(fold[2:].tolist())
        ([0, 1], [0, 1])
    """
    d = as_array(treated).astype(np.int64)
    require_arms(d.astype(np.bool_))
    fewest = int(np.bincount(d, minlength=2).min())
    if folds < 2:
        raise SpecError(f"folds: expected at least 2, got {folds}")
    if fewest < folds:
        raise DataError(f"{folds} folds need as many rows of each arm, the smaller has {fewest}")
    shuffled = np.random.default_rng(seed).permutation(len(d))
    ordered = shuffled[np.argsort(d[shuffled], kind="stable")]
    index = np.empty(len(d), dtype=np.int64)
    index[ordered] = np.arange(len(d)) % folds
    return index


@dataclass(frozen=True)
class CrossFitted:
    """What learners say of rows they were not fitted on.

    Attributes:
        fold: (N,) fold of every row.
        scores: (N,) propensity.
        g0: (N,) expected outcome without treatment, or None without outcomes.
        g1: (N,) expected outcome with treatment, or None.
        mean: (N,) expected outcome from the covariates alone, or None.
    """

    fold: IntArray
    scores: FloatArray
    g0: FloatArray | None = None
    g1: FloatArray | None = None
    mean: FloatArray | None = None


def cross_fit(
    covariates: Numbers,
    treated: Numbers,
    y: Numbers | None = None,
    *,
    learner: str | Maker = "logistic",
    outcome: str | Maker = "linear",
    fold: Numbers | None = None,
    folds: int = 5,
    seed: int = 0,
) -> CrossFitted:
    """Fit on all folds but one, predict that one: propensities, and expected outcomes where ``y`` is given.

    Args:
        covariates: (N, P).
        treated: (N,) 0 or 1.
        y: (N,) outcome, or None.
        learner: "logistic", "forest" (leaves of 20), "boosting" (over-confident: leaves of 5), or a function
            seed -> scikit-learn classifier.
        outcome: "linear", "forest", or a function seed -> regressor.
        fold: (N,) folds of one's own, or None for :func:`stratified_folds`.
        folds: Their number.
        seed: Of folds and learners.

    Raises:
        SpecError: An unknown learner.
        DataError: Shapes differ, numbers are missing, or an arm is too small.

    Example:
        >>> x = np.array([[0.0], [1.0]] * 20)
        >>> d = np.array([0, 0, 0, 1] * 5 + [0, 1, 1, 1] * 5)
        >>> cross_fit(x, d, folds=2).scores.shape
        (40,)
    """
    x, d = _covariates(covariates, treated)
    index = stratified_folds(d, folds, seed) if fold is None else as_array(fold)
    if index.shape != d.shape:
        raise DataError(f"fold: expected shape {d.shape}, got {index.shape}")
    make, expected = _maker(learner, LEARNERS), _maker(outcome, OUTCOMES)
    scores = np.empty(len(d))
    parts = None if y is None else np.empty((3, len(d)))
    values = None if y is None else as_array(y).astype(np.float64)
    if values is not None:
        require_finite(values, "y")
        if values.shape != d.shape:
            raise DataError(f"y: expected shape {d.shape}, got {values.shape}")
    numbers = np.unique(index)
    if len(numbers) < 2:
        raise DataError("fold: expected at least 2 folds, got one for all rows")
    for number in numbers:
        test = index == number
        require_arms(d[~test].astype(np.bool_))
        scores[test] = make(seed).fit(x[~test], d[~test]).predict_proba(x[test])[:, 1]
        if parts is None or values is None:
            continue
        for row, rows in enumerate((~test & (d == 0), ~test & (d == 1), ~test)):
            parts[row, test] = expected(seed).fit(x[rows], values[rows]).predict(x[test])
    if parts is None:
        return CrossFitted(index, scores)
    return CrossFitted(index, scores, parts[0], parts[1], parts[2])


def nested_scores(
    covariates: Numbers,
    treated: Numbers,
    fold: Numbers,
    *,
    learner: str | Maker = "logistic",
    seed: int = 0,
) -> Nested:
    """Scores for the scheme "nested": in every training fold, a shuffled half balanced over the arms learns.

    Raises:
        SpecError: An unknown learner.
        DataError: Shapes differ or numbers are missing.

    Example:
        >>> x, d = np.arange(16.0)[:, None], np.array([0, 1] * 8)
        >>> nested_scores(x, d, [0] * 8 + [1] * 8).half.sum(axis=1).tolist()
        [12, 12]
    """
    x, d = _covariates(covariates, treated)
    index, make = as_array(fold), _maker(learner, LEARNERS)
    numbers = np.unique(index)
    test = np.empty(len(d))
    second = np.zeros((len(numbers), len(d)))
    half = np.zeros((len(numbers), len(d)), dtype=np.int64)
    for k, number in enumerate(numbers):
        inside = index == number
        rows = np.flatnonzero(~inside)
        half[k, rows] = 1 + stratified_folds(d[rows], 2, seed + k)
        fitted = make(seed).fit(x[half[k] == 1], d[half[k] == 1])
        test[inside] = fitted.predict_proba(x[inside])[:, 1]
        second[k, half[k] == 2] = fitted.predict_proba(x[half[k] == 2])[:, 1]
    return Nested(test, second, half)


def _maker(name: str | Maker, known: Mapping[str, Maker]) -> Maker:
    if not isinstance(name, str):
        return name
    require_known(name, known, "no learner")
    return known[name]


def _covariates(covariates: Numbers, treated: Numbers) -> tuple[FloatArray, IntArray]:
    x, d = as_array(covariates).astype(np.float64), as_array(treated)
    if x.ndim != 2 or d.shape != (len(x),):
        raise DataError(
            f"covariates and treated: expected shapes (N, P) and (N,), got {x.shape} and {d.shape}"
        )
    require_finite(x, "covariates")
    if not np.isin(d, (0, 1)).all():
        raise DataError("treated: expected only 0 and 1")
    return x, d.astype(np.int64)
