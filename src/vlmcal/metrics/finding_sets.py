"""What sets of findings deliver: the share of findings they miss, and at what size."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.kit.bootstrap import RANGES, Weighted, bootstrap, with_interval
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.metrics.measured import Evaluation
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate
from vlmcal.types.finding_sets import FindingSets

DEFINITIONS: Final[Mapping[str, str]] = {
    "false_negative_rate": "Mean over rows with a finding of the share of their findings outside the set.",
    "set_size": "Mean number of findings in a set.",
    "false_per_row": "Mean number of findings in a set that are known to be absent.",
    "empty": "Share of rows with an empty set.",
    "sensitivity": "Share of the rows with the finding whose set holds it.",
    "specificity": "Share of the rows without it whose set does not hold it.",
}


def evaluate_finding_sets(
    sets: FindingSets, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Missed findings, set sizes, and (``groups``) sensitivity and specificity of each finding.

    Intervals draw rows or whole groups (BCa); those of a finding are Wilson's.

    Args:
        sets: With truths.
        level: Confidence level.
        resamples: Number of resamples; 0 for none.
        seed: Of the draws.

    Raises:
        DataError: No truth is known.

    Source: Angelopoulos et al., "Conformal risk control", arXiv 2208.02814.

    Example:
        >>> sets = FindingSets(sets=[[1, 0], [1, 1]], labels=[[1, 1], [0, 1]], names=("edema", "mass"))
        >>> found = evaluate_finding_sets(sets, resamples=0)
        >>> found["false_negative_rate"].value, found["set_size"].value, found["false_per_row"].value
        (0.25, 1.5, 0.5)
    """
    if not sets.labelled:
        raise DataError("no truth is known, so nothing can be measured")
    present, absent = sets.labels == 1, sets.labels == 0
    count = present.sum(axis=1)
    some = count > 0
    missed = (present & ~sets.sets).sum(axis=1) / np.maximum(count, 1)
    size = sets.sets.sum(axis=1)
    values = {
        "false_negative_rate": (missed, some),
        "set_size": (size, np.ones(len(sets), np.bool_)),
        "false_per_row": ((absent & sets.sets).sum(axis=1), (absent | present).any(axis=1)),
        "empty": (size == 0, np.ones(len(sets), np.bool_)),
    }
    means = {
        name: _mean(array.astype(np.float64), keep)
        for name, (array, keep) in values.items()
        if keep.any()
    }
    estimates = {
        name: Estimate(mean(np.ones(len(sets))), n=int(values[name][1].sum()))
        for name, mean in means.items()
    }
    if resamples > 0 and len(sets) > 1:
        drawn = bootstrap(
            means,
            len(sets),
            groups=sets.groups,
            resamples=resamples,
            generator=numpy_generator(seed, "bootstrap", "finding-sets"),
        )
        for name, resampled in drawn.items():
            estimates[name] = with_interval(
                estimates[name], resampled, level, RANGES.get(name, (0.0, np.inf))
            )
    return Evaluation(
        estimates=estimates,
        definitions=dict(DEFINITIONS),
        n=len(sets),
        level=level,
        groups={name: _finding(sets, at, level) for at, name in enumerate(sets.names)},
    )


def _mean(values: FloatArray, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Weighted:
    def mean(weights: FloatArray) -> float:
        total = float(weights[keep].sum())
        return float(weights[keep] @ values[keep]) / total if total > 0 else float("nan")

    return mean


def _finding(sets: FindingSets, at: int, level: float) -> dict[str, Estimate]:
    found = {}
    for name, truth in (("sensitivity", 1.0), ("specificity", 0.0)):
        keep = sets.labels[:, at] == truth
        if not keep.any():
            found[name] = Estimate(float("nan"), n=0)
            continue
        hits = sets.sets[keep, at] == bool(truth)
        groups = None if sets.groups is None else sets.groups[keep]
        found[name] = infer_proportion(hits, level=level, groups=groups)
    return found
