"""Several metrics on the same rows, each with the interval that suits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import Metric, Weighted
from vlmcal.metrics.kit.bootstrap import FEWEST_ERRORS, Analytic, analytic, bootstrap, with_interval
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.kit.proportions import too_few_groups
from vlmcal.metrics.weighting import weighted_value
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.estimate import Asked, Estimate

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Kit:
    """How all metrics of a call are measured.

    Attributes:
        level: Confidence level of the intervals.
        resamples: Of the bootstrap.
        seed: Of every draw.
        intervals: Whether there are any.
        options: Of the metrics, by name.
        weights: (N,) of the rows, or None.
    """

    level: float
    resamples: int
    seed: int
    intervals: bool
    options: Options
    weights: FloatArray | None = None

    def part(self, inside: BoolArray) -> "Kit":
        """The same for some of the rows."""
        if self.weights is None:
            return self
        if not self.weights[inside].any():
            raise DataError("weights: all rows of a subgroup have weight 0; leave it out")
        return replace(self, weights=self.weights[inside])


def measure(
    rows: Rows, chosen: Sequence[Metric], kit: Kit, notes: list[str]
) -> dict[str, Estimate]:
    """Every metric on the same rows, with the interval of its own, of large samples or of a shared bootstrap.

    Args:
        rows: What is measured.
        chosen: Metrics that apply to them.
        kit: How.
        notes: Takes what the reader should know.
    """
    estimates: dict[str, Estimate] = {}
    smooth: dict[str, Weighted] = {}
    large: dict[str, Analytic] = {}
    bounds = {entry.name: entry.bounds for entry in chosen}
    intervals = kit.intervals and not one_group(rows)
    for entry in chosen:
        args, keywords = entry.arguments(rows, kit.options.get(entry.name, {}))
        if kit.weights is not None:
            estimates[entry.name], smooth[entry.name] = weighted_value(
                entry, args, keywords, kit.weights
            )
            continue
        if intervals and entry.infer is not None:
            generator = numpy_generator(kit.seed, "interval", entry.name)
            asked = Asked(kit.level, rows.groups, generator)
            estimates[entry.name] = entry.infer(*args, **keywords, asked=asked)
            continue
        made = entry.resample(*args, **keywords) if intervals and entry.resample else None
        known = None if made is None else analytic(made, rows.groups)
        if known is not None:
            estimates[entry.name] = Estimate(known.value, n=rows.n)
            large[entry.name] = known
            continue
        estimates[entry.name] = Estimate(float(entry.function(*args, **keywords)), n=rows.n)
        if made is not None:
            smooth[entry.name] = made
    if kit.weights is not None:  # a resample inflates binned errors, so they get no interval
        smooth = {m.name: smooth[m.name] for m in chosen if intervals and m.resample is not None}
    scarce = _scarce(rows) if smooth or large else ""
    if scarce:
        notes.append(f"{scarce}: no interval for {', '.join([*smooth, *large])}.")
        smooth, large = {}, {}
    for name, known in large.items():
        estimates[name] = with_interval(estimates[name], known, kit.level, bounds[name])
    if smooth and rows.n > 1:
        drawn = bootstrap(
            smooth,
            rows.n,
            groups=rows.groups,
            resamples=kit.resamples,
            generator=numpy_generator(kit.seed, "bootstrap"),
        )
        for name, resampled in drawn.items():
            estimates[name] = with_interval(estimates[name], resampled, kit.level, bounds[name])
    if intervals:
        notes += [
            f"{entry.name} has no interval on these rows ({entry.interval})."
            for entry in chosen
            if entry.infer is not None
            and estimates[entry.name].low is None
            and not entry.interval.startswith("none")
        ]
    return {entry.name: estimates[entry.name] for entry in chosen}


def _scarce(rows: Rows) -> str:
    """Why resampled scores have no interval here; empty where they have one.

    With hardly any wrong (or right) rows a resample repeats the few that happened to occur, and the interval
    covers far less than it says.
    """
    told = "" if rows.groups is None else too_few_groups(rows.groups)
    if told:
        return told[0].upper() + told[1:]
    if not rows.has("correct"):
        return ""
    correct = rows.take("correct", "evaluate")
    unit = "rows" if rows.groups is None else "groups"
    for word, some in (("wrong", ~correct), ("right", correct)):
        count = int(some.sum()) if rows.groups is None else len(np.unique(rows.groups[some]))
        if count < FEWEST_ERRORS:
            held = "are" if rows.groups is None else "hold rows that are"
            return f"Only {count} {unit} {held} {word} (at least {FEWEST_ERRORS} are needed)"
    return ""


def one_group(rows: Rows) -> bool:
    """Whether all rows belong to one group, from which nothing can be said about chance."""
    return rows.groups is not None and len(np.unique(rows.groups)) < 2
