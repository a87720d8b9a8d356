"""What a file of predictions holds, with its subgroups and weights, whatever kind its rows are of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from vlmcal.errors import located
from vlmcal.io.bands import Banded, bands
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.weights import Weights
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.multi_label import MultiLabel
from vlmcal.types.predictions import Predictions

T = TypeVar("T", bound=Predictions | Confidences | MultiLabel)


class ReadRows(NamedTuple, Generic[T]):
    """What a file holds.

    Attributes:
        data: The rows.
        plan: How the file was read.
        strata: (N,) values of each column named by ``by``.
        weights: (N,) weights of the rows, or None.
    """

    data: T
    plan: ReadingPlan
    strata: Mapping[str, StrArray]
    weights: FloatArray | None = None


def in_bands(rows: ReadRows[T], banded: Sequence[Banded]) -> ReadRows[T]:
    """Rows whose subgroups are bands of numbers.

    Raises:
        DataError: A cell is no number.
    """
    with located(rows.plan.file):
        strata = {by.column: bands(rows.strata[by.column], by) for by in banded}
    plan = replace(rows.plan, by=tuple(by.text() for by in banded))
    return ReadRows(_planned(rows.data, plan), plan, strata, rows.weights)


def weighted(rows: ReadRows[T], by: Sequence[str], found: Weights) -> ReadRows[T]:
    """Rows with weights, and the subgroups of the columns ``by`` alone."""
    plan = replace(rows.plan, by=tuple(by), weight=found.where)
    strata = {name: values for name, values in rows.strata.items() if name in by}
    return ReadRows(_planned(rows.data, plan), plan, strata, found.values)


def _planned(data: T, plan: ReadingPlan) -> T:
    return replace(data, provenance={**data.provenance, "reading": plan.to_dict()})
