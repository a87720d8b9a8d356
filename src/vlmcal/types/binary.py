"""Confidences as class scores, for whatever is written for these."""

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.types.arrays import given_ids
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.softmax import log_pair


def as_binary(confidences: Confidences, **extras: ArrayLike) -> Predictions:
    """Confidences as a two-class problem: class "right" has probability c, "wrong" has 1 - c.

    Args:
        confidences: N rows.
        **extras: Further arrays (N,) that a method reads, such as ``hallucination``.

    Example:
        >>> p = as_binary(Confidences(confidence=[0.75], correct=[True]))
        >>> p.class_names, p.probabilities().round(2).tolist(), p.labels.tolist()
        (('wrong', 'right'), [[0.25, 0.75]], [1])
    """
    return Predictions(
        logits=log_pair(confidences.confidence),
        kind="log_probs",
        labels=confidences.correct.astype(np.int64),
        ids=given_ids(confidences),
        class_names=("wrong", "right"),
        split=confidences.split,
        groups=confidences.groups,
        extras={
            name: np.asarray(value, dtype=np.float64)
            for name, value in {**confidences.extras, **extras}.items()
        },
        resolution=confidences.resolution,
        provenance=confidences.provenance,
    )


def positive_class(predictions: Predictions) -> int:
    """Which of two classes is the positive one: as read, else by its name (yes, 1, true), else the second.

    Example:
        >>> positive_class(Predictions(logits=[[0.0, 1.0]], labels=[0], class_names=("yes", "no")))
        0
    """
    said = predictions.provenance.get("reading", {}).get("positive")
    names = predictions.class_names
    if said in names:
        return names.index(said)
    positive = [at for at, name in enumerate(names) if name.casefold() in _POSITIVE]
    return positive[0] if len(positive) == 1 else 1


_POSITIVE = frozenset(
    {
        *("1", "yes", "true", "positive", "pos", "present", "abnormal", "malignant"),
        *("disease", "diseased"),
    }
)
