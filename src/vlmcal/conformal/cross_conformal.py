"""Cross-conformal prediction (CV+): every row calibrates, by a model that has not seen it."""

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.quantile import require_alpha
from vlmcal.errors import DataError
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray


def cross_conformal_p_values(
    calibration_scores: ArrayLike, folds: ArrayLike, scores: ArrayLike
) -> FloatArray:
    r"""P-values (N, K): :math:`(\sum_i 1[s_i \ge s^{(f_i)}(x, y)] + 1) / (n + 1)`, f_i the fold of row i.

    Args:
        calibration_scores: (n,) score of each row's true label by the model that was trained without its
        fold.
        folds: (n,) fold of each row, 0 .. F - 1.
        scores: (F, N, K) scores of the new rows' labels by each of the F models.

    Raises:
        DataError: Shapes do not agree, or a fold without a model.

    Example:
        >>> new = np.array([[[0.15, 0.95]], [[0.3, 0.95]]])
        >>> cross_conformal_p_values([0.1, 0.2, 0.9], [0, 0, 1], new).tolist()
        [[0.75, 0.25]]
    """
    known = np.asarray(calibration_scores, dtype=np.float64)
    member: IntArray = np.asarray(folds)
    given = np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or member.shape != known.shape or given.ndim != 3:
        raise DataError(
            "cross-conformal: expected scores (n,), folds (n,) and new scores (F, N, K), got "
            f"{known.shape}, {member.shape}, {given.shape}"
        )
    if member.min(initial=0) < 0 or member.max(initial=0) >= len(given):
        raise DataError(f"cross-conformal: folds must be 0 to {len(given) - 1}, one for each model")
    stranger = np.zeros(given.shape[1:])
    for fold, each in enumerate(given):
        ordered = np.sort(known[member == fold])
        stranger += len(ordered) - np.searchsorted(ordered, each, side="left")
    found: FloatArray = (stranger + 1) / (len(known) + 1)
    return found


def cross_conformal_sets(
    calibration_scores: ArrayLike, folds: ArrayLike, scores: ArrayLike, alpha: float
) -> BoolArray:
    r"""Sets (N, K) of the labels with a p-value above alpha.

    Assumption: rows are exchangeable, and the models do not depend on their order within folds. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - 2 \alpha` less a term of order F / n; in practice near :math:`1 -
    \alpha`. With a single model and fold it is split conformal prediction. Nothing has to be held out.

    Source: Vovk, "Cross-conformal predictors", 2015, arXiv 1208.0806; CV+ for classes: Romano, Sesia and
    Candes, NeurIPS 2020, arXiv 2006.02544. Oracle: MAPIE's ``CrossConformalClassifier``.

    Example:
        >>> cross_conformal_sets([0.1, 0.2, 0.9], [0, 0, 0], [[[0.15, 0.95]]], alpha=0.3).tolist()
        [[True, False]]
    """
    p = cross_conformal_p_values(calibration_scores, folds, scores)
    # A count against alpha (n + 1), so that rounding decides nothing.
    found: BoolArray = p > require_alpha(alpha) + 1e-12
    return found
