"""Rows to calibrate on where nothing is held out: every training image, predicted by a run without it."""

import warnings
from collections.abc import Callable

import numpy as np

from vlmcal.errors import DataError, VlmcalError
from vlmcal.learners.base import Learner
from vlmcal.training.side_by_side import Training, side_by_side
from vlmcal.types.arrays import BoolArray, IntArray, StrArray
from vlmcal.types.folds import fold_index
from vlmcal.types.predictions import Predictions

FOLDS = 5


def folds_of(labels: IntArray, groups: StrArray | None) -> IntArray:
    """Fold number of every training image, (N,); every class is trained on without each of the folds.

    Args:
        labels: (N,).
        groups: Patients or slides, which share a fold; or None.

    Raises:
        DataError: There are too few images or groups of a class.

    Example:
        >>> int(folds_of(np.array([0, 0, 1, 1, 1, 1]), None).max())
        4
    """
    rows = Predictions(
        logits=np.zeros((len(labels), labels.max() + 1)), labels=labels, groups=groups
    )
    units = len(rows) if groups is None else np.unique(groups).size
    folds = fold_index(rows, folds=max(2, min(FOLDS, units)))
    for fold in range(folds.max() + 1):
        lost = np.setdiff1d(labels, labels[folds != fold])
        if lost.size:
            raise DataError(
                "calibration: cross-fit leaves out one fold at a time, and then no image of class "
                f"{lost[0]} would be left to train on; it needs at least two images of each class, "
                "of two groups where there are groups. Draw more shots, or calibrate nothing"
            )
    return folds


def out_of_fold(
    folds: IntArray,
    train: Callable[[int, BoolArray], Training[Learner]],
    predict: Callable[[Learner, BoolArray], Predictions],
) -> Predictions:
    """Predictions (N, K) of all training images, each by a learner that was trained on the other folds.

    They are held-out rows of the same recipe with fewer images, so a calibrator fitted on them errs, if
    at all, to the careful side. What differs between the folds' learners, such as text features, is left out.

    Args:
        folds: (N,), from :func:`folds_of`.
        train: (fold, selected images) -> the training on these, which goes side by side with the others.
        predict: Its predictions for the selected images.
    """
    parts, order = [], []
    inside = [folds == fold for fold in range(folds.max() + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the run on all images warns of
        trainings = [train(fold, ~left) for fold, left in enumerate(inside)]
        for fold, learner in side_by_side(trainings):
            if isinstance(learner, VlmcalError):
                raise learner
            parts.append(predict(learner, inside[fold]))
            order.append(np.flatnonzero(inside[fold]))
    back = np.argsort(np.concatenate(order))
    first = parts[0]
    logits = np.concatenate([part.logits for part in parts])[back]
    zero_shot = np.concatenate([part.extras["zero_shot_logits"] for part in parts])[back]
    groups = [part.groups for part in parts if part.groups is not None]
    return Predictions(
        logits=logits,
        labels=np.concatenate([part.labels for part in parts])[back],
        ids=np.concatenate([part.ids for part in parts])[back],
        groups=np.concatenate(groups)[back] if groups else None,
        class_names=first.class_names,
        split=first.split,
        provenance=first.provenance,
        extras={
            "zero_shot_text_features": first.extras["zero_shot_text_features"],
            "zero_shot_logits": zero_shot,
        },
    )


def cross_fit_note(folds: IntArray) -> str:
    """What calibrators were fitted on, in words."""
    return (
        f"calibrators are fitted on the {len(folds)} training images, each predicted by training without "
        f"its fold ({folds.max() + 1} folds); label sets from them have no exact guarantee"
    )
