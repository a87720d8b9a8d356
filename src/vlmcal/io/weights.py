"""Weights of rows: a column of the file, or the inverse of the share of a class that was sampled."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.io.number_cells import as_number
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.binary import positive_class
from vlmcal.types.predictions import Predictions


class Weights(NamedTuple):
    """Weights of rows.

    Attributes:
        values: (N,) at least 0.
        where: Where they come from, for the plan.
    """

    values: FloatArray
    where: str


def weight_column(texts: StrArray, name: str) -> Weights:
    """A column as weights.

    Raises:
        DataError: A cell is empty, no number, negative or infinite; or all are zero.

    Example:
        >>> weight_column(np.array(["2", "0.5"]), "w")
        Weights(values=array([2. , 0.5]), where='column "w"')
    """
    numbers = [as_number(text or "nan") for text in texts.tolist()]
    if None in numbers:
        wrong = texts[numbers.index(None)]
        raise DataError(f'weights: column "{name}" holds "{wrong}", which is no number')
    values = np.asarray(numbers, dtype=np.float64)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f'weights: column "{name}": {int(bad.sum())} of {values.size} are empty, negative or infinite, '
            f'first "{texts[row]}" in data row {row + 1}; a row that is not to count has weight 0'
        )
    if not values.any():
        raise DataError(f'weights: column "{name}" holds only zeros, so no row counts')
    return Weights(values, f'column "{name}"')


def sampling_weights(rows: Predictions, shares: Mapping[str, float]) -> Weights:
    """1 / share for each row, by its class: what rows that were sampled by class stand for.

    Args:
        rows: With labels.
        shares: Share of the rows of each class that was sampled, in (0, 1]; classes that are not named were
            taken whole. With two classes, "positive" and "negative" name them, too.

    Raises:
        SpecError: No such class, or a share outside (0, 1].
        DataError: The rows have no labels.

    Source: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe",
    JASA 1952.

    Example:
        >>> rows = Predictions(logits=[[1.0, 0.0]] * 2, labels=[0, 1], class_names=("benign", "malignant"))
        >>> sampling_weights(rows, {"benign": 0.1})
        Weights(values=array([10.,  1.]), where='1 / share sampled: benign 0.1, malignant 1')
    """
    rows.require_labels("weighting by sampling fractions")
    names = rows.class_names
    meant = {name: at for at, name in enumerate(names)}
    if len(names) == 2:
        at = positive_class(rows)
        meant = {"positive": at, "negative": 1 - at, **meant}
    factor = np.ones(len(names))
    for name, share in shares.items():
        require_known(name, meant, "sampling fraction: no class")
        if not 0 < share <= 1:
            raise SpecError(f"sampling fraction: expected a share in (0, 1] of {name}, got {share}")
        factor[meant[name]] = share
    shown = ", ".join(f"{name} {share:g}" for name, share in zip(names, factor, strict=True))
    return Weights((1 / factor)[rows.labels], f"1 / share sampled: {shown}")
