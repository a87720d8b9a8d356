"""Brier score and NLL split into miscalibration, discrimination and uncertainty."""

from typing import Any, Literal, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Metric, metric
from vlmcal.metrics.brier import brier_rows
from vlmcal.metrics.kit.binned import top_label
from vlmcal.metrics.kit.class_bins import class_bins
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray
from vlmcal.types.binning import Binning, Edges
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = (
    "Murphy, A new vector partition of the probability score, 1973; Stephenson et al., 2008"
)


class BrierParts(NamedTuple):
    """brier = reliability - resolution + uncertainty + within.

    Attributes:
        brier: The score.
        reliability: Squared gap between probability and frequency in the bins (0 is best).
        resolution: How far the bins' frequencies are from the base rate (large is best).
        uncertainty: What always forecasting the base rate would score.
        within: What binning hides: variance and covariance within bins.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def _parts(brier: float, count: Any, probability: FloatArray, hits: Any, n: int) -> BrierParts:
    """Parts from bin sums, (K, B); sums over classes and bins."""
    size = np.where(count > 0, count, 1)
    mean, share = probability / size, hits / size
    base = hits.sum(axis=-1, keepdims=True) / n
    reliability = float((count * (mean - share) ** 2).sum() / n)
    resolution = float((count * (share - base) ** 2).sum() / n)
    uncertainty = float((base * (1 - base)).sum())
    within = brier - (reliability - resolution + uncertainty)
    return BrierParts(brier, reliability, resolution, uncertainty, within)


def brier_decomposition(
    probabilities: Any, labels: Any, *, bins: int = 15, edges: Edges = "right"
) -> BrierParts:
    """Murphy's partition of the multi-class Brier score, summed over classes.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        bins: Equal-width bins per class.
        edges: "right" or "left".

    Source: Murphy, "A new vector partition of the probability score", 1973; Stephenson, Coelho and
    Jolliffe, "Two extra components in the Brier score decomposition", 2008 (the part within bins).

    Example:
        >>> parts = brier_decomposition([[0.8, 0.2], [0.8, 0.2]], [0, 1])
        >>> [round(x, 4) for x in parts]
        [0.68, 0.18, 0.0, 0.5, 0.0]
    """
    source = ClassProbabilities.of(probabilities)
    sums = class_bins(source, labels, bins=bins, edges=edges)
    brier = float(brier_rows(source, labels).mean())
    return _parts(brier, sums.count, sums.confidence, sums.hits, sums.n)


def top_label_brier_decomposition(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> BrierParts:
    """Murphy's partition of the Brier score of confidence against correctness.

    Example:
        >>> parts = top_label_brier_decomposition([0.8, 0.8], [True, False])
        >>> [round(x, 4) + 0.0 for x in parts]
        [0.34, 0.09, 0.0, 0.25, 0.0]
    """
    cut = Binning(bins, edges=edges)
    rows = top_label(confidence, correct, binning=cut, resolution=resolution)
    sums = rows.sums
    score = float(np.square(rows.confidence - rows.correct).mean())
    return _parts(score, sums.count, sums.confidence, sums.correct, sums.n)


class CorpParts(NamedTuple):
    """score = miscalibration - discrimination + uncertainty, without bins."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def corp_decomposition(
    confidence: Any, correct: Any, *, loss: Literal["brier", "nll"] = "brier"
) -> CorpParts:
    """Partition of a proper score of the confidence by isotonic recalibration on the same rows.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        loss: "brier" or "nll" (probabilities clipped at 1e-12).

    Source: Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for probabilistic classifiers",
    PNAS 2021, arXiv 2008.03033.

    Example:
        >>> parts = corp_decomposition([0.9, 0.8, 0.3, 0.2], [1, 0, 1, 0])
        >>> round(parts.miscalibration - parts.discrimination + parts.uncertainty - parts.score, 12)
        0.0
    """
    from scipy.optimize import isotonic_regression

    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(values, kind="stable")
    outcome = verdicts[order].astype(np.float64)
    distinct, run = np.unique(values[order], return_inverse=True)
    size = np.bincount(run)
    share = np.bincount(run, outcome, minlength=len(distinct)) / size
    fitted = isotonic_regression(share, weights=size).x[run]
    base = np.full(len(outcome), outcome.mean())
    forecasts = (values[order], fitted, base)
    scores = [_binary_score(forecast, outcome, loss) for forecast in forecasts]
    return CorpParts(scores[0], scores[0] - scores[1], scores[2] - scores[1], scores[2])


def _binary_score(forecast: FloatArray, outcome: FloatArray, loss: str) -> float:
    if loss == "brier":
        return float(np.square(forecast - outcome).mean())
    if loss == "nll":
        chosen = np.where(outcome > 0, forecast, 1 - forecast)
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())
    raise SpecError(f'loss: expected "brier" or "nll", got {loss!r}')


def _register(part: str, better: bool | None, text: str) -> tuple[Metric, Metric]:
    """The metrics of one part: of the class probabilities, and of the top label."""

    def of_classes(
        probabilities: Any, labels: Any, *, bins: int = 15, edges: Edges = "right"
    ) -> float:
        parts = brier_decomposition(probabilities, labels, bins=bins, edges=edges)
        return float(getattr(parts, part))

    def of_top_label(
        confidence: Any, correct: Any, *, bins: int = 15, edges: Edges = "right"
    ) -> float:
        parts = top_label_brier_decomposition(confidence, correct, bins=bins, edges=edges)
        return float(getattr(parts, part))

    def file(function: Any, prefix: str, top: float) -> Metric:
        name = f"{prefix}brier_{part}"
        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"The {part} of the Brier score; see :func:`brier_decomposition`."
        whose = "class probabilities, summed over classes" if prefix == "" else "top label"
        return metric(
            name=name,
            higher_is_better=better,
            bounds=(0.0, top),
            definition=f"Brier score of the {whose}: {text} over {{bins}} equal-width bins, {{edge_rule}}.",
            reference=_REFERENCE,
        )(function)

    return file(of_classes, "", 2.0), file(of_top_label, "top_label_", 1.0)


brier_reliability, top_label_brier_reliability = _register(
    "reliability", False, "squared gap between mean probability and frequency"
)
brier_resolution, top_label_brier_resolution = _register(
    "resolution", True, "squared distance of the bins' frequencies from the base rate"
)
brier_uncertainty, top_label_brier_uncertainty = _register(
    "uncertainty", None, "score of always forecasting the base rate, which has no bins;"
)
