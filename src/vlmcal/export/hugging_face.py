"""Calibration inside a ``transformers.Trainer``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.evaluation import evaluate
from vlmcal.types.arrays import as_array
from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "brier", "nll")
# Label of tokens and rows that the loss leaves out.
IGNORED = -100


class Evaluated(Protocol):
    """What a Trainer hands to ``compute_metrics``: ``transformers.EvalPrediction`` or its equal."""

    predictions: Any
    label_ids: Any


def compute_metrics(
    evaluated: Evaluated | tuple[Any, Any],
    *,
    metrics: str | Sequence[str] = METRICS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, float]:
    """Metrics of the evaluation rows, to be given to ``transformers.Trainer(compute_metrics=...)``.

    The Trainer writes them as ``eval_ece`` and so on; ``metric_for_best_model="ece"`` with
    ``greater_is_better=False`` then keeps the checkpoint with the smallest calibration error.

    Args:
        evaluated: Logits (..., K) and labels (...) of the evaluation rows. Of several outputs the first with
            one more axis than the labels is taken; rows with the label -100 are left out, as the loss does.
        metrics: A preset, or names of metrics; with ``functools.partial`` for a Trainer.
        options: Options by metric name, such as ``{"ece": {"bins": 10}}``.

    Returns:
        Value by metric name; undefined ones (NaN) are left out.

    Raises:
        DataError: There are no logits of the labels' shape, or no labelled rows.
        SpecError: No such metric or option.

    Example:
        >>> found = compute_metrics((np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0])), metrics=["ece"])
        >>> round(found["ece"], 4)
        0.4251
    """
    if isinstance(evaluated, tuple):
        outputs, labels = evaluated[0], evaluated[1]
    else:
        outputs, labels = evaluated.predictions, evaluated.label_ids
    truth = as_array(labels)
    logits = _logits(outputs, truth)
    flat = truth.reshape(-1)
    kept = flat != IGNORED
    if not kept.any():
        raise DataError(f"compute_metrics: none of {flat.size} rows has a label; all are {IGNORED}")
    rows = Predictions(logits=logits.reshape(-1, logits.shape[-1])[kept], labels=flat[kept])
    found = evaluate(rows, metrics, intervals=False, options=options).estimates
    return {name: e.value for name, e in found.items() if not math.isnan(e.value)}


def _logits(outputs: Any, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    given = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    arrays = [as_array(output) for output in given]
    for array in arrays:
        if array.ndim == labels.ndim + 1 and array.shape[:-1] == labels.shape:
            return array
    raise DataError(
        f"compute_metrics: labels of shape {labels.shape} need logits of shape "
        f"({', '.join(map(str, labels.shape))}, K), got {', '.join(str(a.shape) for a in arrays)}"
    )
