"""Conformal p-values: how strange each label would be, and what a single answer is worth."""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.conformal.base import KeyedRows, require_calibration
from vlmcal.conformal.score_based import make_scorer
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.predictions import Predictions


def p_values(calibration_scores: FloatArray, scores: FloatArray) -> FloatArray:
    r"""P-value of every label, (N, K): :math:`(\#\{i : s_i \ge s(x, y)\} + 1) / (n + 1)`.

    Args:
        calibration_scores: (n,) scores of the true labels; larger means stranger.
        scores: (N, K) of every label of the new rows.

    Example:
        >>> p_values(np.array([0.1, 0.2, 0.9]), np.array([[0.15, 0.95]])).tolist()
        [[0.75, 0.25]]
    """
    ordered = np.sort(calibration_scores)
    below = np.searchsorted(ordered, scores, side="left")
    return (len(ordered) - below + 1) / (len(ordered) + 1)


class Credible(NamedTuple):
    """A forced answer and its two numbers, (N,) each.

    Attributes:
        predicted: Label of the largest p-value.
        credibility: That p-value; small where no label fits, as for images of another kind.
        confidence: 1 - the second largest p-value: how well all other labels are ruled out.
    """

    predicted: IntArray
    credibility: FloatArray
    confidence: FloatArray


def credible(values: FloatArray) -> Credible:
    """Answer, credibility and confidence from p-values (N, K).

    Example:
        >>> answer = credible(np.array([[0.75, 0.25]]))
        >>> answer.predicted.tolist(), answer.credibility.tolist(), answer.confidence.tolist()
        ([0], [0.75], [0.75])
    """
    ordered = np.sort(values, axis=1)
    second = ordered[:, -2] if values.shape[1] > 1 else np.zeros(len(values))
    return Credible(values.argmax(axis=1), ordered[:, -1], 1 - second)


def conformal_p_values(
    calibration: Predictions,
    rows: Predictions,
    *,
    score: str = "lac",
    score_parameters: dict[str, Any] | None = None,
    per_class: bool = False,
) -> FloatArray:
    """P-values (N, K) of the labels of new rows; the labels with p > alpha are the split conformal set.

    Assumption: calibration rows and the new row are exchangeable (with ``per_class``: those of one class).
    Guarantee: the p-value of the true label is at most alpha with probability at most alpha, over all rows,
    or with ``per_class`` over the rows of every class.

    Args:
        calibration: Held-out labelled rows.
        rows: The new rows.
        score: A split conformal method ("lac", "aps", ...).
        score_parameters: Its hyper-parameters.
        per_class: Compare each label with the calibration rows of its class only (label-conditional); the
            p-value of a label without calibration rows is 1.

    Raises:
        SplitError: The calibration rows are test data, or are among the new rows.
        DataError: Other classes.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005 (credibility,
    confidence). Oracle: ``predict_p`` of crepes' ``ConformalClassifier`` without smoothing, with ``bins`` for
    ``per_class``.
    """
    require_calibration(calibration, rows, "conformal p-values")
    scorer = make_scorer(score, score_parameters or {})
    known = scorer.calibration_scores(KeyedRows(calibration))
    new = scorer.class_scores(KeyedRows(rows))
    if not per_class:
        return p_values(known, new)
    columns = [
        p_values(known[calibration.labels == label], new[:, [label]])
        for label in range(calibration.n_classes)
    ]
    return np.concatenate(columns, axis=1)
