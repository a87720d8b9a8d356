"""Cross-fitting: every row is calibrated by a calibrator that has not seen it (nor its patient)."""

from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np

from vlmcal.calibrators.base import Calibrator
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import require_fittable

Rows = TypeVar("Rows", Predictions, Confidences)
Groups = Literal["groups", "ignore"] | None


def cross_fit(
    calibrator: Calibrator,
    rows: Rows,
    *,
    folds: int = 5,
    groups: Groups = None,
    seed: int = 0,
) -> Rows:
    """Out-of-fold calibrated rows: split into folds, fit on all but one, apply to that one.

    All labelled rows are used for fitting and all can be measured without leakage. Folds are balanced over
    the labels; with groups, all rows of a group (patient, slide) share a fold. The scheme is recorded in the
    provenance.

    Args:
        calibrator: Its hyper-parameters are used; it is not changed.
        rows: Held-out rows with labels.
        folds: Number of folds.
        groups: "groups" keeps groups together and demands the column, "ignore" leaves it out of account,
            None keeps groups together where there are any.
        seed: Seed of the random split.

    Raises:
        SplitError: The rows are test data.
        DataError: Fewer rows or groups than folds, or the group column is missing.

    Example:
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> val = Predictions(logits=[[2.0, 0.0]] * 8, labels=[0, 0, 0, 1] * 2, groups=list("aabbccdd"))
        >>> out = cross_fit(Temperature(), val, folds=2)
        >>> [out.provenance["steps"][-1][key] for key in ("scheme", "folds", "groups")]
        ['cross-fitted', 2, True]
    """
    require_fittable(rows.split, f'cross-fitting of "{calibrator.name}"')
    index = fold_index(rows, folds=folds, groups=groups, seed=seed)
    parts, order = [], []
    for fold in range(folds):
        inside = np.flatnonzero(index == fold)
        fresh = calibrator.fresh().fit(rows.subset(index != fold))
        parts.append(fresh.transform(rows.subset(inside)))
        order.append(inside)
    step = {
        "calibrator": calibrator.name,
        "scheme": "cross-fitted",
        "folds": folds,
        "groups": rows.groups is not None and groups != "ignore",
        "seed": seed,
        "fitted_on": {"split": rows.split, "n": len(rows)},
    }
    position = np.argsort(np.concatenate(order))
    if isinstance(rows, Confidences):
        confidence = np.concatenate([part.confidence for part in parts])[position]
        steps = [*rows.provenance.get("steps", []), step]
        return replace(rows, confidence=confidence, provenance={**rows.provenance, "steps": steps})
    kinds = {part.kind for part in parts}
    if len(kinds) == 1:
        scores = np.concatenate([part.logits for part in parts])[position]
        return rows.with_scores(scores, kinds.pop(), step)
    scores = np.concatenate([part.log_probabilities() for part in parts])[position]
    return rows.with_scores(scores, "log_probs", step)


def fold_index(
    rows: Predictions | Confidences, *, folds: int, groups: Groups = None, seed: int = 0
) -> IntArray:
    """Fold number of every row, (N,), for :func:`cross_fit`.

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
