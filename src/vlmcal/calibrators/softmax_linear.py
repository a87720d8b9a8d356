"""Linear maps in front of a softmax, fitted by log-loss: the common part of vector, matrix, Dirichlet."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from vlmcal.calibrators.newton import Map, minimise
from vlmcal.calibrators.numerics import CHUNK
from vlmcal.types.arrays import FloatArray, IntArray

_MOST_OWN = 1 << 22  # numbers up to which every class has a triangular matrix of its own


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
    features: FloatArray,
    labels: IntArray,
    penalty: Penalty,
    *,
    diagonal: bool,
    start: float = 1.0,
) -> LinearMap:
    """Minimise the mean log-loss of ``softmax(x W^T + b)`` plus a penalty; convex.

    Objective and gradient are computed in float64; the curvature, which only says where to look next, in
    float32.

    Args:
        features: (N, K).
        labels: (N,).
        penalty: Pull of the weights and biases.
        diagonal: Restrict W to a diagonal matrix.
        start: The search starts from this multiple of the identity.

    Example:
        >>> x = np.array([[2.0, 0.0]] * 4)
        >>> found = fit_linear(x, np.array([0, 0, 0, 1]), Penalty(), diagonal=True)
        >>> round(found.objective, 6)               # entropy of (3/4, 1/4)
        0.562335
    """
    kind = _DiagonalProblem if diagonal else _FullProblem
    problem = kind(features, labels, penalty)
    found = minimise(problem, problem.pack(start * np.eye(problem.k), np.zeros(problem.k)))
    weights, biases = problem.unpack(found.place)
    return LinearMap(weights, biases, found.value, found.steepest, found.steps)


class _Problem(ABC):
    """The objective in coordinates (K, M) that suit the search.

    Features are centred, so scores are ``W (x - mean) + c`` with ``c = b + W mean``.
    """

    def __init__(self, features: FloatArray, labels: IntArray, penalty: Penalty) -> None:
        self.n, self.k = features.shape
        self.labels, self.penalty = labels, penalty
        self.mean = features.mean(axis=0)
        self.x = np.ascontiguousarray((features - self.mean).T)
        self.shares = np.empty((self.k, self.n), dtype=np.float32)
        self.coarse: NDArray[np.float32] | None = None

    @abstractmethod
    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        """Coordinates of W and b."""

    @abstractmethod
    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """W and b of the coordinates."""

    @abstractmethod
    def preconditioner(self) -> Map:
        """About the inverse of the second derivative at the point of the last value."""

    @abstractmethod
    def _scores(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        """Scores (K, block) of features (M, block)."""

    @abstractmethod
    def _slope(self, errors: FloatArray, x: FloatArray) -> FloatArray:
        """Derivatives of the coordinates from those of the scores."""

    @abstractmethod
    def _own(self, columns: slice) -> NDArray[np.float32]:
        """Each class's own centred feature, (K, block)."""

    @abstractmethod
    def _turned(self, slope_w: FloatArray, slope_b: FloatArray) -> FloatArray:
        """Derivatives of the coordinates from those of W and b."""

    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The objective and its gradient."""
        loss, slope = 0.0, np.zeros_like(theta)
        for columns in self._blocks():
            x = self.x[:, columns]
            scores = self._scores(theta, x)
            loss += self._errors(scores, columns)
            slope += self._slope(scores, x)
        extra, slope_w, slope_b = self.penalty.value(*self.unpack(theta))
        return loss / self.n + extra, slope / self.n + self._turned(slope_w, slope_b)

    def curvature(self, direction: FloatArray) -> FloatArray:
        """The second derivative at the point of the last value, times a direction."""
        way, total = direction.astype(np.float32), np.zeros_like(direction)
        whole = self._coarse()
        for columns in self._blocks():
            x, shares = whole[:, columns], self.shares[:, columns]
            change = self._scores(way, x)
            change *= shares
            change -= shares * change.sum(axis=0)
            total += self._slope(change, x)
        total += self.n * (self._pull(direction) - self._pull(np.zeros_like(direction)))
        total /= self.n
        return total

    def _pull(self, theta: FloatArray) -> FloatArray:
        return self._turned(*self.penalty.value(*self.unpack(theta))[1:])

    def _coarse(self) -> NDArray[np.float32]:
        if self.coarse is None:
            self.coarse = self.x.astype(np.float32)
        return self.coarse

    def _own_moments(self) -> FloatArray:
        """Means of w, w x and w x^2 over the rows, (3, K): w = p (1 - p), x the class's own feature."""
        means = np.zeros((3, self.k))
        for columns in self._blocks():
            shares, own = self.shares[:, columns], self._own(columns)
            weight = shares - shares * shares
            means[0] += weight.sum(axis=1)
            weight *= own
            means[1] += weight.sum(axis=1)
            weight *= own
            means[2] += weight.sum(axis=1)
        means /= self.n
        return means

    def _errors(self, scores: FloatArray, columns: slice) -> float:
        """Turn scores (K, block) into ``p - one_hot`` in place; their summed log-loss."""
        labels = self.labels[columns]
        at = labels, np.arange(labels.size)
        scores -= scores.max(axis=0)
        chosen = scores[at]
        np.exp(scores, out=scores)
        total = scores.sum(axis=0)
        scores /= total
        self.shares[:, columns] = scores
        scores[at] -= 1.0
        return float((np.log(total) - chosen).sum())

    def _blocks(self) -> Iterator[slice]:
        step = max(1, CHUNK // self.k)
        return (slice(start, start + step) for start in range(0, self.n, step))


class _FullProblem(_Problem):
    """All of W: the rows of (W, c) times a triangular matrix that makes the features alike and unrelated."""

    def __init__(self, features: FloatArray, labels: IntArray, penalty: Penalty) -> None:
        super().__init__(features, labels, penalty)
        joint = np.vstack([self.x, np.ones(self.n)])
        self.moments = joint @ joint.T / self.n
        pull = np.append(-self.mean, 1.0)
        # curvature of the log-loss in one score, for a row that is undecided
        undecided = (1 - 1 / self.k) / self.k
        self.common = 2 * penalty.bias * np.outer(pull, pull)
        self.common[np.diag_indices(self.k)] += 2 * penalty.off_diagonal
        shape = undecided * self.moments + self.common
        shape[np.diag_indices(self.k + 1)] += 1e-10 * np.trace(shape) / self.k
        self.root = np.linalg.cholesky(shape / undecided)
        self.inverse = solve_triangular(self.root, np.eye(self.k + 1), lower=True)
        self.x = self.inverse @ joint

    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        joint = np.column_stack([weights, biases + weights @ self.mean])
        return joint @ self.root

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        joint = theta @ self.inverse
        return joint[:, :-1], joint[:, -1] - joint[:, :-1] @ self.mean

    def preconditioner(self) -> Map:
        """Class by class, as if weights p (1 - p) of the rows changed the spread of its own feature only."""
        if self.k * (self.k + 1) ** 2 > _MOST_OWN:
            return lambda rest: rest
        weight, first, second = self._own_moments()
        moments, common = (
            self.inverse @ part @ self.inverse.T for part in (self.moments, self.common)
        )
        spread = np.maximum(np.diag(self.moments)[:-1], 1e-300)
        # all features as the own one predicts them, and the constant, in the coordinates of the search
        along = (self.moments[:, :-1] / spread).T @ self.inverse.T
        one, own = self.inverse[:, -1], self.inverse[:, :-1].T
        blocks = weight[:, None, None] * moments + common
        mixed = first[:, None, None] * along[:, :, None] * one
        blocks += mixed + mixed.transpose(0, 2, 1)
        excess = (second - weight * spread)[:, None, None]
        blocks += excess * along[:, :, None] * along[:, None, :]
        more = 2 * (self.penalty.diagonal - self.penalty.off_diagonal)
        blocks += more * own[:, :, None] * own[:, None, :]
        return _solving(blocks)

    def _scores(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        return theta @ x

    def _slope(self, errors: FloatArray, x: FloatArray) -> FloatArray:
        return errors @ x.T

    def _own(self, columns: slice) -> NDArray[np.float32]:
        return self.root[:-1].astype(np.float32) @ self._coarse()[:, columns]

    def _turned(self, slope_w: FloatArray, slope_b: FloatArray) -> FloatArray:
        joint = np.column_stack([slope_w - np.outer(slope_b, self.mean), slope_b])
        return np.asarray(joint @ self.inverse.T)


class _DiagonalProblem(_Problem):
    """The diagonal of W: the numbers (w, c) of each class."""

    def pack(self, weights: FloatArray, biases: FloatArray) -> FloatArray:
        w = np.diag(weights)
        return np.column_stack([w, biases + w * self.mean])

    def unpack(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.diag(theta[:, 0]), theta[:, 1] - theta[:, 0] * self.mean

    def preconditioner(self) -> Map:
        """Class by class, without what the classes of a row take from each other."""
        weight, first, second = self._own_moments()
        blocks = np.array([[second, first], [first, weight]]).transpose(2, 0, 1)
        diagonal, bias = self.penalty.diagonal, self.penalty.bias
        blocks[:, 0, 0] += 2 * (diagonal + bias * self.mean**2)
        blocks[:, 0, 1] -= 2 * bias * self.mean
        blocks[:, 1, 0] -= 2 * bias * self.mean
        blocks[:, 1, 1] += 2 * bias
        return _solving(blocks)

    def _scores(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        scores: FloatArray = theta[:, :1] * x
        scores += theta[:, 1:]
        return scores

    def _slope(self, errors: FloatArray, x: FloatArray) -> FloatArray:
        return np.column_stack([np.einsum("kn,kn->k", errors, x), errors.sum(axis=1)])

    def _own(self, columns: slice) -> NDArray[np.float32]:
        return self._coarse()[:, columns]

    def _turned(self, slope_w: FloatArray, slope_b: FloatArray) -> FloatArray:
        return np.column_stack([np.diag(slope_w) - slope_b * self.mean, slope_b])


def _solving(blocks: FloatArray) -> Map:
    """The map that solves with a block (M, M) for each class, drawn a little towards a multiple of one."""
    m = blocks.shape[1]
    mean = np.trace(blocks, axis1=1, axis2=2) / m
    blocks[:, np.arange(m), np.arange(m)] += (1e-8 * mean + 1e-10 * mean.max())[:, None]
    inverse = np.linalg.inv(blocks)
    return lambda rest: np.matmul(inverse, rest[:, :, None])[:, :, 0]
