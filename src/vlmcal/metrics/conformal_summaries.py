"""What label sets deliver: how often they hold the label, how large they are, and for whom they fail."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import mean_metric, metric
from vlmcal.metrics.kit.cell_residuals import judged, null_p_value
from vlmcal.metrics.kit.proportions import clopper_pearson, design_effect
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, as_array, as_labels
from vlmcal.types.estimate import Asked, Estimate

_DRAWS = 400
_REFERENCE = "Angelopoulos and Bates, arXiv 2107.07511"


def _checked(sets: Any, labels: Any) -> tuple[BoolArray, IntArray]:
    members = as_array(sets).astype(np.bool_)
    if members.ndim != 2 or members.size == 0:
        raise DataError(f"sets: expected shape (N, K) with N, K >= 1, got {members.shape}")
    truth = as_labels(labels, members.shape[1])
    if truth.shape != (len(members),):
        raise DataError(f"labels: expected {len(members)} values, got {truth.size}")
    return members, truth


def _covered(sets: Any, labels: Any) -> tuple[BoolArray, IntArray, IntArray]:
    members, truth = _checked(sets, labels)
    return members[np.arange(len(truth)), truth], members.sum(axis=1), truth


@mean_metric(
    share=True,
    higher_is_better=None,
    definition="Share of rows whose set holds the label.",
    reference=_REFERENCE,
)
def coverage(sets: Any, labels: Any) -> BoolArray:
    """Empirical coverage (1 / N) sum_i 1[label_i in set_i].

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1.

    Example:
        >>> coverage([[True, False], [True, True]], [1, 1])
        0.5
    """
    return _covered(sets, labels)[0]


@mean_metric(
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="Mean number of labels in a set, empty sets included.",
    reference=_REFERENCE,
)
def mean_set_size(sets: Any, labels: Any) -> IntArray:
    """Mean set size (1 / N) sum_i |set_i|.

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1 (checked, not used).

    Example:
        >>> mean_set_size([[True, False], [True, True]], [1, 1])
        1.5
    """
    return _covered(sets, labels)[1]


@mean_metric(
    share=True,
    higher_is_better=False,
    definition="Share of rows whose set is empty.",
    reference=_REFERENCE,
)
def empty_sets(sets: Any, labels: Any) -> BoolArray:
    """Share of empty sets.

    Example:
        >>> empty_sets([[False, False], [True, True]], [1, 1])
        0.5
    """
    return np.equal(_covered(sets, labels)[1], 0)


@mean_metric(
    share=True,
    higher_is_better=False,
    definition="Share of rows whose set holds all K labels and so says nothing.",
    reference=_REFERENCE,
)
def full_sets(sets: Any, labels: Any) -> BoolArray:
    """Share of sets with all K labels.

    Example:
        >>> full_sets([[False, False], [True, True]], [1, 1])
        0.5
    """
    return np.asarray(_checked(sets, labels)[0].all(axis=1))


@mean_metric(
    share=True,
    higher_is_better=True,
    definition="Share of rows whose set holds exactly one label.",
    reference=_REFERENCE,
)
def singleton_sets(sets: Any, labels: Any) -> BoolArray:
    """Share of sets with one label.

    Example:
        >>> singleton_sets([[False, True], [True, True]], [1, 1])
        0.5
    """
    return np.equal(_covered(sets, labels)[1], 1)


def class_coverage(sets: Any, labels: Any) -> FloatArray:
    """Coverage of each class, (K,); NaN for classes without rows.

    Example:
        >>> class_coverage([[True, False], [True, True]], [1, 1]).tolist()
        [nan, 0.5]
    """
    hit, _, truth = _covered(sets, labels)
    k = as_array(sets).shape[1]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(truth, hit, k) / np.bincount(truth, minlength=k))


def _equal_classes(
    sets: Any, labels: Any, share: float, generator: np.random.Generator
) -> FloatArray:
    """Coverages (draws, classes present) by chance where ``share`` of each class is covered."""
    count = np.unique(_covered(sets, labels)[2], return_counts=True)[1]
    return np.asarray(generator.binomial(count, share, (_DRAWS, len(count))) / count)


def _infer_gap(sets: Any, labels: Any, alpha: float, *, asked: Asked) -> Estimate:
    value, n = coverage_gap(sets, labels, alpha), len(as_array(labels))
    if asked.groups is not None:
        return Estimate(value, n=n)
    chance = _equal_classes(sets, labels, 1 - alpha, asked.generator)
    return judged(value, np.abs(chance - (1 - alpha)).mean(axis=1), n=n)


def _infer_worst(sets: Any, labels: Any, *, asked: Asked) -> Estimate:
    level, groups, generator = asked
    hit, _, truth = _covered(sets, labels)
    value = worst_class_coverage(sets, labels)
    _, index, count = np.unique(truth, return_inverse=True, return_counts=True)
    effect = 1.0 if groups is None else design_effect(hit.astype(np.float64), groups)
    each = 1 - (1 - level) / len(count)
    low, high = clopper_pearson(np.bincount(index, hit) / effect, count / effect, each)
    null = _equal_classes(sets, labels, float(hit.mean()), generator).min(axis=1)
    return Estimate(
        value,
        float(low.min()),
        float(high.min()),
        n=len(truth),
        method="simultaneous Clopper-Pearson",
        floor=None if groups is not None else float(null.mean()),
        p_value=None if groups is not None else null_p_value(-null, -value),
    )


@metric(
    higher_is_better=False,
    definition="CovGap: mean over the classes that occur of |class coverage - (1 - alpha)|; classes that are "
    "all covered at 1 - alpha show its floor.",
    reference="Ding et al., NeurIPS 2023, arXiv 2306.09335",
    interval="none; floor and test of classes that are all covered at 1 - alpha",
    infer=_infer_gap,
)
def coverage_gap(sets: Any, labels: Any, alpha: float) -> float:
    """Class-conditional coverage gap, mean over classes of |coverage_k - (1 - alpha)|.

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1.
        alpha: Target miscoverage.

    Source: Ding et al., "Class-conditional conformal prediction with many classes", NeurIPS 2023,
    arXiv 2306.09335 (there in percentage points).

    Example:
        >>> round(coverage_gap([[True, False], [True, True]], [0, 1], 0.1), 6)
        0.1
    """
    found = class_coverage(sets, labels)
    return float(np.nanmean(np.abs(found - (1 - alpha))))


@metric(
    higher_is_better=True,
    definition="Smallest coverage of any class that occurs; classes with one and the same coverage show its "
    "floor.",
    reference="Ding et al., NeurIPS 2023, arXiv 2306.09335",
    interval="simultaneous Clopper-Pearson intervals of the classes (Bonferroni)",
    infer=_infer_worst,
)
def worst_class_coverage(sets: Any, labels: Any) -> float:
    """Smallest class coverage.

    Example:
        >>> worst_class_coverage([[True, False], [True, False]], [0, 1])
        0.0
    """
    return float(np.nanmin(class_coverage(sets, labels)))


# Set sizes that are judged together, as in the RAPS paper.
SIZE_STRATA = ((0, 1), (2, 3), (4, 10), (11, 100), (101, 1000))


@metric(
    higher_is_better=False,
    definition="Largest |coverage - (1 - alpha)| over sets of 0-1, 2-3, 4-10, 11-100, 101-1000 and more "
    "labels.",
    reference="Angelopoulos et al., ICLR 2021, arXiv 2009.14193",
)
def size_stratified_violation(sets: Any, labels: Any, alpha: float) -> float:
    """Size-stratified coverage violation, the largest coverage gap of any stratum of set sizes.

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1.
        alpha: Target miscoverage.

    Source: Angelopoulos et al., "Uncertainty sets for image classifiers using conformal prediction",
    ICLR 2021, arXiv 2009.14193.

    Example:
        >>> round(size_stratified_violation([[True, False], [True, True]], [1, 1], 0.1), 6)
        0.9
    """
    hit, size, _ = _covered(sets, labels)
    upper = np.array([high for _, high in SIZE_STRATA])
    stratum = np.searchsorted(upper, size, side="left")
    count = np.bincount(stratum)
    covered = np.bincount(stratum, hit)
    present = count > 0
    return float(np.abs(covered[present] / count[present] - (1 - alpha)).max())
