"""The two proper losses that calibrators are judged by inside this package."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from vlmcal.calibrators.numerics import label_nll
from vlmcal.errors import SpecError
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

Loss = Literal["nll", "brier"]


def mean_loss(rows: Predictions | Confidences, loss: Loss) -> float:
    """Mean log-loss (nats), or mean Brier score ``sum_c (p_c - 1[y = c])^2`` of class scores.

    For confidences the Brier score is ``(c - correct)^2``.

    Raises:
        SpecError: Another loss.

    Example:
        >>> p = Predictions(logits=np.log([[0.75, 0.25]]), labels=[0])
        >>> round(mean_loss(p, "nll"), 4), round(mean_loss(p, "brier"), 4)
        (0.2877, 0.125)
    """
    if loss not in ("nll", "brier"):
        raise SpecError(f'loss: expected "nll" or "brier", got "{loss}"')
    if isinstance(rows, Confidences):
        if loss == "brier":
            return float(((rows.confidence - rows.correct) ** 2).mean())
        rows = as_binary(rows)
    if loss == "nll":
        return label_nll(rows.log_probabilities(), rows.labels)
    probs = rows.probabilities()
    probs[np.arange(len(rows)), rows.labels] -= 1.0
    return float((probs**2).sum(axis=1).mean())


def proper_losses(rows: Predictions | Confidences) -> Mapping[str, float]:
    """Both losses, by name: the default evaluation of a comparison."""
    return {"nll": mean_loss(rows, "nll"), "brier": mean_loss(rows, "brier")}
