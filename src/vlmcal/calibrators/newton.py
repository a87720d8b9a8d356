"""Newton's method for smooth convex functions of many numbers, its steps found by conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from vlmcal.types.arrays import FloatArray

Map = Callable[[FloatArray], FloatArray]
_FINISHED = 1e-7  # largest derivative at which the search ends
_STEPS = 200
_INNER = 200
_SHORTEST = 1e-10
_SLOW = 12  # products for one step from which on the next deserves a preconditioner of its own
_ROUNDING = 1e-14  # relative: what two values of the function may differ by for nothing


class Convex(Protocol):
    """What is minimised; ``preconditioner`` and ``curvature`` are those of the point of the last value."""

    def value(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The function and its gradient."""
        ...

    def preconditioner(self) -> Map:
        """About the inverse of the second derivative, as a map."""
        ...

    def curvature(self, direction: FloatArray) -> FloatArray:
        """The second derivative times a direction; single precision is enough."""
        ...


class Minimum(NamedTuple):
    """Where the search ended: the point, the value, the largest derivative there and the number of steps."""

    place: FloatArray
    value: float
    steepest: float
    steps: int


def minimise(function: Convex, start: FloatArray) -> Minimum:
    """The minimum of a convex function, searched from ``start``.

    A step solves ``H d = -g`` the more closely the smaller the gradient g is, so that correct digits double
    towards the end; it is halved until the value falls by enough.

    Source: Nocedal and Wright, Numerical Optimization, section 7.1 (line-search Newton-CG).

    Example:
        >>> class Bowl:
        ...     def value(self, x): return float((x**2).sum()), 2 * x
        ...     def preconditioner(self): return lambda r: r
        ...     def curvature(self, d): return 2 * d
        >>> minimise(Bowl(), np.array([3.0, 4.0])).place.tolist()
        [0.0, 0.0]
    """
    place = start
    value, gradient = function.value(place)
    improve, products = function.preconditioner(), 0
    for steps in range(_STEPS):
        steepest = float(np.abs(gradient).max())
        if steepest <= _FINISHED:
            break
        if products > _SLOW:
            improve = function.preconditioner()
        step, products = _newton_step(function, gradient, improve)
        fall = float((gradient * step).sum())
        size = 1.0
        while True:
            new = place + size * step
            there, slope = function.value(new)
            if there <= value + 1e-4 * size * fall + _ROUNDING * abs(value):
                break
            size /= 2
            if size < _SHORTEST:
                return Minimum(place, value, steepest, steps)
        if there >= value and np.abs(slope).max() >= steepest:
            break
        place, value, gradient = new, there, slope
    return Minimum(place, value, float(np.abs(gradient).max()), steps)


def _newton_step(function: Convex, gradient: FloatArray, improve: Map) -> tuple[FloatArray, int]:
    """The step, and how many products with the curvature it took."""
    steepest = float(np.abs(gradient).max())
    # Close enough for the last step, and no closer; 0.1 of the way is little where the search is far off.
    share = max(min(0.1, np.sqrt(steepest)), _FINISHED / 4 / steepest)
    step, rest = np.zeros_like(gradient), -gradient
    better = improve(rest)
    way, size = better, float((rest * better).sum())
    enough, products = share**2 * size, 0
    for _ in range(_INNER):
        products += 1
        bent = function.curvature(way)
        curve = float((way * bent).sum())
        if not curve > 0:
            break
        step = step + size / curve * way
        rest = rest - size / curve * bent
        better = improve(rest)
        left = float((rest * better).sum())
        if not left > enough:
            break
        way, size = better + left / size * way, left
    return (step if step.any() else better), products
