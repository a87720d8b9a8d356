"""Is the best of several methods on one data set better than the others, or only luckier?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.across_sets import holm
from vlmcal.metrics.base import METRICS
from vlmcal.metrics.comparison import Comparison, compare
from vlmcal.types.confidences import Confidences


@dataclass(frozen=True)
class AgainstBest:
    """One method beside the best one on the same rows.

    Attributes:
        method, best: Names.
        comparison: method - best, with interval and p-value; None where the two were measured on other rows.
        p_value: That p-value, corrected by Holm for all methods that stand beside the same best one.
        level: 1 - significance level.
    """

    method: str
    best: str
    comparison: Comparison | None = None
    p_value: float = 1.0
    level: float = 0.95

    @property
    def verdict(self) -> str:
        """In words."""
        if self.comparison is None:
            return "other rows"
        if self.p_value > 1 - self.level:
            return "not distinguishable"
        return "worse" if self.comparison.better == "second" else "better"


def against_best(
    methods: Mapping[str, Sequence[Confidences]],
    metric: str = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 1000,
) -> list[AgainstBest]:
    """Every method beside the best one, paired by row, all seeds together.

    The rows of a method's seeds are pooled and the test rows are what is resampled, so a row counts with all
    its seeds or not at all. The interval is that of another draw of test rows, for these trainings; how far
    another training would differ is what the spread over seeds tells.

    Args:
        methods: Name -> (S,) rows of each seed, all with the same ids; S may differ between methods.
        metric: Name of a metric of confidences.
        level: 1 - significance level.
        resamples: Paired bootstrap resamples.

    Returns:
        One entry for each method but the best, in the order given.

    Raises:
        DataError: Fewer than two methods, one without rows, or seeds of one method with different rows.
        SpecError: No such metric.

    Example:
        >>> right = Confidences(confidence=[0.9] * 40, correct=[True] * 36 + [False] * 4)
        >>> wrong = Confidences(confidence=[0.9] * 40, correct=[True] * 20 + [False] * 20)
        >>> (found,) = against_best({"plain": [wrong], "tuned": [right]})
        >>> found.best, found.method, round(found.comparison.difference.value, 2), found.verdict
        ('tuned', 'plain', -0.4, 'worse')
    """
    if len(methods) < 2:
        raise DataError(f"expected at least two methods to set side by side, got {list(methods)}")
    entry = METRICS.get(metric)
    ids, values = {}, {}
    for name, seeds in methods.items():
        if not seeds:
            raise DataError(f'method "{name}" has no rows')
        if not same_rows(seeds):
            raise DataError(f'the seeds of method "{name}" were measured on different rows')
        ids[name] = np.sort(seeds[0].ids)
        values[name] = np.mean([float(_value(entry.name, rows)) for rows in seeds])
    sign = -1.0 if entry.higher_is_better else 1.0
    best = min(values, key=lambda name: sign * values[name])
    copies = int(np.lcm.reduce([len(seeds) for seeds in methods.values()]))
    reference = _pooled(methods[best], copies)
    found: dict[str, Comparison | None] = {}
    for name, seeds in methods.items():
        if name == best:
            continue
        found[name] = None
        if np.array_equal(ids[name], ids[best]):
            pooled = _pooled(seeds, copies)
            found[name] = compare(pooled, reference, metric, level=level, resamples=resamples)
    compared = {name: each.p_value for name, each in found.items() if each is not None}
    corrected = dict(zip(compared, holm(list(compared.values())), strict=True))
    return [
        AgainstBest(name, best, each, corrected.get(name, 1.0), level)
        for name, each in found.items()
    ]


def same_rows(seeds: Sequence[Confidences]) -> bool:
    """Whether all seeds of a method were measured on the same rows, in whatever order."""
    first = np.sort(seeds[0].ids)
    return all(np.array_equal(np.sort(rows.ids), first) for rows in seeds[1:])


def _value(metric: str, rows: Confidences) -> float:
    from vlmcal.metrics.evaluation import evaluate

    return evaluate(rows, [metric], intervals=False)[metric].value


def _pooled(seeds: Sequence[Confidences], copies: int) -> Confidences:
    """All seeds as one, each repeated to ``copies`` in all, so that methods pair whatever their seeds."""
    first = seeds[0]
    order = np.argsort(first.ids, kind="stable")
    units = first.units[order]
    parts = []
    for rows in seeds:
        at = np.argsort(rows.ids, kind="stable")
        parts.append((rows.confidence[at], rows.correct[at]))
    parts = [part for part in parts for _ in range(copies // len(seeds))]
    numbers = [np.char.add(f"{n}/", first.ids[order].astype(str)) for n in range(copies)]
    return Confidences(
        confidence=np.concatenate([confidence for confidence, _ in parts]),
        correct=np.concatenate([correct for _, correct in parts]),
        ids=np.concatenate(numbers),
        groups=np.tile(units, copies),
        resolution=max(rows.resolution for rows in seeds),
    )
