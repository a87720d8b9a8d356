"""Adaptive temperature scaling: the temperature of a row depends on its entropy."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import CHUNK, finite_scores, log_normalised
from vlmcal.calibrators.temperature import Temperature
from vlmcal.state_rules import StateRule, array, number
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import NotNegative, Positive, Zero
from vlmcal.types.predictions import Predictions

_LOWEST_ENTROPY = 1e-12


@CALIBRATORS.register("adaptive_temperature")
class AdaptiveTemperature(Calibrator):
    """``p_i = softmax(z_i / T_i)`` with ``log T_i = b + w h_i``, h_i = log(entropy of the row / log K).

    w = 0 is temperature scaling; w and b minimise the mean log-loss plus ``strength (w s)^2 / n``, s the
    deviation of h on the n fitting rows, starting from the best single temperature. h is clipped to its range
    on the fitting rows, and T_i to a factor of ``most`` around the single temperature, so that no row is
    calibrated by what was never seen. Where no finite temperature is best, w = 0 and the single one is that
    of ``temperature``. The published form has a softplus in place of the exponential; the exponential
    contains T = 1 for every row.

    Attributes:
        zero: What an exact probability of 0 stands for.
        strength: Pull of w to 0; 8 is a normal prior that lets T vary by a factor of exp(1/4) between rows.
        most: Largest factor between the temperature of a row and the single one.
        weight_: w.
        bias_: b.
        entropy_: Smallest and largest h of the fitting rows.
        log_t_: Smallest and largest log T.

    Source: Balanya, Maronas and Ramos, Adaptive temperature scaling for robust calibration of deep neural
    networks, 2022, arXiv 2208.00461 (entropy-based form).

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> test = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["new"])
        >>> cal = AdaptiveTemperature().fit(val)
        >>> round(float(cal.transform(test).probabilities()[0, 0]), 4)
        0.75
    """

    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "weight_": number(),
        "bias_": number(),
        "nll_": number(low=0),
        "entropy_": array(2, high=0),
        "log_t_": array(2),
    }
    older_state: ClassVar[Mapping[str, Any]] = {
        "entropy_": np.array([np.log(_LOWEST_ENTROPY), 0.0]),
        "log_t_": np.array([-30.0, 30.0]),
    }

    zero: Zero = 1e-6
    strength: NotNegative = 8.0
    most: Positive = 3.0

    def _fit(self, predictions: Predictions) -> None:
        scores = finite_scores(predictions, self.zero)
        log_entropy = _log_entropy(scores)
        self.entropy_ = np.array([log_entropy.min(), log_entropy.max()])
        pull = self.strength * float(log_entropy.var()) / len(scores)
        scores -= scores.max(axis=1, keepdims=True)
        rows = np.arange(len(scores))
        label = scores[rows, predictions.labels]
        step = max(1, CHUNK // scores.shape[1])
        design = np.column_stack([log_entropy, np.ones_like(log_entropy)])

        def objective(theta: FloatArray) -> tuple[float, FloatArray]:
            beta = np.exp(-np.clip(design @ theta, -30.0, 30.0))
            total, mean = np.empty(len(scores)), np.empty(len(scores))
            for first in range(0, len(scores), step):
                part = slice(first, first + step)
                share = scores[part] * beta[part, None]
                np.exp(share, out=share)
                np.einsum("nk->n", share, out=total[part])
                np.einsum("nk,nk->n", share, scores[part], out=mean[part])
            mean /= total
            # d loss / d log T = -beta (E[z] - z_y)
            slope = -beta * (mean - label) / len(scores)
            gradient = design.T @ slope
            gradient[0] += 2 * pull * theta[0]
            return float((np.log(total) - beta * label).mean()) + pull * theta[0] ** 2, gradient

        with Calibrator.quiet():
            single = Temperature(zero=self.zero).fit(predictions, identify=False)
        middle = np.log(single.temperature_)
        self.log_t_ = middle + np.log(self.most) * np.array([-1.0, 1.0])
        if single.bounded_:
            self.weight_, self.bias_, self.nll_ = 0.0, float(middle), single.nll_
            for message in single.messages_:
                self._tell(message)
            return
        # around the mean of h, where the two numbers do not depend on each other
        centre = float(log_entropy.mean())
        design[:, 0] -= centre
        start = np.array([0.0, middle])
        options = {"ftol": 1e-13, "gtol": 1e-9}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        self.weight_ = float(found.x[0])
        self.bias_ = float(found.x[1]) - self.weight_ * centre
        self.nll_ = float(found.fun) - pull * self.weight_**2

    def _transform(self, predictions: Predictions) -> Scores:
        scores = finite_scores(predictions, self.zero)
        log_entropy = np.clip(_log_entropy(scores), *self.entropy_)
        log_t = np.clip(self.weight_ * log_entropy + self.bias_, *self.log_t_)
        return Scores(scores * np.exp(-log_t)[:, None], "logits")


def _log_entropy(scores: FloatArray) -> FloatArray:
    log_probs = log_normalised(scores.copy())
    entropy = -np.einsum("nk,nk->n", np.exp(log_probs), log_probs) / np.log(scores.shape[1])
    return np.asarray(np.log(np.clip(entropy, _LOWEST_ENTROPY, 1.0)))
