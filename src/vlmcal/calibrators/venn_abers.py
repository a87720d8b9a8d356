"""Venn-Abers prediction: isotonic regression twice, once per possible outcome of the new row."""

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, cells, places
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.predictions import Predictions

Point = tuple[float, float]
_LONG = 12  # groups from which on a run is worth a pass of its own


@CALIBRATORS.register("venn_abers")
class VennAbers(ScalarCalibrator):
    """Inductive Venn-Abers: ``p' = p1 / (1 - p0 + p1)`` for each class, rows normalised.

    p0 (p1) is what isotonic regression gives the new row when it is added to the fitting rows with outcome
    0 (1). One of the two is perfectly calibrated under exchangeability; their distance
    (:meth:`intervals`) shows how little the fitting rows say. Fitting is O(n log n), a new row O(log n).

    Source: Vovk, Petej and Fedorova, Large-scale probabilistic predictors with and without guarantees of
    validity, NeurIPS 2015, arXiv 1511.00213; one-vs-rest as in Manokhin, COPA 2017.

    Example:
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> test = Predictions(logits=[[0.0, 1.0]], labels=[1], ids=["new"])
        >>> low, high = VennAbers().fit(val).intervals(test)
        >>> low[0, 1].round(3), high[0, 1].round(3)   # 3 of 4, plus one row: 3/5 and 4/5
        (np.float64(0.6), np.float64(0.8))
    """

    def intervals(self, predictions: Predictions) -> tuple[FloatArray, FloatArray]:
        """p0 and p1 of every row and class, each (N, K), not normalised."""
        inputs = self._inputs(predictions)
        low, high = inputs.copy(), inputs.copy()
        for column, curve in enumerate(self.curves_):
            if curve:
                low[:, column], high[:, column] = _pair(curve, inputs[:, column])
        if inputs.shape[1] == 1:
            return np.hstack([1 - high, low]), np.hstack([1 - low, high])
        return low, high

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        unique, count, hits = cells(scores, outcomes)
        high = _with_one_added(count, hits)
        # Adding a 0 is adding a 1 after turning scores and outcomes round.
        misses: FloatArray = count - hits
        low = 1.0 - _with_one_added(count[::-1], misses[::-1])[::-1]
        return {**_steps("low", unique, low), **_steps("high", unique, high)}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        low, high = _pair(curve, scores)
        result: FloatArray = high / (1.0 - low + high)
        return result


def _with_one_added(count: FloatArray, hits: FloatArray) -> FloatArray:
    """Isotonic value of an extra row with outcome 1 inserted before group i, for i = 0 .. G: (G + 1,).

    The value is the slope of the lower convex hull of the cumulative sums at the inserted step (1, 1).
    Moving the insertion one group to the right swaps two steps of the diagram, which moves a single point;
    the part of the hull that lies ahead is kept on a stack, so the whole pass is linear. Past groups of hits
    alone the value stays what it is, and past a run of groups without a hit the point slides on a level: such
    runs, which are nearly all groups where classes are many, are passed at once.
    """
    x = np.concatenate([[0.0], np.cumsum(count)])
    y = np.concatenate([[0.0], np.cumsum(hits)])
    slopes = hits / count
    # Only points at which the steps grow steeper can be corners of a lower hull.
    corners = [0, *(np.flatnonzero(slopes[:-1] < slopes[1:]) + 1).tolist(), len(count)]
    stack: list[Point] = []
    for i in reversed(corners):
        _push(stack, (float(x[i]), float(y[i])))
    _push(stack, (-1.0, -1.0))
    values = np.empty(len(count) + 1)
    kind = np.where(hits == 0, 0, np.where(hits == count, 1, 2))
    starts = np.flatnonzero(np.concatenate([[True], (kind[1:] != kind[:-1]) | (kind[1:] == 2)]))
    ends = np.append(starts[1:], len(kind)).tolist()
    for start, end, what in zip(starts.tolist(), ends, kind[starts].tolist(), strict=True):
        if what == 1:
            values[start:end] = _slope(stack)
        elif what == 0 and end - start >= _LONG:
            _slide(stack, x[start + 1 : end + 1] - 1.0, float(y[start]) - 1.0, values[start:end])
        else:
            for i in range(start, end):
                values[i] = _slope(stack)
                _move(stack, (float(x[i + 1]) - 1.0, float(y[i + 1]) - 1.0))
    values[-1] = _slope(stack)
    return values


def _slope(stack: list[Point]) -> float:
    (ax, ay), (bx, by) = stack[-1], stack[-2]
    return (by - ay) / (bx - ax)


def _move(stack: list[Point], moved: Point) -> None:
    """Take in the point that moved, if it lies below the edge that the insertion is on."""
    (ax, ay), (bx, by) = stack[-1], stack[-2]
    if (moved[1] - ay) * (bx - ax) < (by - ay) * (moved[0] - ax):
        stack.pop()
        _push(stack, moved)


def _slide(stack: list[Point], xs: FloatArray, y: float, values: FloatArray) -> None:
    """:func:`_move` to each of the points (xs, y) in turn, with the slope before each move, (M,)."""
    (ax, ay), (bx, by) = stack[-1], stack[-2]
    values[:] = (by - ay) / (bx - ax)
    below = (y - ay) * (bx - ax) < (by - ay) * (xs - ax)
    at = int(below.argmax())
    if not below[at]:
        return
    stack.pop()
    after = values[1:]  # the slope after a move is the one before the next
    while len(stack) > 1:
        (ax, ay), (bx, by) = stack[-1], stack[-2]
        passed = (ay - y) * (bx - xs[at:]) >= (by - y) * (ax - xs[at:])
        end = at + int(passed.argmax()) if passed.any() else len(xs)
        after[at:end] = ((ay - y) / (ax - xs[at:end]))[: max(len(after) - at, 0)]
        at = end
        if at == len(xs):
            break
        stack.pop()
    if at < len(xs):
        ax, ay = stack[-1]
        after[at:] = ((ay - y) / (ax - xs[at:]))[: max(len(after) - at, 0)]
    stack.append((float(xs[-1]), y))


def _push(stack: list[Point], point: Point) -> None:
    """Add a point on the left of a lower hull that is stored from right to left."""
    px, py = point
    while len(stack) > 1:
        (ax, ay), (bx, by) = stack[-1], stack[-2]
        if (ay - py) * (bx - px) < (by - py) * (ax - px):
            break
        stack.pop()
    stack.append(point)


def _steps(name: str, unique: FloatArray, values: FloatArray) -> Curve:
    """The step function without its repeated values: fewer numbers to keep, the same result."""
    change = np.flatnonzero(np.diff(values) != 0)
    return {f"{name}_at": unique[change], f"{name}_is": values[np.append(change, len(values) - 1)]}


def _pair(curve: Curve, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    low = curve["low_is"][places(curve["low_at"], scores, "right")]
    high = curve["high_is"][places(curve["high_at"], scores, "left")]
    return low, high
