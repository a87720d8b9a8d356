"""What label sets deliver: how often they hold the label, how large they are, and for whom they fail."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.brier import mean_of
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, as_array, as_labels
from vlmcal.types.estimate import Estimate

_REFERENCE = "Angelopoulos and Bates, arXiv 2107.07511"
_BOOTSTRAP = "BCa bootstrap of rows (of groups where given)"


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


def _infer_coverage(
    sets: Any,
    labels: Any,
    *,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    return infer_proportion(_covered(sets, labels)[0], level=level, groups=groups)


@metric(
    name="coverage",
    consumes="sets",
    higher_is_better=None,
    bounds=(0.0, 1.0),
    definition="Share of rows whose set holds the label.",
    reference=_REFERENCE,
    interval="Wilson; with groups, Wilson with the effective number of rows (design effect)",
    infer=_infer_coverage,
    resample=lambda sets, labels: mean_of(_covered(sets, labels)[0].astype(np.float64)),
)
def coverage(sets: Any, labels: Any) -> float:
    """Empirical coverage (1 / N) sum_i 1[label_i in set_i].

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1.

    Example:
        >>> coverage([[True, False], [True, True]], [1, 1])
        0.5
    """
    return float(_covered(sets, labels)[0].mean())


@metric(
    name="mean_set_size",
    consumes="sets",
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    definition="Mean number of labels in a set, empty sets included.",
    reference=_REFERENCE,
    interval=_BOOTSTRAP,
    resample=lambda sets, labels: mean_of(_covered(sets, labels)[1].astype(np.float64)),
)
def mean_set_size(sets: Any, labels: Any) -> float:
    """Mean set size (1 / N) sum_i |set_i|.

    Args:
        sets: (N, K) bool.
        labels: (N,) integers in 0 .. K - 1 (checked, not used).

    Example:
        >>> mean_set_size([[True, False], [True, True]], [1, 1])
        1.5
    """
    return float(_covered(sets, labels)[1].mean())


def _share(rule: Any) -> Weighted:
    return mean_of(np.asarray(rule, dtype=np.float64))


@metric(
    name="empty_sets",
    consumes="sets",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Share of rows whose set is empty.",
    reference=_REFERENCE,
    interval=_BOOTSTRAP,
    resample=lambda sets, labels: _share(_covered(sets, labels)[1] == 0),
)
def empty_sets(sets: Any, labels: Any) -> float:
    """Share of empty sets.

    Example:
        >>> empty_sets([[False, False], [True, True]], [1, 1])
        0.5
    """
    return float((_covered(sets, labels)[1] == 0).mean())


@metric(
    name="full_sets",
    consumes="sets",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Share of rows whose set holds all K labels and so says nothing.",
    reference=_REFERENCE,
    interval=_BOOTSTRAP,
    resample=lambda sets, labels: _share(as_array(sets).astype(np.bool_).all(axis=1)),
)
def full_sets(sets: Any, labels: Any) -> float:
    """Share of sets with all K labels.

    Example:
        >>> full_sets([[False, False], [True, True]], [1, 1])
        0.5
    """
    return float(_checked(sets, labels)[0].all(axis=1).mean())


@metric(
    name="singleton_sets",
    consumes="sets",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Share of rows whose set holds exactly one label.",
    reference=_REFERENCE,
    interval=_BOOTSTRAP,
    resample=lambda sets, labels: _share(_covered(sets, labels)[1] == 1),
)
def singleton_sets(sets: Any, labels: Any) -> float:
    """Share of sets with one label.

    Example:
        >>> singleton_sets([[False, True], [True, True]], [1, 1])
        0.5
    """
    return float((_covered(sets, labels)[1] == 1).mean())


def class_coverage(sets: Any, labels: Any) -> FloatArray:
    """Coverage of each class, (K,); NaN for classes without rows.

    Example:
        >>> class_coverage([[True, False], [True, True]], [1, 1]).tolist()
        [nan, 0.5]
    """
    members, _ = _checked(sets, labels)
    hit, _, truth = _covered(sets, labels)
    count = np.bincount(truth, minlength=members.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(truth, hit, minlength=members.shape[1]) / count)


@metric(
    name="coverage_gap",
    consumes="sets",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="CovGap: mean over the classes that occur of |class coverage - (1 - alpha)|.",
    reference="Ding et al., NeurIPS 2023, arXiv 2306.09335",
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
    name="worst_class_coverage",
    consumes="sets",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Smallest coverage of any class that occurs.",
    reference="Ding et al., NeurIPS 2023, arXiv 2306.09335",
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
    name="size_stratified_violation",
    consumes="sets",
    higher_is_better=False,
    bounds=(0.0, 1.0),
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
