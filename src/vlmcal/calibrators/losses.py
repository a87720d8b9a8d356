"""The two proper losses that calibrators are judged by inside this package."""

from collections.abc import Mapping
from typing import Literal

from vlmcal.errors import SpecError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

Loss = Literal["nll", "brier"]


def mean_loss(rows: Predictions | Confidences, loss: Loss) -> float:
    """The mean of :func:`row_losses`; infinite where a label has probability 0.

    Example:
        >>> import numpy as np
        >>> p = Predictions(logits=np.log([[0.75, 0.25]]), labels=[0])
        >>> round(mean_loss(p, "nll"), 4), round(mean_loss(p, "brier"), 4)
        (0.2877, 0.125)
    """
    return float(row_losses(rows, loss).mean())


def row_losses(rows: Predictions | Confidences, loss: Loss) -> FloatArray:
    """Log-loss (nats) of each row, or its Brier score ``sum_c (p_c - 1[y = c])^2`` of class scores: (N,).

    For confidences the Brier score is ``(c - correct)^2``.

    Raises:
        SpecError: Another loss.

    Example:
        >>> import numpy as np
        >>> row_losses(Predictions(logits=np.log([[0.75, 0.25]]), labels=[0]), "brier").round(4).tolist()
        [0.125]
    """
    if loss not in ("nll", "brier"):
        raise SpecError(f'loss: expected "nll" or "brier", got "{loss}"')
    if isinstance(rows, Confidences):
        if loss == "brier":
            return (rows.confidence - rows.correct) ** 2
        rows = as_binary(rows)
    source = ClassProbabilities.of(rows)
    return (
        -source.log_likelihood(rows.labels) if loss == "nll" else source.squared_error(rows.labels)
    )


def proper_losses(rows: Predictions | Confidences) -> Mapping[str, float]:
    """Both losses, by name: the default evaluation of a comparison."""
    return {"nll": mean_loss(rows, "nll"), "brier": mean_loss(rows, "brier")}
