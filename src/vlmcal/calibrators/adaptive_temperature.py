"""Adaptive temperature scaling: the temperature of a row depends on its entropy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores, log_normalised
from vlmcal.calibrators.temperature import fit_inverse_temperature
from vlmcal.fitted import StateRule, number
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions

_LOWEST_ENTROPY = 1e-12


@CALIBRATORS.register("adaptive_temperature")
@dataclass
class AdaptiveTemperature(Calibrator):
    """``p_i = softmax(z_i / T_i)`` with ``log T_i = b + w log(H_i / log K)``, H_i the row's entropy.

    w = 0 is temperature scaling; w and b minimise the log-loss, starting from the best single temperature,
    so the fit is never worse than that. The published form has a softplus in place of the exponential;
    the exponential contains T = 1 for every row.

    Attributes:
        zero: What an exact probability of 0 stands for.
        weight_: w.
        bias_: b.

    Source: Balanya, Maronas and Ramos, Adaptive temperature scaling for robust calibration of deep neural
    networks, 2022, arXiv 2208.00461 (entropy-based form).

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> test = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["new"])
        >>> cal = AdaptiveTemperature().fit(val)
        >>> round(float(cal.transform(test).probabilities()[0, 0]), 4)
        0.75
    """

    name: ClassVar[str] = "adaptive_temperature"
    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "weight_": number(),
        "bias_": number(),
        "nll_": number(low=0),
    }

    zero: float = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        scores = finite_scores(predictions, self.zero)
        log_entropy = _log_entropy(scores)
        scores -= scores.max(axis=1, keepdims=True)
        rows = np.arange(len(scores))
        label = scores[rows, predictions.labels]
        design = np.column_stack([log_entropy, np.ones_like(log_entropy)])

        def objective(theta: FloatArray) -> tuple[float, FloatArray]:
            beta = np.exp(-np.clip(design @ theta, -30.0, 30.0))
            share = np.exp(scores * beta[:, None])
            total = share.sum(axis=1)
            mean = np.einsum("nk,nk->n", share, scores) / total
            # d loss / d log T = -beta (E[z] - z_y)
            slope = -beta * (mean - label) / len(scores)
            return float((np.log(total) - beta * label).mean()), design.T @ slope

        best = fit_inverse_temperature(predictions, (np.exp(-16), np.exp(16)), self.zero)
        start = np.array([0.0, -np.log(best.inverse)])
        options = {"ftol": 1e-13, "gtol": 1e-9}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        self.weight_, self.bias_ = (float(x) for x in found.x)
        self.nll_ = float(found.fun)
        if best.bounded:
            self._tell(
                f"no finite temperature is best on these {len(scores)} rows (log T stopped at "
                f"{self.bias_:.3g}); add fitting rows or use the mixture calibrator"
            )

    def _transform(self, predictions: Predictions) -> Scores:
        scores = finite_scores(predictions, self.zero)
        log_t = np.clip(self.weight_ * _log_entropy(scores) + self.bias_, -30.0, 30.0)
        return Scores(scores * np.exp(-log_t)[:, None], "logits")


def _log_entropy(scores: FloatArray) -> FloatArray:
    log_probs = log_normalised(scores.copy())
    entropy = -np.einsum("nk,nk->n", np.exp(log_probs), log_probs) / np.log(scores.shape[1])
    result: FloatArray = np.log(np.clip(entropy, _LOWEST_ENTROPY, 1.0))
    return result
