"""Conformal prediction under covariate shift: rows count by how likely they are in new data."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.base import KeyedRows
from vlmcal.conformal.quantile import require_alpha
from vlmcal.conformal.score_based import make_scorer
from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, as_array, require_finite
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import require_fittable

_ROUNDING = 1e-12


def weighted_quantiles(
    scores: FloatArray, weights: FloatArray, new_weights: FloatArray, alpha: float
) -> FloatArray:
    r"""Threshold of each new row, (N,): the (1 - alpha) quantile of the weighted calibration scores.

    The smallest score at which the weights of the scores up to it reach
    :math:`(1 - \alpha) (\sum_i w_i + w(x))`, with the new row's own weight w(x) at infinity; infinite
    where they never do. With all weights 1 it is the split conformal threshold.

    Args:
        scores: (n,) calibration scores.
        weights: (n,) likelihood ratios dP_new / dP_calibration, up to a factor.
        new_weights: (N,) of the new rows, with the same factor.
        alpha: Target miscoverage.

    Example:
        >>> scores = np.arange(1.0, 11.0)
        >>> weighted_quantiles(scores, np.ones(10), np.array([1.0, 5.0]), 0.25).tolist()
        [9.0, inf]
    """
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(weights[order])
    wanted = (1 - require_alpha(alpha)) * (mass[-1] + new_weights)
    place = np.searchsorted(mass, wanted * (1 - _ROUNDING), side="left")
    padded = np.append(scores[order], np.inf)
    return np.asarray(padded[place])


def weighted_sets(
    calibration: Predictions,
    rows: Predictions,
    alpha: float,
    *,
    weights: ArrayLike,
    new_weights: ArrayLike,
    score: str = "lac",
    score_parameters: dict[str, Any] | None = None,
) -> PredictionSets:
    r"""Label sets for rows whose images are distributed otherwise than the calibration images.

    Assumption: the labels given the image are distributed as before, rows are independent, and the
    weights are the true likelihood ratio. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha` over the new
    distribution. With estimated weights (:func:`likelihood_ratios`) it is approximate.

    Args:
        calibration: Held-out labelled rows.
        rows: The new rows.
        alpha: Target miscoverage.
        weights: (n,) ratio of each calibration row; not negative, not all 0.
        new_weights: (N,) of each new row.
        score: A split conformal method ("lac", "aps", ...).
        score_parameters: Its hyper-parameters.

    Raises:
        SplitError: The calibration rows are test data.
        DataError: Weights of another number, negative or not finite.

    Source: Tibshirani, Barber, Candes and Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019,
    arXiv 1904.06019. Oracle: with weights 1 the sets of :class:`~vlmcal.conformal.split.SplitConformal`.
    """
    require_fittable(calibration.split, "weighted conformal prediction")
    scorer = make_scorer(score, score_parameters or {})
    known = _weights(weights, len(calibration), "weights")
    given = _weights(new_weights, len(rows), "new_weights")
    fitted = KeyedRows(calibration)
    thresholds = weighted_quantiles(scorer.calibration_scores(fitted), known, given, alpha)
    return PredictionSets(
        sets=scorer.sets_by_row(KeyedRows(rows), thresholds),
        labels=rows.labels,
        alpha=alpha,
        ids=rows.ids,
        class_names=rows.class_names,
        groups=rows.groups,
        provenance={
            "conformal": "weighted",
            "score": score,
            "guarantee": "marginal, new distribution",
        },
    )


def likelihood_ratios(source: ArrayLike, target: ArrayLike, rows: ArrayLike) -> FloatArray:
    """Estimated dP_target / dP_source at rows (N, D), by logistic regression that tells the two apart.

    Args:
        source: (n, D) features of images of the old distribution, best others than the calibration rows.
        target: (m, D) of the new one; no labels are needed.
        rows: Where it is wanted.

    Raises:
        DataError: NaN, infinity, or features of other shapes.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> old, new = draw.normal(size=(4000, 1)), draw.normal(size=(4000, 1)) + 1
        >>> ratio = likelihood_ratios(old, new, [[0.5], [1.5]])         # exp(x - 1/2): 1 and e
        >>> bool(abs(ratio[0] - 1) < 0.1), bool(abs(ratio[1] - 2.718) < 0.3)
        (True, True)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    old, new, wanted = (_features(part) for part in (source, target, rows))
    if old.shape[1] != new.shape[1] or old.shape[1] != wanted.shape[1]:
        widths = f"{old.shape[1]}, {new.shape[1]} and {wanted.shape[1]}"
        raise DataError(f"likelihood ratios: expected features of one width, got {widths}")
    side = np.repeat([0, 1], [len(old), len(new)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(np.concatenate([old, new]), side)
    odds = np.exp(model.decision_function(wanted))
    return np.asarray(odds * len(old) / len(new))


def _features(values: ArrayLike) -> FloatArray:
    found: FloatArray = as_array(values).astype(np.float64)
    if found.ndim != 2 or not found.size:
        raise DataError(f"likelihood ratios: expected features (N, D), got shape {found.shape}")
    require_finite(found, "likelihood ratios: features")
    return found


def _weights(values: ArrayLike, n: int, what: str) -> FloatArray:
    weights = np.asarray(values, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(
            f"{what}: expected {n} finite numbers that are not negative, one for each row"
        )
    return weights
