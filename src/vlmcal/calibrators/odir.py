"""The penalty of matrix and Dirichlet scaling (ODIR), and the choice of its strengths by cross-validation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlmcal.calibrators.linear import LinearCalibrator, best_temperature
from vlmcal.calibrators.numerics import finite_scores, log_normalised
from vlmcal.calibrators.softmax_linear import Penalty, fit_linear
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import standard_error
from vlmcal.types.folds import fold_index
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions

# From the strongest; 0.01 is the strength that was fixed before.
STRENGTHS = (100.0, 10.0, 1.0, 0.1, 0.01)
FOLDS = 5
# With more classes a fit takes seconds, and five folds of up to five strengths minutes.
SEARCHED_CLASSES = 50
_BEYOND = 0.01

Strength = NotNegative | Literal["auto"]


@dataclass
class OdirCalibrator(LinearCalibrator):
    """``softmax(W x + b)`` with off-diagonal and intercept regularisation (ODIR).

    ``"auto"`` chooses the strengths among 100, 10, 1, 0.1 and 0.01 by the log-loss of held-out rows: 5 folds
    (by groups where rows have groups), from the strongest on until the loss first rises, and one temperature
    instead where the best of them is not better than that by one standard error. What is said as a number is
    taken as it is; two ``"auto"`` are one number. With more than 50 classes, where that takes minutes, the
    strength is 0.01 where the rows outnumber the K^2 + K numbers to be learned, and otherwise one temperature
    is kept. The fit says where it kept one temperature.

    Attributes:
        reg_lambda: Strength on the off-diagonal weights, or "auto".
        reg_mu: Strength on the biases, "auto", or None for plain L2 (all entries of W and b are pulled to 0
            by ``reg_lambda``).
    """

    reg_lambda: Strength = "auto"
    reg_mu: Strength | None = "auto"

    def _penalty(self, strength: float = 0.0) -> Penalty:
        off = strength if self.reg_lambda == "auto" else self.reg_lambda
        if self.reg_mu is None:
            return Penalty(off, off, off, centre=0.0)
        return Penalty(off_diagonal=off, bias=strength if self.reg_mu == "auto" else self.reg_mu)

    def _tell_size(self, predictions: Predictions) -> None:
        n, k = len(predictions), predictions.n_classes
        if k * k + k > n:
            self._tell(
                f"{k * k + k} numbers are learned from {n} rows, so accuracy may fall; use vector or "
                'temperature, or leave the penalty to cross-validation (reg_lambda="auto")'
            )

    def _strength(self, features: FloatArray, predictions: Predictions) -> float:
        if "auto" not in (self.reg_lambda, self.reg_mu):
            return 0.0
        n, k = len(predictions), predictions.n_classes
        units = n if predictions.groups is None else np.unique(predictions.groups).size
        if k > SEARCHED_CLASSES or units < 2:
            if k * k + k <= n:
                return _BEYOND
            self._tell(
                f"{k * k + k} numbers would be learned from {n} rows, so one temperature is kept instead; "
                "say reg_lambda and reg_mu as numbers to learn them all the same"
            )
            return np.inf
        strength = self._searched(features, predictions, min(FOLDS, units))
        if np.isinf(strength):
            self._tell(
                f"no strength of the penalty is clearly better than one temperature in cross-validation of "
                f"these {n} rows, so that is kept; say reg_lambda and reg_mu as numbers to learn the weights"
            )
        return strength

    def _searched(self, features: FloatArray, predictions: Predictions, folds: int) -> float:
        """Strength of the smallest held-out loss; infinite where a temperature does about as well."""
        labels, index = predictions.labels, fold_index(predictions, folds=folds)
        plain = finite_scores(predictions, self.zero)

        def held_out(strength: float) -> FloatArray:
            losses = np.empty(len(labels))
            for fold in range(folds):
                inside, others = index == fold, index != fold
                if np.isinf(strength):
                    scores = plain[inside] / best_temperature(predictions.subset(others), self.zero)
                else:
                    found = fit_linear(
                        features[others], labels[others], self._penalty(strength), diagonal=False
                    )
                    scores = features[inside] @ found.weights.T + found.biases
                log_probs = log_normalised(scores)
                losses[inside] = -log_probs[np.arange(len(log_probs)), labels[inside]]
            return losses

        temperature = held_out(np.inf)
        best, gain = np.inf, temperature * 0
        previous = np.inf
        for strength in STRENGTHS:
            losses = held_out(strength)
            if losses.mean() < (temperature - gain).mean() or not np.isfinite(best):
                best, gain = strength, temperature - losses
            if losses.mean() > previous:
                break
            previous = losses.mean()
        return best if gain.mean() > standard_error(gain, predictions.groups) else np.inf
