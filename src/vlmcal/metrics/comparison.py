"""Is one model better calibrated than another on the same rows? Paired difference with a p-value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import METRICS, Linearised, Metric, Weighted
from vlmcal.metrics.kit.binned import check_choice, linearised, top_label
from vlmcal.metrics.kit.bootstrap import bootstrap, unit_index
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.kit.pairs import PairedResiduals, pair_sum
from vlmcal.metrics.kit.proportions import critical_value, mean_variance, survival
from vlmcal.metrics.presets import with_options
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray, IntArray, Numbers
from vlmcal.types.binning import Binning
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.measurable import Scores, from_arrays
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
        p_value: Two-sided p-value of ``null``.
        test: How the p-value was made.
        better: "first", "second" or "" where the metric has no better direction or they are equal.
        null: What the p-value speaks against: "no difference in calibration" for calibration errors, "no
            difference in the metric" for the others, "the models are interchangeable" for the swap test.
        squared: Difference of the two debiased squared calibration errors, to which the p-value of a
            calibration error belongs; None otherwise.
    """

    metric: str
    first: float
    second: float
    difference: Estimate
    p_value: float
    test: str
    better: str
    null: str = "no difference in the metric"
    squared: Estimate | None = None

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """Both values, their difference and the p-value."""
        values = (f"{self.first:.4f}", f"{self.second:.4f}", str(self.difference))
        head = ("metric", "first", "second", "difference", "p")
        return "Comparison: two models on the same rows", [
            head,
            (self.metric, *values, f"{self.p_value:.4f}"),
        ]


