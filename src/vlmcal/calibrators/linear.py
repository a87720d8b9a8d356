"""The shared body of vector, matrix and Dirichlet scaling."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vlmcal.calibrators.base import Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores, label_nll, log_normalised
from vlmcal.calibrators.softmax_linear import LinearMap, Penalty, fit_linear
from vlmcal.calibrators.temperature import Temperature, fit_inverse_temperature
from vlmcal.state_rules import StateRule, array, number, sane
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions

_FLAT = 1e-4  # gradient of the objective at which the search counts as finished


@dataclass
class LinearCalibrator(Calibrator):
    """``softmax(W x + b)`` of the features x of a row, by regularised maximum likelihood.

    Attributes:
        zero: What an exact probability of 0 stands for.
        at_bound: "mildest" keeps the scores where no fitting row is wrong; "bound" leaves it to the penalty.
        weights_: W, (K,) when diagonal, else (K, K).
        biases_: b, (K,).
        nll_: Log-loss (nats) on the fitting rows.
    """

    state: ClassVar[Mapping[str, StateRule]] = {
        "weights_": sane,
        "biases_": array("K"),
        "nll_": number(),
    }
    nested: ClassVar[bool] = True
    diagonal: ClassVar[bool] = False

    zero: Zero = 1e-6
    at_bound: Literal["mildest", "bound"] = "mildest"

    @abstractmethod
    def _penalty(self, strength: float = 0.0) -> Penalty:
        """The pull; ``strength`` stands for what is left to the rows to choose."""

    def _strength(self, features: FloatArray, predictions: Predictions) -> float:
        """What the rows choose where that is left to them; infinite for a temperature and nothing else."""
        del features, predictions
        return 0.0

    def _features(self, predictions: Predictions) -> FloatArray:
        return finite_scores(predictions, self.zero)

    def _unit(self, predictions: Predictions) -> float:
        """Inverse temperature of the fitting rows: the natural unit of the weights."""
        return self._inverse_temperature(predictions)

    def _inverse_temperature(self, predictions: Predictions) -> float:
        best = fit_inverse_temperature(predictions, (np.exp(-16), np.exp(16)), self.zero)
        return 1.0 if best.bounded else best.inverse

    def _start(self, predictions: Predictions) -> float:
        """The multiple of the features that is a temperature, where the search starts."""
        del predictions
        return 1.0

    def _fit(self, predictions: Predictions) -> None:
        if self._without_errors(predictions):
            return
        unit = self._unit(predictions)
        features = self._features(predictions) * unit
        strength = self._strength(features, predictions)
        if np.isinf(strength):
            self._keep_temperature(predictions)
            return
        self._tell_size(predictions)
        penalty = self._penalty(strength)
        found = fit_linear(
            features,
            predictions.labels,
            penalty,
            diagonal=self.diagonal,
            start=self._start(predictions),
        )
        weights = found.weights * unit
        self.weights_ = np.diag(weights).copy() if self.diagonal else weights
        self.biases_ = found.biases
        self.nll_ = found.objective - penalty.value(found.weights, found.biases)[0]
        self._tell_undetermined(found, predictions)

    def _tell_size(self, predictions: Predictions) -> None:
        """Say where more numbers are learned than the rows bear."""

    def _keep_temperature(self, predictions: Predictions) -> None:
        """One temperature for all classes, in the form of this map."""
        k, temperature = predictions.n_classes, best_temperature(predictions, self.zero)
        self.weights_ = (np.ones(k) if self.diagonal else np.eye(k)) / temperature
        self.biases_ = np.zeros(k)
        scaled = log_normalised(finite_scores(predictions, self.zero) / temperature)
        self.nll_ = label_nll(scaled, predictions.labels)

    def _tell_undetermined(self, found: LinearMap, predictions: Predictions) -> None:
        """Say where the rows do not determine the weights or a bias."""
        if found.gradient > _FLAT:
            self._tell(
                f"the search stopped after {found.steps} steps with gradient {found.gradient:.1e}; the "
                f"{len(predictions)} rows do not determine the weights, use a stronger penalty"
            )
        counts = np.bincount(predictions.labels, minlength=predictions.n_classes)
        missing = np.flatnonzero(counts == 0)
        if missing.size:
            self._tell(
                f"no fitting row of {missing.size} of {counts.size} classes (first: "
                f"{predictions.class_names[missing[0]]!r}), so their biases rest on the penalty alone"
            )

    def _check_learned(self) -> None:
        super()._check_learned()
        k = self.biases_.size
        rule = array("K") if self.diagonal else array("K", "K")
        if found := rule(self.weights_, k):
            raise self._impossible("weights_", found)

    def _without_errors(self, predictions: Predictions) -> bool:
        """Keep the scores as they are where no fitting row is wrong, which bounds no weight."""
        best = fit_inverse_temperature(predictions, (np.exp(-16), np.exp(16)), self.zero)
        if best.bounded != "lowest" or self.at_bound == "bound":
            return False
        k = predictions.n_classes
        self.weights_ = np.ones(k) if self.diagonal else np.eye(k)
        self.biases_ = np.zeros(k)
        self.nll_ = label_nll(predictions.log_probabilities(), predictions.labels)
        self._tell(
            f"the right class already has the largest score in all of these {len(predictions)} rows, so the "
            "scores are kept as they are: rows without an error cannot tell how often errors come; add "
            "fitting rows"
        )
        return True

    def _transform(self, predictions: Predictions) -> Scores:
        features = self._features(predictions)
        scaled = features * self.weights_ if self.diagonal else features @ self.weights_.T
        return Scores(scaled + self.biases_, "logits")


def best_temperature(predictions: Predictions, zero: float) -> float:
    """The single temperature of these rows, without a word where they do not determine it."""
    with Calibrator.quiet():
        return Temperature(zero=zero).fit(predictions, identify=False).temperature_
