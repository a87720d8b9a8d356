"""Ensemble temperature scaling: a mixture of the scaled, the original and the uniform distribution."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores, log_normalised
from vlmcal.calibrators.temperature import BOUNDED, Bounded, Temperature
from vlmcal.state_rules import StateRule, array, number, text
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions

_UNDERFLOW = 1e-290


@CALIBRATORS.register("ensemble_temperature")
class EnsembleTemperature(Calibrator):
    """``p = w1 softmax(z / T) + w2 softmax(z) + w3 / K`` with w >= 0, sum(w) = 1.

    T is fitted first, then the weights, both by the same loss; the second problem is convex and has three
    unknowns, so it needs only the label's probabilities (nll) or a 3 x 3 Gram matrix (brier).

    Attributes:
        loss: "nll", or "brier" (the default of Mix-n-Match).
        bounds: Smallest and largest temperature.
        zero: What an exact probability of 0 stands for.
        at_bound: What to do where no finite temperature is best; see ``temperature``.
        temperature_: T.
        weights_: (w1, w2, w3).

    Source: Zhang, Kailkhura and Han, Mix-n-Match, ICML 2020, arXiv 2003.07329.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> test = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["new"])
        >>> cal = EnsembleTemperature().fit(val)
        >>> round(float(cal.transform(test).probabilities()[0, 0]), 4)      # 3 of 4 were right
        0.75
    """

    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "temperature_": number(above=0),
        "weights_": array(3, low=0, high=1 + 1e-9),
        "bounded_": text(*BOUNDED),
    }

    loss: Literal["nll", "brier"] = "nll"
    bounds: tuple[float, float] = (math.exp(-16), math.exp(16))
    zero: Zero = 1e-6
    at_bound: Literal["mildest", "bound"] = "mildest"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bounds = Temperature(self.loss, self.bounds).bounds

    def _fit(self, predictions: Predictions) -> None:
        inner = Temperature(self.loss, self.bounds, self.zero, self.at_bound)
        with Calibrator.quiet():
            inner.fit(predictions, identify=False)
        for message in inner.messages_:
            self._tell(message)
        self.temperature_ = inner.temperature_
        self.bounded_: Bounded = inner.bounded_
        scores = finite_scores(predictions, self.zero)
        fit = self._fit_nll if self.loss == "nll" else self._fit_brier
        self.weights_ = fit(scores, predictions)

    def _fit_nll(self, scores: FloatArray, predictions: Predictions) -> FloatArray:
        rows = np.arange(len(scores))
        label = [
            log_normalised(scores / t)[rows, predictions.labels] for t in (self.temperature_, 1.0)
        ]
        logs = np.column_stack([*label, np.full(len(scores), -np.log(scores.shape[1]))])
        scaled = np.exp(logs - logs.max(axis=1, keepdims=True))
        rest = float(logs.max(axis=1).mean())

        def objective(w: FloatArray) -> tuple[float, FloatArray]:
            mix = np.maximum(scaled @ w, 1e-300)
            return -float(np.log(mix).mean()) - rest, -(scaled / mix[:, None]).mean(axis=0)

        return _on_simplex(objective)

    def _fit_brier(self, scores: FloatArray, predictions: Predictions) -> FloatArray:
        n, k = scores.shape
        parts = [softmax(scores / t, axis=1) for t in (self.temperature_, 1.0)]
        for part in parts:
            part[np.arange(n), predictions.labels] -= 1.0
        uniform = np.full((n, k), 1.0 / k)
        uniform[np.arange(n), predictions.labels] -= 1.0
        flat = np.stack([*(part.ravel() for part in parts), uniform.ravel()])
        gram = flat @ flat.T / flat.shape[1]
        return _on_simplex(lambda w: (float(w @ gram @ w), 2 * gram @ w))

    def _transform(self, predictions: Predictions) -> Scores:
        scores = finite_scores(predictions, self.zero)
        parts = [log_normalised(scores / self.temperature_), log_normalised(scores)]
        total = np.full_like(scores, self.weights_[2] / scores.shape[1])
        for weight, part in zip(self.weights_[:2], parts, strict=True):
            total += weight * np.exp(part)
        with np.errstate(divide="ignore"):
            mixed = np.log(np.minimum(total, 1.0))
            lost = total < _UNDERFLOW
            if lost.any():
                logs = [
                    part[lost] + np.log(weight)
                    for weight, part in zip(self.weights_, parts, strict=False)
                ]
                mixed[lost] = np.maximum(*logs)
        return Scores(mixed, "log_probs")


def _on_simplex(objective: Callable[[FloatArray], tuple[float, FloatArray]]) -> FloatArray:
    """The best of three weights on the simplex: from each corner, so that no face is missed."""
    corners = np.eye(3)
    ends = [np.full(3, 1 / 3), *corners]
    found = [
        minimize(
            objective,
            start,
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * 3,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(3)},
            options={"ftol": 1e-14, "maxiter": 300},
        )
        for start in ends
    ]
    candidates = [np.clip(result.x, 0.0, 1.0) for result in found] + list(corners)
    values = [objective(w / w.sum())[0] for w in candidates]
    best = candidates[int(np.argmin(values))]
    return np.asarray(best / best.sum())