def compare(
    first: Predictions | Confidences | Numbers,
    second: Predictions | Confidences | Numbers,
    metric: str = "ece",
    *,
    labels: Numbers | None = None,
    scores: Scores | None = None,
    groups: Any = None,
    test: Literal["calibration", "swap"] = "calibration",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Paired difference first - second of a metric, with interval and p-value.

    Rows are matched by id. Smooth metrics are bootstrapped in pairs (test on the bootstrap standard error).
    For calibration errors the null hypothesis is "no difference in calibration": the difference of the two
    debiased squared errors is tested, which is 0 on average for two calibrated models however much sharper
    one of them is. The interval of the difference itself allows for the largest bias that either value can
    have, and has 0 inside only when the test does not reject. ``test="swap"`` swaps the two models row by row
    (group by group) instead, which asks whether it matters at all which model answered.

    Args:
        first: One model's rows: Predictions, Confidences, or an array with ``labels`` and ``scores``.
        second: The other's, with the same ids and the same labels.
        metric: Name of the metric.
        labels: (N,) labels of plain arrays, which may come as in :func:`vlmcal.evaluate`.
        scores: What plain arrays hold.
        groups: (N,) patient, slide or image of each row of plain arrays.
        test: "calibration", or "swap" for the randomisation test.
        level: Confidence level.
        resamples: Bootstrap resamples or random swaps.
        seed: Seed of the draws.
        options: Options of the metric.

    Raises:
        DataError: The ids or the labels differ.
        SpecError: Unknown metric, option or test.

    Source: Kumar, Liang and Ma, NeurIPS 2019, arXiv 1909.10155; Sun et al., arXiv 2408.08998.

    Example:
        >>> a = Confidences(confidence=[0.9, 0.8, 0.7, 0.6], correct=[1, 1, 0, 1])
        >>> b = Confidences(confidence=[0.9, 0.9, 0.9, 0.9], correct=[1, 1, 0, 1])
        >>> result = compare(a, b, "top_label_brier", resamples=200)
        >>> round(result.difference.value, 4), result.better
        (-0.035, 'first')
    """
    check_choice("test", test, ("calibration", "swap"))
    (name,), listed = with_options([metric], {} if options is None else {metric: options})
    entry = METRICS.get(name)
    given = entry.check_options(listed.get(entry.name, {}))
    pair: list[Any] = [first, second]
    if labels is not None:
        pair = [from_arrays(rows, labels, scores, groups=groups) for rows in pair]
    left, right = Rows.of(pair[0]), Rows.of(_aligned(*pair))
    a, b = (entry.arguments(rows, given) for rows in (left, right))
    values = [float(entry.function(*args, **keywords)) for args, keywords in (a, b)]
    generator = numpy_generator(seed, "compare", name)
    if test != "swap" and entry.calibration:
        return _by_calibration(entry, a, b, values, left, right, level)
    if test != "swap" and entry.resample is not None:
        one, two = (entry.resample(*args, **keywords) for args, keywords in (a, b))
        return _by_bootstrap(entry, one, two, values, left, level, resamples, generator)
    estimate = Estimate(values[0] - values[1], n=left.n)
    p = _swap_test(entry, a, b, values, left, resamples, generator)
    how = "randomisation by swapping models"
    return _result(entry, values, estimate, p, how, "the models are interchangeable")


def _by_bootstrap(
    entry: Metric,
    one: Weighted,
    two: Weighted,
    values: list[float],
    rows: Rows,
    level: float,
    resamples: int,
    generator: np.random.Generator,
) -> Comparison:
    """Paired bootstrap of a smooth metric; few groups are judged by Student's t."""
    drawn = bootstrap(
        {"difference": lambda weights: one(weights) - two(weights)},
        rows.n,
        groups=rows.groups,
        resamples=resamples,
        generator=generator,
    )["difference"]
    gap = values[0] - values[1]
    error = drawn.error
    p = 2 * survival(abs(gap) / error, drawn.groups) if error > 0 else float(gap == 0)
    low, high = drawn.interval(level) or (None, None)
    if low is not None and high is not None:
        low, high = _agreeing(low, high, gap, p, level)
    estimate = Estimate(gap, low, high, n=rows.n, method=f"paired {drawn.method}")
    return _result(entry, values, estimate, p, "paired bootstrap")


def _by_calibration(
    entry: Metric, a: Any, b: Any, values: list[float], left: Rows, right: Rows, level: float
) -> Comparison:
    """Two calibration errors, judged by the difference of the debiased squared errors of the same cells."""
    if entry.linearise is not None:
        one, two = (entry.linearise(*args, **keywords) for args, keywords in (a, b))
    else:
        one, two = (_top_label_cells(rows, entry.name) for rows in (left, right))
    signed = [
        (PairedResiduals.of(model.residuals, model.count, left.groups), sign)
        for model, sign in ((one, 1.0), (two, -1.0))
    ]
    found = pair_sum(signed, left.n)
    gap = values[0] - values[1]
    low = high = None
    if one.rows is not None and two.rows is not None:
        error = float(np.sqrt(mean_variance(one.rows - two.rows, left.groups)))
        reach = critical_value(level, found.units) * error
        low, high = _agreeing(
            gap - one.bias - reach, gap + two.bias + reach, gap, found.p_value, level
        )
    estimate = Estimate(
        gap, low, high, n=left.n, method="" if low is None else "paired, bias bounded"
    )
    return _result(
        entry,
        values,
        estimate,
        found.p_value,
        "paired difference of debiased squared errors",
        "no difference in calibration",
        Estimate(found.value, *found.interval(level), n=left.n, method="U-statistic"),
    )


def _top_label_cells(rows: Rows, metric: str) -> Linearised:
    """Residuals on equal-mass bins of the confidence, for calibration errors without cells of their own."""
    confidence, correct = (rows.take(name, metric) for name in ("confidence", "correct"))
    return linearised(top_label(confidence, correct, binning=Binning(strategy="quantile")))


def _agreeing(low: float, high: float, gap: float, p: float, level: float) -> tuple[float, float]:
    """The interval, widened to 0 where the test does not reject at 1 - level, and cut there where it does."""
    if p >= 1 - level:
        return min(low, 0.0), max(high, 0.0)
    if low < 0 < high:
        return (low, 0.0) if gap < 0 else (0.0, high)
    return low, high


def _result(
    entry: Metric,
    values: list[float],
    estimate: Estimate,
    p_value: float,
    test: str,
    null: str = "no difference in the metric",
    squared: Estimate | None = None,
) -> Comparison:
    better = ""
    if entry.higher_is_better is not None and values[0] != values[1]:
        better = "first" if (values[0] > values[1]) == entry.higher_is_better else "second"
    return Comparison(
        entry.name, values[0], values[1], estimate, p_value, test, better, null, squared
    )


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
