"""What a file of predictions holds, with its subgroups and weights, whatever kind its rows are of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from vlmcal.errors import located
from vlmcal.io.bands import bands, parse_band
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.weights import Weights, weight_column
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


def parted(
    read: Callable[[tuple[str, ...]], ReadRows[T]], by: Sequence[str] | None, weight: str | None
) -> ReadRows[T]:
    """Rows with subgroups, of which some may be bands of numbers, and with the weights of a column.

    Args:
        read: Reads rows with the columns of these names as strata.
        by: Columns that part the rows, as :func:`vlmcal.io.bands.parse_band` reads them.
        weight: Column of the weights, or None.

    Raises:
        DataError: A cell is no number, or no weight.
    """
    banded = [parse_band(name) for name in by or ()]
    names = tuple(one.column for one in banded)
    rows = read((*names, weight) if weight and weight not in names else names)
    with located(rows.plan.file):
        if weight:
            rows = weighted(rows, weight_column(rows.strata[weight], weight))
        strata = {one.column: bands(rows.strata[one.column], one) for one in banded}
    if not weight and not any(one.cuts for one in banded):
        return rows
    plan = replace(rows.plan, by=tuple(one.text() for one in banded))
    return _planned(rows, plan)._replace(strata=strata)


def weighted(rows: ReadRows[T], found: Weights) -> ReadRows[T]:
    """Rows with weights."""
    return _planned(rows, replace(rows.plan, weight=found.where))._replace(weights=found.values)


def _planned(rows: ReadRows[T], plan: ReadingPlan) -> ReadRows[T]:
    data = replace(rows.data, provenance={**rows.data.provenance, "reading": plan.to_dict()})
    return rows._replace(data=data, plan=plan)
