"""Findings that do not exclude each other, measured for each value of a column apart."""

from collections.abc import Mapping
from typing import Any

from vlmcal.metrics.kit.row_weights import as_weights
from vlmcal.metrics.measured import Evaluation
from vlmcal.metrics.multi_label import evaluate_multi_label
from vlmcal.metrics.subgroups import FEWEST, subgroups
from vlmcal.types.arrays import Numbers
from vlmcal.types.multi_label import MultiLabel


def evaluate_subgroups(
    rows: MultiLabel,
    strata: Mapping[str, Any],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    weights: Numbers | None = None,
) -> dict[str, Evaluation]:
    """What :func:`~vlmcal.metrics.multi_label.evaluate_multi_label` finds in each subgroup, by its name.

    Subgroups in which no truth is known, or no row has a weight, are left out. Those of fewer than 30 rows
    say so in their notes.

    Args:
        rows: With labels.
        strata: (N,) values by name of the column.
        level: Confidence level.
        resamples: Number of resamples; 0 for no intervals.
        seed: Of every draw.
        weights: (N,) weights of the rows, or None.

    Raises:
        DataError: A column of another length, or of more than 50 values.
        SpecError: A level outside (0, 1).

    Example:
        >>> rows = MultiLabel(
        ...     probabilities=[[0.9], [0.4], [0.6], [0.2]], labels=[[1], [0], [0], [1]], names=("edema",))
        >>> found = evaluate_subgroups(rows, {"sex": ["f", "f", "m", "m"]}, resamples=0)
        >>> {name: each["macro_auroc"].value for name, each in found.items()}
        {'sex = f': 1.0, 'sex = m': 0.0}
    """
    weight = None if weights is None else as_weights(weights, len(rows))
    found = {}
    for name, inside in subgroups(strata, len(rows)):
        own = None if weight is None else weight[inside]
        part = rows.subset(inside)
        if not part.known.any() or (own is not None and not own.any()):
            continue
        found[name] = evaluate_multi_label(
            part, level=level, resamples=resamples, seed=seed, weights=own
        )
    return found


def small_subgroups(found: Mapping[str, Evaluation]) -> str:
    """Which subgroups carry no conclusion, in a sentence; "" if none is so small.

    Example:
        >>> small_subgroups({"sex = f": Evaluation(estimates={}, definitions={}, n=12)})
        'Fewer than 30 rows: sex = f (12).'
    """
    small = [f"{name} ({each.n})" for name, each in found.items() if each.n < FEWEST]
    return f"Fewer than {FEWEST} rows: {', '.join(small)}." if small else ""
