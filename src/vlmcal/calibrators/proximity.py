"""Proximity: how close a row's image feature lies to the fitting rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vlmcal.calibrators.base import Calibrator, Scores
from vlmcal.errors import DataError, SpecError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.state_rules import StateRule, array, optional
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Count
from vlmcal.types.neighbours import nearest
from vlmcal.types.predictions import Predictions

ProximityForm = Literal["of_mean", "mean_of"]


def proximity(distances: FloatArray, form: ProximityForm = "of_mean") -> FloatArray:
    """Proximity (N,) in (0, 1] from the distances (N, k) to the k nearest neighbours.

    "of_mean" is ``exp(-mean(d))`` (as in distance-aware calibration's code, and in the paper); "mean_of" is
    ``mean(exp(-d))`` (the script of the proximity paper).

    Source: Xiong et al., Proximity-informed calibration for deep neural networks, NeurIPS 2023,
    arXiv 2306.04590.

    Example:
        >>> proximity(np.array([[0.0, 2.0]])).round(4).tolist()
        [0.3679]
        >>> proximity(np.array([[0.0, 2.0]]), "mean_of").round(4).tolist()
        [0.5677]
    """
    if form == "of_mean":
        return np.asarray(np.exp(-distances.mean(axis=1)))
    if form == "mean_of":
        return np.asarray(np.exp(-distances).mean(axis=1))
    raise SpecError(f'proximity form: expected "of_mean" or "mean_of", got "{form}"')


@dataclass
class ProximityCalibrator(Calibrator):
    """A calibrator that knows how typical each row is.

    Reads the extra ``proximity`` (N,), or ``knn_distance`` (N,) or (N, k), or else computes Euclidean
    distances from ``image_features`` (N, D) to the k nearest fitting rows (a fitting row is not its own
    neighbour).

    Attributes:
        neighbours: k.
        form: How distances become a proximity, see :func:`proximity`.
        reference_: (M, D) image features of the fitting rows, or None where proximities were given.
    """

    state: ClassVar[Mapping[str, StateRule]] = {"reference_": optional(array("*", "*"))}

    neighbours: Count = 10
    form: ProximityForm = "of_mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reference_: FloatArray | None = None

    def _fit_proximity(self, predictions: Predictions) -> FloatArray:
        given = self._given(predictions)
        if given is not None:
            self.reference_ = None
            return given
        self.reference_ = image_features(predictions, self.name)
        k = min(self.neighbours, len(self.reference_) - 1)
        if k < 1:
            raise DataError(f'calibrator "{self.name}": neighbours need at least 2 fitting rows')
        distances, _ = nearest(self.reference_, None, k)
        return proximity(distances, self.form)

    def _proximity(self, predictions: Predictions) -> FloatArray:
        given = self._given(predictions)
        if given is not None:
            return given
        if self.reference_ is None:
            raise DataError(
                f'calibrator "{self.name}" was fitted with the extra proximity or knn_distance; these '
                "predictions carry neither, give them the same extra"
            )
        k = min(self.neighbours, len(self.reference_))
        distances, _ = nearest(self.reference_, image_features(predictions, self.name), k)
        return proximity(distances, self.form)

    def _given(self, predictions: Predictions) -> FloatArray | None:
        extras = predictions.extras
        values: FloatArray
        if "proximity" in extras:
            values = np.asarray(extras["proximity"], dtype=np.float64)
        elif "knn_distance" in extras:
            distances = np.asarray(extras["knn_distance"], dtype=np.float64)
            values = proximity(distances.reshape(len(distances), -1), self.form)
        else:
            return None
        if values.shape != (len(predictions),):
            raise DataError(f"proximity: expected ({len(predictions)},), got {values.shape}")
        return values


def image_features(predictions: Predictions, name: str) -> FloatArray:
    """The extra ``image_features`` (N, D) in float64.

    Raises:
        UnsuitedRowsError: It is missing.
        DataError: It has another number of rows.
    """
    if "image_features" not in predictions.extras:
        raise UnsuitedRowsError(
            f'calibrator "{name}" needs image_features, proximity or knn_distance beside the scores; '
            f"these predictions carry {', '.join(sorted(predictions.extras)) or 'no extras'}"
        )
    features = np.asarray(predictions.extras["image_features"], dtype=np.float64)
    if features.ndim != 2 or len(features) != len(predictions):
        raise DataError(
            f"image_features: expected ({len(predictions)}, D), one row per image, got {features.shape}"
        )
    return features


def with_top_confidence(predictions: Predictions, confidence: FloatArray) -> Scores:
    """Give the predicted class a new probability; the other classes share the rest as before.

    Args:
        predictions: (N, K).
        confidence: (N,) in [0, 1].

    Example:
        >>> p = Predictions(logits=np.log([[0.5, 0.3, 0.2]]), labels=[0])
        >>> np.exp(with_top_confidence(p, np.array([0.6])).values).round(3).tolist()
        [[0.6, 0.24, 0.16]]
    """
    probs = predictions.probabilities()
    rows, top = np.arange(len(probs)), predictions.predicted()
    probs[rows, top] = 0.0
    rest = probs.sum(axis=1)
    uniform = 1.0 / (predictions.n_classes - 1)
    shares = np.where(rest[:, None] > 0, probs / np.where(rest > 0, rest, 1.0)[:, None], uniform)
    shares *= (1.0 - confidence)[:, None]
    shares[rows, top] = confidence
    with np.errstate(divide="ignore"):
        return Scores(np.log(shares), "log_probs")
