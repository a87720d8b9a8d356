"""Cross-fitting: every row is calibrated by a calibrator that has not seen it (nor its patient)."""

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np

from vlmcal.calibrators.base import Calibrator
from vlmcal.calibrators.losses import Loss, row_losses
from vlmcal.calibrators.scalar import ScalarCalibrator
from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.folds import Groups, fold_index
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import require_fittable

Rows = TypeVar("Rows", Predictions, Confidences)
Made = TypeVar("Made")
Losses: TypeAlias = tuple[IntArray, dict[str, FloatArray | DataError]]
_MANY = 1_000_000
# Numbers that all calibrators go through: about ten seconds, of which the start of a process is little.
_LONG = 10_000_000


def cross_fit(
    calibrator: Calibrator, rows: Rows, *, folds: int = 5, groups: Groups = None, seed: int = 0
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
    order = [np.flatnonzero(index == fold) for fold in range(folds)]

    def applied(fold: int) -> Rows:
        fresh = calibrator.fresh().fit(rows.subset(index != fold))
        return fresh.transform(rows.subset(order[fold]))

    parts = list(_side_by_side(applied, folds, rows))
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


@contextmanager
def out_of_fold_losses(
    calibrators: Mapping[str, Calibrator],
    rows: Rows,
    loss: Loss,
    *,
    folds: int = 5,
    groups: Groups = None,
    seed: int = 0,
) -> Iterator[Iterator[Losses]]:
    """A context that gives the losses of each fold, as of the rows that :func:`cross_fit` calibrates.

    Fold by fold, so that what several calibrators read of a fold is computed once. Where it takes long, they
    are begun at once, in processes of their own; elsewhere each when it is asked for.

    Args:
        calibrators: Their hyper-parameters are used; they are not changed.
        rows: Held-out rows with labels.
        loss: Which loss.
        folds: Number of folds.
        groups: As in :func:`cross_fit`.
        seed: Seed of the random split.

    Yields:
        The places of the rows of a fold, and by name the loss of each of them, or why the fold does not suit
        the calibrator; a fold may come in several parts.

    Raises:
        DataError: As :func:`cross_fit`.

    Example:
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> val = Predictions(logits=[[2.0, 0.0]] * 8, labels=[0, 0, 0, 1] * 2)
        >>> losses = np.empty(8)
        >>> with out_of_fold_losses({"t": Temperature()}, val, "nll", folds=2) as found:
        ...     for inside, of_fold in found:
        ...         losses[inside] = of_fold["t"]
        >>> bool(np.allclose(losses, row_losses(cross_fit(Temperature(), val, folds=2), "nll")))
        True
    """
    index = fold_index(rows, folds=folds, groups=groups, seed=seed)
    fresh = {name: calibrator.fresh() for name, calibrator in calibrators.items()}
    workers = _cores() if len(calibrators) * _size(rows) >= _LONG else 1
    if workers == 1:
        yield map(partial(_fold_losses, fresh, rows, loss, index), range(folds))
        return
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    # Parts so small that cores are done at about the same time, the long ones first, with rows of their own,
    # as the caller's keep what others ask of them while these are sent. Curves of one kind read the same of a
    # fold, so they stay together.
    names, parts = sorted(fresh, key=lambda name: _reads(fresh[name])), -(-3 * workers // folds)
    cuts = [part * len(names) // parts for part in range(parts + 1)]
    shares = [names[first:last] for first, last in pairwise(cuts)]
    own = rows.subset(index >= 0)
    tasks = [
        delayed(_fold_losses)({name: fresh[name] for name in share}, own, loss, index, fold)
        for share in shares
        for fold in range(folds)
        if share
    ]
    # Threads do not do: curves of many classes are many short loops, between which they wait for each other.
    begun: Generator[Losses] = Parallel(
        n_jobs=min(workers, len(tasks)), return_as="generator_unordered", max_nbytes=None
    )(tasks)
    try:
        with threadpool_limits(1):  # threads of products would only wait for cores
            yield begun
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that nobody asks for after an error
            begun.close()


def _reads(calibrator: Calibrator) -> str:
    """What a calibrator reads of rows; that of curves first."""
    return calibrator.space if isinstance(calibrator, ScalarCalibrator) else "~"


def _fold_losses(
    calibrators: Mapping[str, Calibrator], rows: Rows, loss: Loss, index: IntArray, fold: int
) -> Losses:
    inside = np.flatnonzero(index == fold)
    fitting, others = keeping(rows.subset(index != fold)), keeping(rows.subset(inside))
    found: dict[str, FloatArray | DataError] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a fold warns of, the fit on all rows says
        for name, calibrator in calibrators.items():
            try:
                after = calibrator.fresh().fit(fitting).transform(others)
                found[name] = row_losses(after, loss)
            except DataError as error:
                found[name] = error
    return inside, found


def keeping(rows: Rows) -> Rows:
    """The same rows, which keep what several calibrators compute of them; confidences keep nothing."""
    return rows.keeping() if isinstance(rows, Predictions) else rows


def _side_by_side(
    work: Callable[[int], Made], folds: int, rows: Predictions | Confidences
) -> Iterator[Made]:
    """What is made of each fold, in their order."""
    # NumPy's loops over many rows run side by side; over few rows threads only cost.
    workers = _cores() if _size(rows) >= _MANY else 1
    if workers == 1:
        yield from map(work, range(folds))
        return
    with ThreadPoolExecutor(min(workers, folds)) as pool:
        yield from pool.map(work, range(folds))


def _size(rows: Predictions | Confidences) -> int:
    return len(rows) * (rows.n_classes if isinstance(rows, Predictions) else 1)


def _cores() -> int:
    """The processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
