"""Folds of labelled rows: balanced over the labels, and never through a group."""

from typing import Literal

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

Groups = Literal["groups", "ignore"] | None


def fold_index(
    rows: Predictions | Confidences, *, folds: int, groups: Groups = None, seed: int = 0
) -> IntArray:
    """Fold number of every row, (N,), for cross-fitting and cross-validation.

    Args:
        rows: With labels.
        folds: Number of folds.
        groups: "groups" keeps groups together and demands the column, "ignore" leaves it out of account,
            None keeps groups together where there are any.
        seed: Seed of the random split.

    Raises:
        SpecError: Fewer than two folds or an unknown value of ``groups``.
        DataError: Fewer rows or groups than folds, or the group column is missing.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 1, 1])
        >>> index = fold_index(val, folds=2)
        >>> sorted(index[:2].tolist()), sorted(index[2:].tolist())      # both labels in both folds
        ([0, 1], [0, 1])
    """
    if folds < 2:
        raise SpecError(f"folds: expected at least 2, got {folds}")
    if groups not in (None, "groups", "ignore"):
        raise SpecError(f'groups: expected None, "groups" or "ignore", got "{groups}"')
    if groups == "groups" and rows.groups is None:
        raise DataError(
            'cross-fitting by groups needs a group column; these rows have none (use groups="ignore" if '
            "they are independent)"
        )
    if len(rows) < folds:
        raise DataError(
            f"{folds} folds need at least {folds} rows, got {len(rows)}; use fewer folds"
        )
    generator = np.random.default_rng(seed)
    # Groups of one row each are no groups, and balancing the labels makes the folds more alike.
    alone = rows.groups is None or np.unique(rows.groups).size == len(rows)
    if alone or groups == "ignore":
        labels = rows.labels if isinstance(rows, Predictions) else rows.correct
        shuffled = generator.permutation(len(rows))
        ordered = shuffled[np.argsort(labels[shuffled], kind="stable")]
        index = np.empty(len(rows), dtype=np.int64)
        index[ordered] = np.arange(len(rows)) % folds
        return index
    assert rows.groups is not None
    return _by_group(np.unique(rows.groups, return_inverse=True)[1], folds, generator)


def _by_group(member: IntArray, folds: int, generator: np.random.Generator) -> IntArray:
    """Largest group first into the fold with the fewest rows; ties between groups are random."""
    sizes = np.bincount(member)
    if sizes.size < folds:
        raise DataError(
            f"{folds} folds need at least {folds} groups, got {sizes.size}; use fewer folds"
        )
    order = generator.permutation(sizes.size)
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros(folds, dtype=np.int64)
    fold_of = np.empty(sizes.size, dtype=np.int64)
    for group in order:
        fold = int(filled.argmin())
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return fold_of[member]
