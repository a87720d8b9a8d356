"""Metrics of weighted rows: which have such a form, and their values."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Metric, Weighted
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate


def weighable(
    chosen: Sequence[Metric],
    preset: bool,
    options: Mapping[str, Mapping[str, Any]],
    notes: list[str],
) -> list[Metric]:
    """The metrics that have a weighted form.

    Args:
        chosen: Metrics.
        preset: Whether they come from a preset, of which the others are left out.
        options: By metric name.
        notes: Where it is said what was left out.

    Raises:
        SpecError: Another one was named.
    """
    kept = [m for m in chosen if m.resample is not None or m.weighted is not None]
    for entry in kept:
        if entry.resample is None and options.get(entry.name, {}).get("strategy") in (
            "quantile",
            "equal_mass",
        ):
            raise SpecError(f"{entry.name}: bins of equal mass take no weights; use equal width")
    left = [m.name for m in chosen if m not in kept]
    if left and not preset:
        raise SpecError(f"weights: {', '.join(left)} take none; leave them out")
    if left:
        notes.append(f"Left out, as they take no weights: {', '.join(left)}.")
    return kept


def weighted_value(
    entry: Metric, args: Sequence[Any], keywords: Mapping[str, Any], weights: FloatArray
) -> tuple[Estimate, Weighted]:
    """The value for weighted rows, and the same as a function of how often each row was drawn."""
    make = entry.resample or entry.weighted
    assert make is not None
    own = make(*args, **keywords)

    def drawn(times: FloatArray) -> float:
        return own(times * weights)

    return Estimate(float(own(weights)), n=int((weights > 0).sum())), drawn
