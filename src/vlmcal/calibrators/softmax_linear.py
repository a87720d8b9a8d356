"""Linear maps in front of a softmax, fitted by log-loss: the common part of vector, matrix, Dirichlet."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from vlmcal.types.arrays import FloatArray, IntArray


class LinearMap(NamedTuple):
    """``softmax(x W^T + b)`` with weights (K, K), biases (K,), its objective and how the search ended."""

    weights: FloatArray
    biases: FloatArray
    objective: float
    gradient: float
    steps: int


@dataclass(frozen=True)
class Penalty:
    """Quadratic pull of the weights W (K, K) and biases b (K,), in the units of the features.

    ``diagonal * sum_c (W_cc - centre)^2 + off_diagonal * sum_{c != j} W_cj^2 + bias * sum b_c^2``

    Attributes:
        diagonal: Strength on the diagonal.
        off_diagonal: Strength off the diagonal.
        bias: Strength on the biases.
        centre: Value to which the diagonal is pulled.
        reference_row: Measure W and b relative to their last row (as dirichletcal does).
    """

    diagonal: float = 0.0
    off_diagonal: float = 0.0
    bias: float = 0.0
    centre: float = 1.0
    reference_row: bool = False

    def value(
        self, weights: FloatArray, biases: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """The penalty and its gradients in W and b."""
        if self.reference_row:
            weights, biases = weights - weights[-1], biases - biases[-1]
        k = len(biases)
        strength = np.full((k, k), self.off_diagonal)
        np.fill_diagonal(strength, self.diagonal)
        off = weights - self.centre * np.eye(k)
        total = float((strength * off**2).sum() + self.bias * (biases**2).sum())
        slope_w, slope_b = 2 * strength * off, 2 * self.bias * biases
        if self.reference_row:
            slope_w[-1] -= slope_w.sum(axis=0)
            slope_b[-1] -= slope_b.sum()
        return total, slope_w, slope_b


def fit_linear(
    features: FloatArray, labels: IntArray, penalty: Penalty, *, diagonal: bool
) -> LinearMap:
    """Minimise the mean log-loss of ``softmax(x W^T + b)`` plus a penalty; convex.

    Features are centred and scaled to unit spread inside, which does not change the optimum.

    Args:
        features: (N, K).
        labels: (N,).
        penalty: Pull of the weights and biases.
        diagonal: Restrict W to a diagonal matrix.

    Example:
        >>> x = np.array([[2.0, 0.0]] * 4)
        >>> found = fit_linear(x, np.array([0, 0, 0, 1]), Penalty(), diagonal=True)
        >>> round(found.objective, 6)               # entropy of (3/4, 1/4)
        0.562335
    """
    problem = _Problem(features, labels, penalty, diagonal)
    start = problem.pack(np.eye(problem.k), np.zeros(problem.k))
    options = {"maxcor": 30, "maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(problem.value, start, jac=True, method="L-BFGS-B", options=options)
    weights, biases = problem.unpack(found.x)
    return LinearMap(
        weights, biases, float(found.fun), float(np.abs(found.jac).max()), int(found.nit)
    )


class _Problem:
    """The objective in the centred and scaled features."""

    def __init__(
        self, features: FloatArray, labels: IntArray, penalty: Penalty, diagonal: bool
    ) -> None:
        self.n, self.k = features.shape
        self.labels, self.penalty, self.diagonal = labels, penalty, diagonal
        self.mean = features.mean(axis=0)
        self.spread = float(features.std()) or 1.0
        self.x = (features - self.mean) / self.spread
        self.rows = np.arange(self.n)

    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        shifted = biases + weights @ self.mean
        inner = np.diag(weights) if self.diagonal else weights
        return np.concatenate([inner.ravel() * self.spread, shifted])

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        inner, shifted = theta[: -self.k] / self.spread, theta[-self.k :]
        weights = np.diag(inner) if self.diagonal else inner.reshape(self.k, self.k)
        return weights, shifted - weights @ self.mean

    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        inner, shifted = theta[: -self.k], theta[-self.k :]
        if self.diagonal:
            scores = self.x * inner + shifted
        else:
            scores = self.x @ inner.reshape(self.k, self.k).T + shifted
        total = logsumexp(scores, axis=1)
        loss = float((total - scores[self.rows, self.labels]).mean())
        error = np.exp(scores - total[:, None])
        error[self.rows, self.labels] -= 1.0
        error /= self.n
        slope = (error * self.x).sum(axis=0) if self.diagonal else error.T @ self.x
        weights, biases = self.unpack(theta)
        extra, slope_w, slope_b = self.penalty.value(weights, biases)
        slope_w = (slope_w - np.outer(slope_b, self.mean)) / self.spread
        slope = slope + (np.diag(slope_w) if self.diagonal else slope_w)
        return loss + extra, np.concatenate([slope.ravel(), error.sum(axis=0) + slope_b])
