"""Linear maps in front of a softmax, fitted by log-loss: the common part of vector, matrix, Dirichlet."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from vlmcal.calibrators.numerics import CHUNK
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

    The search (L-BFGS) runs in coordinates in which the curvature is about the same in all directions; the
    optimum does not depend on them.

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
    kind = _DiagonalProblem if diagonal else _FullProblem
    problem = kind(features, labels, penalty)
    start = problem.pack(np.eye(problem.k), np.zeros(problem.k))
    # Many stored steps help much on small problems and cost too much memory on large ones.
    memory = 30 if start.size < 100_000 else 10
    options = {"maxcor": memory, "maxiter": 1000, "maxfun": 2000, "ftol": 1e-13, "gtol": 1e-7}
    found = minimize(problem.value, start, jac=True, method="L-BFGS-B", options=options)
    weights, biases = problem.unpack(found.x)
    steepest = float(np.abs(found.jac).max())
    return LinearMap(weights, biases, float(found.fun), steepest, int(found.nit))


class _Problem(ABC):
    """The objective in coordinates that suit the search.

    Features are centred, so scores are ``W (x - mean) + c`` with ``c = b + W mean``; the rows of (W, c) are
    multiplied by a triangular matrix made of the curvature of log-loss and penalty.
    """

    def __init__(self, features: FloatArray, labels: IntArray, penalty: Penalty) -> None:
        self.n, self.k = features.shape
        self.labels, self.penalty = labels, penalty
        self.mean = features.mean(axis=0)
        self.x = np.ascontiguousarray((features - self.mean).T)
        # curvature of the log-loss in one score, for a row that is undecided
        self.curvature = (1 - 1 / self.k) / self.k

    @abstractmethod
    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        """Coordinates of W and b."""

    @abstractmethod
    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """W and b of the coordinates."""

    @abstractmethod
    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The objective and its gradient."""

    def _errors(self, scores: FloatArray, start: int) -> float:
        """Turn scores (K, block) into ``p - one_hot`` in place; their summed log-loss."""
        labels = self.labels[start : start + scores.shape[1]]
        at = labels, np.arange(labels.size)
        scores -= scores.max(axis=0)
        chosen = scores[at]
        np.exp(scores, out=scores)
        total = scores.sum(axis=0)
        scores /= total
        scores[at] -= 1.0
        return float((np.log(total) - chosen).sum())

    def _blocks(self) -> Iterator[slice]:
        step = max(1, CHUNK // self.k)
        return (slice(start, start + step) for start in range(0, self.n, step))


class _FullProblem(_Problem):
    """All of W: the K + 1 features of a row share one triangular matrix."""

    def __init__(self, features: FloatArray, labels: IntArray, penalty: Penalty) -> None:
        super().__init__(features, labels, penalty)
        joint = np.vstack([self.x, np.ones(self.n)])
        pull = np.append(-self.mean, 1.0)
        shape = self.curvature * (joint @ joint.T) / self.n + 2 * penalty.bias * np.outer(
            pull, pull
        )
        shape[np.diag_indices(self.k)] += 2 * penalty.off_diagonal
        shape[np.diag_indices(self.k + 1)] += 1e-10 * np.trace(shape) / self.k
        self.root = np.linalg.cholesky(shape / self.curvature)
        self.inverse = solve_triangular(self.root, np.eye(self.k + 1), lower=True)
        self.x = self.inverse @ joint

    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        joint = np.column_stack([weights, biases + weights @ self.mean])
        packed: FloatArray = (joint @ self.root).ravel()
        return packed

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        joint = theta.reshape(self.k, self.k + 1) @ self.inverse
        return joint[:, :-1], joint[:, -1] - joint[:, :-1] @ self.mean

    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        inner = theta.reshape(self.k, self.k + 1)
        loss, slope = 0.0, np.zeros_like(inner)
        for columns in self._blocks():
            x = self.x[:, columns]
            scores = inner @ x
            loss += self._errors(scores, columns.start)
            slope += scores @ x.T
        extra, slope_w, slope_b = self.penalty.value(*self.unpack(theta))
        joint = np.column_stack([slope_w - np.outer(slope_b, self.mean), slope_b])
        return loss / self.n + extra, (slope / self.n + joint @ self.inverse.T).ravel()


class _DiagonalProblem(_Problem):
    """The diagonal of W: a two by two triangular matrix ((r, 0), (s, t)) for each class."""

    def __init__(self, features: FloatArray, labels: IntArray, penalty: Penalty) -> None:
        super().__init__(features, labels, penalty)
        spread = self.x.var(axis=1)
        floor = 1e-10 * (float(spread.mean()) or 1.0)
        h = self.curvature
        steep = spread + floor + 2 * (penalty.diagonal + penalty.bias * self.mean**2) / h
        self.r = np.sqrt(steep)
        self.s = -2 * penalty.bias * self.mean / h / self.r
        self.t = np.sqrt(np.maximum(1 + 2 * penalty.bias / h - self.s**2, 1e-10))

    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        w = np.diag(weights)
        c = biases + w * self.mean
        return np.concatenate([w * self.r + c * self.s, c * self.t])

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        w, c = self._vectors(theta)
        return np.diag(w), c - w * self.mean

    def _vectors(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        c = theta[self.k :] / self.t
        w: FloatArray = (theta[: self.k] - c * self.s) / self.r
        return w, c

    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        w, c = self._vectors(theta)
        loss, slope_w, slope_c = 0.0, np.zeros(self.k), np.zeros(self.k)
        for columns in self._blocks():
            x = self.x[:, columns]
            scores = w[:, None] * x + c[:, None]
            loss += self._errors(scores, columns.start)
            slope_w += np.einsum("kn,kn->k", scores, x)
            slope_c += scores.sum(axis=1)
        extra, pull_w, pull_b = self.penalty.value(*self.unpack(theta))
        slope_w = slope_w / self.n + np.diag(pull_w) - pull_b * self.mean
        slope_c = slope_c / self.n + pull_b
        first = slope_w / self.r
        return loss / self.n + extra, np.concatenate([first, (slope_c - first * self.s) / self.t])
