"""Split of a proper score into what recalibration can repair and what it cannot."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Metric, metric
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.scores import ClassProbabilities
from vlmcal.types.softmax import softmax

Recalibrator = Literal["temperature", "isotonic"]
Loss = Literal["nll", "brier"]
_REFERENCE = "Berta, Holzmueller, Jordan and Bach, arXiv 2501.19195"
_BRACKET = 16.0


class Refinement(NamedTuple):
    """A proper score and its two parts.

    Attributes:
        loss: Score of the probabilities as they are.
        refinement: Score after recalibration.
        calibration: Their difference, the calibration error (slightly negative when there is none).
    """

    loss: float
    refinement: float
    calibration: float


def refinement_split(
    probabilities: Any,
    labels: Any,
    *,
    loss: Loss = "nll",
    recalibrator: Recalibrator = "temperature",
    folds: int = 5,
    seed: int = 0,
) -> Refinement:
    """Score before and after recalibration.

    Temperature scaling is fitted by bisection on log(1 / T); isotonic regression is fitted to each class and
    renormalised. Both are mixed with 1 / (n + 1) of the uniform distribution. With ``folds`` the recalibrator
    is fitted on the other folds, so that it cannot learn the noise of the rows it is applied to.

    Args:
        probabilities: (N, K) rows that sum to 1, or Predictions (whose logits are used as they are).
        labels: (N,) integers in 0 .. K - 1.
        loss: "nll" or "brier".
        recalibrator: "temperature" or "isotonic".
        folds: Stratified folds; 0 fits and judges on the same rows.
        seed: Seed of the folds.

    Raises:
        SpecError: Unknown loss or recalibrator, or fewer than two rows per fold.

    Source: Berta, Holzmueller, Jordan and Bach, "Rethinking early stopping: refine, then calibrate",
    arXiv 2501.19195.

    Example:
        >>> parts = refinement_split([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 4,
        ...                          [0, 0, 0, 0, 1, 1, 1, 1, 0, 0], folds=0)
        >>> round(parts.loss, 4), parts.calibration > 0.1
        (0.9843, True)
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    logits = _logits(source)
    before = softmax(logits)
    after = np.empty_like(before)
    for train, test in _splits(truth, folds, seed):
        apply = _fit(recalibrator, logits[train], truth[train])
        after[test] = apply(logits[test])
    scores = [_score(values, truth, loss) for values in (before, after)]
    return Refinement(scores[0], scores[1], scores[0] - scores[1])


def _logits(source: ClassProbabilities) -> FloatArray:
    if source.kind == "logits":
        return np.asarray(source.scores, dtype=np.float64)
    return np.maximum(source.log_probabilities(), np.log(1e-300))


def _splits(truth: IntArray, folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    if folds == 0:
        yield slice(None), slice(None)
        return
    if not 2 <= folds <= len(truth) // 2:
        raise SpecError(
            f"folds: expected 0 or 2 to {len(truth) // 2} for {len(truth)} rows, got {folds}"
        )
    import warnings

    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class rarer than the number of folds is simply not in every fold.
        warnings.filterwarnings("ignore", message="The least populated class")
        yield from splitter.split(np.zeros(len(truth)), truth)


def _fit(
    kind: Recalibrator, logits: FloatArray, truth: IntArray
) -> Callable[[FloatArray], FloatArray]:
    n, classes = logits.shape
    if kind == "temperature":
        scale = inverse_temperature(logits, truth)
        recalibrated: Callable[[FloatArray], FloatArray] = lambda z: softmax(scale * z)  # noqa: E731
    elif kind == "isotonic":
        recalibrated = _isotonic(softmax(logits), truth)
    else:
        raise SpecError(f'recalibrator: expected "temperature" or "isotonic", got {kind!r}')
    weight = 1 / (n + 1)
    return lambda z: (1 - weight) * recalibrated(z) + weight / classes


def inverse_temperature(logits: FloatArray, truth: IntArray, *, halvings: int = 30) -> float:
    """1 / T that minimises the negative log-likelihood, by bisection on its logarithm in [-16, 16].

    The derivative in u = log(1 / T) has the sign of mean(sum_k z_k p_k(e^u) - z_label), which grows with u.

    Example:
        >>> z = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> round(inverse_temperature(z, np.array([0, 0, 1])), 4)
        0.3466
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    target = float(shifted[np.arange(len(truth)), truth].mean())
    low, high = -_BRACKET, _BRACKET
    for _ in range(halvings):
        middle = (low + high) / 2
        weights = softmax(np.exp(middle) * shifted)
        expected = float(np.einsum("nk,nk->n", weights, shifted).mean())
        if expected > target:
            high = middle
        else:
            low = middle
    return float(np.exp((low + high) / 2))


def _isotonic(probabilities: FloatArray, truth: IntArray) -> Callable[[FloatArray], FloatArray]:
    from sklearn.isotonic import IsotonicRegression

    classes = probabilities.shape[1]
    fitted = [1] if classes == 2 else list(range(classes))
    maps = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
            probabilities[:, k], truth == k
        )
        for k in fitted
    ]

    def apply(logits: FloatArray) -> FloatArray:
        values = softmax(logits)
        columns = np.stack([m.predict(values[:, k]) for m, k in zip(maps, fitted, strict=True)], 1)
        if classes == 2:
            columns = np.concatenate([1 - columns, columns], axis=1)
        total = columns.sum(axis=1, keepdims=True)
        even = np.full_like(columns, 1 / classes)
        return np.asarray(np.divide(columns, total, out=even, where=total > 0))

    return apply


def _score(values: FloatArray, truth: IntArray, loss: Loss) -> float:
    chosen = values[np.arange(len(truth)), truth]
    if loss == "nll":
        return float(-np.log(np.maximum(chosen, 1e-300)).mean())
    if loss == "brier":
        return float((np.square(values).sum(axis=1) - 2 * chosen + 1).mean())
    raise SpecError(f'loss: expected "nll" or "brier", got {loss!r}')


def _register(loss: Loss, recalibrator: Recalibrator, part: str) -> Metric:
    meaning = {
        "calibration": "minus the same score after recalibration",
        "refinement": "after recalibration",
    }[part]

    def value(probabilities: Any, labels: Any, *, folds: int = 5, seed: int = 0) -> float:
        split = refinement_split(
            probabilities, labels, loss=loss, recalibrator=recalibrator, folds=folds, seed=seed
        )
        return float(getattr(split, part))

    name = f"{loss}_{part}_{recalibrator}"
    value.__name__ = value.__qualname__ = name
    value.__doc__ = f"The {part} part of {loss} by {recalibrator}; see :func:`refinement_split`."
    return metric(
        name=name,
        consumes="probabilities",
        higher_is_better=False,
        bounds=(-2.0, float("inf")),
        definition=f"{loss} {meaning} by {recalibrator} with {{folds}}-fold cross-fitting (0: on the same "
        "rows), mixed with 1 / (n + 1) of the uniform distribution.",
        reference=_REFERENCE,
    )(value)


nll_calibration_temperature = _register("nll", "temperature", "calibration")
nll_refinement_temperature = _register("nll", "temperature", "refinement")
nll_calibration_isotonic = _register("nll", "isotonic", "calibration")
nll_refinement_isotonic = _register("nll", "isotonic", "refinement")
brier_calibration_temperature = _register("brier", "temperature", "calibration")
brier_refinement_temperature = _register("brier", "temperature", "refinement")
brier_calibration_isotonic = _register("brier", "isotonic", "calibration")
brier_refinement_isotonic = _register("brier", "isotonic", "refinement")
