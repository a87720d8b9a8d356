"""Calibrators of findings side by side: chosen on held-out rows, measured on others."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.errors import VlmcalError
from vlmcal.findings.base import FindingWarning
from vlmcal.findings.per_label import PerLabel
from vlmcal.metrics.measured import Evaluation
from vlmcal.metrics.multi_label import evaluate_multi_label
from vlmcal.types.arrays import FloatArray
from vlmcal.types.folds import fold_index
from vlmcal.types.multi_label import MultiLabel

METHODS = ("none", "temperature", "platt", "beta", "isotonic")


@dataclass(frozen=True)
class FindingOutcome:
    """What one calibrator did.

    Attributes:
        name: As it was named.
        loss: Mean log-loss (or Brier score) of its out-of-fold probabilities on the held-out rows, macro over
            findings; NaN where it could not be fitted.
        fitted: On all held-out rows, or None.
        evaluation: On the other rows, or None.
        notes: What was said of the fit, or why there is none.
    """

    name: str
    loss: float
    fitted: PerLabel | None = None
    evaluation: Evaluation | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "calibrator": self.name,
            "loss": self.loss,
            "test": None if self.evaluation is None else self.evaluation.to_dict(),
            "notes": list(self.notes),
        }


def compare_findings(
    fitting: MultiLabel,
    rows: MultiLabel,
    methods: Sequence[str] = METHODS,
    *,
    criterion: str = "nll",
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 300,
) -> list[FindingOutcome]:
    """Each calibrator fitted per finding and cross-validated on ``fitting``, measured on ``rows``.

    Args:
        fitting: Held-out rows; folds keep groups together.
        rows: Other rows.
        methods: Calibrators.
        criterion: "nll" or "brier".
        folds: Number of folds.
        seed: Of folds and intervals.
        level: Confidence level.
        resamples: Of the intervals.

    Returns:
        The best by cross-validation first.

    Raises:
        DataError: Fewer rows or groups than folds.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.random((800, 2))
        >>> val, test = (
        ...     MultiLabel(probabilities=q, labels=rng.random(q.shape) < q**2, ids=k + np.arange(400))
        ...     for k, q in ((1, p[:400]), (401, p[400:])))
        >>> [outcome.name for outcome in compare_findings(val, test, ["none", "beta"], resamples=0)]
        ['beta', 'none']
    """
    index = fold_index(fitting.as_scores(), folds=folds, seed=seed)
    outcomes = []
    for name in methods:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FindingWarning)
            try:
                out = np.empty_like(fitting.probabilities)
                for fold in range(folds):
                    part = PerLabel(name).fit(fitting.subset(index != fold), identify=False)
                    out[index == fold] = part.apply(fitting.subset(index == fold))
                caught.clear()
                fitted = PerLabel(name).fit(fitting)
                notes = tuple(fitted.messages_)
                after = fitted.transform(rows)
            except VlmcalError as error:
                outcomes.append(FindingOutcome(name, float("nan"), notes=(str(error),)))
                continue
        measured = evaluate_multi_label(after, level=level, resamples=resamples, seed=seed)
        loss = _loss(out, fitting.labels, criterion)
        outcomes.append(FindingOutcome(name, loss, fitted, measured, notes))
    return sorted(
        outcomes, key=lambda o: (not np.isfinite(o.loss), o.loss if o.loss == o.loss else 0)
    )


def _loss(p: FloatArray, labels: FloatArray, criterion: str) -> float:
    with np.errstate(divide="ignore"):
        brier, chosen = (p - labels) ** 2, np.where(labels == 1, p, 1 - p)
        loss = brier if criterion == "brier" else -np.log(chosen)
    known = np.isfinite(labels)
    measured = known.any(axis=0)
    sums = np.where(known, loss, 0.0).sum(axis=0)[measured]
    return float((sums / known.sum(axis=0)[measured]).mean())
