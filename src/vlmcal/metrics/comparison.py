"""Is one model better calibrated than another on the same rows? Paired difference with a p-value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from vlmcal.errors import DataError
from vlmcal.metrics.base import METRICS, Linearised, Metric
from vlmcal.metrics.kit.bootstrap import bootstrap, unit_index
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities
from vlmcal.types.shown import Shown

# Elements that a randomisation test may touch before its number of swaps is reduced.
_BUDGET = 2_000_000_000


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Difference of two models on the same rows.

    Attributes:
        metric: Name of the metric.
        first: Value of the first model.
        second: Value of the second model.
        difference: first - second, with its interval where one is known.
        p_value: Two-sided p-value of "no difference".
        test: How the p-value was made.
        better: "first", "second" or "" where the metric has no better direction or they are equal.
    """

    metric: str
    first: float
    second: float
    difference: Estimate
    p_value: float
    test: str
    better: str

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """Both values, their difference and the p-value."""
        values = (f"{self.first:.4f}", f"{self.second:.4f}", str(self.difference))
        head = ("metric", "first", "second", "difference", "p")
        return "Comparison: two models on the same rows", [
            head,
            (self.metric, *values, f"{self.p_value:.4f}"),
        ]


def compare(
    first: Predictions | Confidences,
    second: Predictions | Confidences,
    metric: str = "ece",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Paired difference first - second of a metric, with interval and p-value.

    Rows are matched by id. Smooth metrics are bootstrapped in pairs (normal test on the bootstrap standard
    error). For binned errors the p-value comes from a randomisation test that swaps the two models row by
    row (group by group), which is exact when it does not matter which model answered, and the interval
    allows for the largest bias that either value can have.

    Args:
        first: One model's rows.
        second: The other's, with the same ids and the same labels.
        metric: Name of the metric.
        level: Confidence level.
        resamples: Bootstrap resamples or random swaps.
        seed: Seed of the draws.
        options: Options of the metric.

    Raises:
        DataError: The ids or the labels differ.

    Example:
        >>> a = Confidences(confidence=[0.9, 0.8, 0.7, 0.6], correct=[1, 1, 0, 1])
        >>> b = Confidences(confidence=[0.9, 0.9, 0.9, 0.9], correct=[1, 1, 0, 1])
        >>> result = compare(a, b, "top_label_brier", resamples=200)
        >>> round(result.difference.value, 4), result.better
        (-0.035, 'first')
    """
    entry = METRICS.get(metric)
    given = dict(options or {})
    entry.check_options(given)
    left, right = Rows.of(first), Rows.of(_aligned(first, second))
    a, b = (_call(entry, rows, given) for rows in (left, right))
    values = [float(entry.function(*args, **keywords)) for args, keywords in (a, b)]
    generator = numpy_generator(seed, "compare", metric)
    n, groups = left.n, left.groups
    if entry.resample is not None:
        one, two = (entry.resample(*args, **keywords) for args, keywords in (a, b))
        drawn = bootstrap(
            {"difference": lambda weights: one(weights) - two(weights)},
            n,
            groups=groups,
            resamples=resamples,
            generator=generator,
        )["difference"]
        low, high = drawn.interval(level) or (None, None)
        error = float(np.nanstd(drawn.draws, ddof=1))
        gap = values[0] - values[1]
        p = 1.0 if error == 0 else float(2 * ndtr(-abs(gap) / error))
        p = 0.0 if error == 0 and gap != 0 else p
        estimate = Estimate(gap, low, high, n=n, method=f"paired {drawn.method}")
        return _result(entry, values, estimate, p, "paired bootstrap, normal")
    estimate = _bounded(entry, a, b, values, level, left)
    p = _swap_test(entry, a, b, values, left, resamples, generator)
    return _result(entry, values, estimate, p, "randomisation by swapping models")


def _result(
    entry: Metric, values: list[float], estimate: Estimate, p_value: float, test: str
) -> Comparison:
    better = ""
    if entry.higher_is_better is not None and values[0] != values[1]:
        better = "first" if (values[0] > values[1]) == entry.higher_is_better else "second"
    return Comparison(entry.name, values[0], values[1], estimate, p_value, test, better)


def _aligned(first: Any, second: Any) -> Any:
    if type(first) is not type(second):
        raise DataError(
            f"compare: expected two of one kind, got {type(first).__name__} and {type(second).__name__}"
        )
    order = np.argsort(second.ids)
    slots = np.minimum(np.searchsorted(second.ids[order], first.ids), len(second) - 1)
    rows = order[slots]
    if len(first) != len(second) or not np.array_equal(second.ids[rows], first.ids):
        missing = np.setdiff1d(first.ids, second.ids)
        raise DataError(
            f"compare: the two have different rows ({len(first)} and {len(second)}; "
            f"{len(missing)} ids of the first are missing in the second"
            + (f", first {missing[0]!r}" if len(missing) else "")
            + "); keep the rows they share"
        )
    matched = second.subset(rows)
    if isinstance(first, Predictions) and not np.array_equal(first.labels, matched.labels):
        raise DataError("compare: the labels of the two differ for the same ids")
    return matched


def _call(entry: Metric, rows: Rows, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    args, carried = entry.arguments(rows, given)
    return args, {**carried, **given}


def _bounded(
    entry: Metric, a: Any, b: Any, values: list[float], level: float, rows: Rows
) -> Estimate:
    gap = values[0] - values[1]
    if entry.linearise is None:
        return Estimate(gap, n=rows.n)
    one, two = (entry.linearise(*args, **keywords) for args, keywords in (a, b))
    error = _standard_error(one, two, rows)
    reach = float(ndtri((1 + level) / 2)) * error
    return Estimate(
        gap, gap - one.bias - reach, gap + two.bias + reach, n=rows.n, method="paired, bias bounded"
    )


def _standard_error(one: Linearised, two: Linearised, rows: Rows) -> float:
    difference = one.rows - two.rows
    units, count = unit_index(rows.n, rows.groups)
    centred = difference - difference.mean()
    sums = centred if units is None else np.bincount(units, centred, minlength=count)
    return float(np.sqrt(sums @ sums * count / max(count - 1, 1)) / rows.n)


def _swap_test(
    entry: Metric,
    a: Any,
    b: Any,
    values: list[float],
    rows: Rows,
    resamples: int,
    generator: np.random.Generator,
) -> float:
    first, second = ([_dense(value) for value in args] for args, _ in (a, b))
    size = max(np.asarray(value).size for value in first)
    swaps = int(min(resamples, max(99, _BUDGET // size)))
    units, count = unit_index(rows.n, rows.groups)
    observed = abs(values[0] - values[1])
    as_large = 1
    for _ in range(swaps):
        swap = generator.random(count) < 0.5
        swap = swap if units is None else swap[units]
        mixed = [
            [_mix(x, y, swap) for x, y in zip(one, two, strict=True)]
            for one, two in ((first, second), (second, first))
        ]
        gap = entry.function(*mixed[0], **a[1]) - entry.function(*mixed[1], **b[1])
        as_large += abs(gap) >= observed - 1e-15
    return as_large / (swaps + 1)


def _dense(value: Any) -> Any:
    return value.dense() if isinstance(value, ClassProbabilities) else value


def _mix(one: FloatArray | IntArray, two: FloatArray | IntArray, swap: Any) -> Any:
    return np.where(swap[:, None] if np.ndim(one) == 2 else swap, two, one)
