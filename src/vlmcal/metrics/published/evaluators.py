"""The evaluators behind published tables, with their quirks, under names of their own.

They exist to reproduce printed numbers; for new work use the metrics without a prefix. Values are fractions
(the evaluators print percent). ``tcpt_``: evaluator of the TCPT README (CVPR 2026). ``dac_``:
tools/metrics.py of DAC (ICML 2024), also used by CalibPrompt (BMVC 2025). ``ctpt_``: C-TPT, O-TPT and A-TPT.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import METRICS, Metric, metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.macro_f1 import macro_f1
from vlmcal.metrics.published.binning import (
    QuantileRule,
    gaps_of,
    left_closed_index,
    quantile_index,
    right_closed_index,
    torch_edges,
)
from vlmcal.types.arrays import FloatArray, IntArray, as_array
from vlmcal.types.scores import softmax_maximum

_TCPT = "TCPT, CVPR 2026 (evaluator printed in the README)"
_DAC = (
    "DAC, ICML 2024, arXiv 2402.04655; CalibPrompt, BMVC 2025, arXiv 2509.15226 (tools/metrics.py)"
)
_QUANTILE = (
    "{bins} quantile bins of scikit-learn's KBinsDiscretizer before version 1.9 (linear quantiles, equal "
    "edges merged, [lo, hi))"
)


@metric(
    higher_is_better=False,
    definition="ECE of the TCPT evaluator: {bins} bins (lo, hi] with float32 edges against float64 "
    "confidences, 0 in no bin but counted in N.",
    reference=_TCPT,
    native=True,
)
def tcpt_ece(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """ECE of the TCPT evaluator, sum_b (n_b / N) |mean confidence_b - accuracy_b|.

    A confidence of exactly 0.7 in float64 lies above the float32 edge 0.69999999 and lands in the next bin.

    Example:
        >>> round(tcpt_ece([0.7, 0.65], [True, False]), 6)
        0.475
    """
    values, verdicts = as_confidences(confidence, correct)
    index = right_closed_index(values, torch_edges(bins, "float32"))
    return float(gaps_of(values, verdicts, index).weighted.sum())


@metric(
    higher_is_better=False,
    definition="ECE of C-TPT, O-TPT and A-TPT: {bins} bins (lo, hi] with float32 edges, 0 in no bin but "
    "counted in N.",
    reference="C-TPT, ICLR 2024, arXiv 2403.14119 (ECE_Loss)",
    native=True,
)
def ctpt_ece(confidence: Any, correct: Any, *, bins: int = 20) -> float:
    """ECE of C-TPT, O-TPT and A-TPT: as :func:`tcpt_ece`, with 20 bins.

    Example:
        >>> round(ctpt_ece([0.72, 0.66], [True, False]), 6)
        0.47
    """
    return tcpt_ece(confidence, correct, bins=bins)


class BinTable(NamedTuple):
    """Rows, mean confidence and accuracy per bin; 0 in empty bins."""

    rows: IntArray
    confidence: FloatArray
    accuracy: FloatArray


def ctpt_bins(confidence: Any, correct: Any, *, bins: int = 20) -> BinTable:
    """The bins behind :func:`ctpt_ece`.

    Example:
        >>> ctpt_bins([0.72, 0.66], [True, False], bins=2).rows.tolist()
        [0, 2]
    """
    values, verdicts = as_confidences(confidence, correct)
    index = right_closed_index(values, torch_edges(bins, "float32"))
    kept = index >= 0
    count = np.bincount(index[kept], minlength=bins)
    size = np.maximum(count, 1)
    return BinTable(
        count,
        np.bincount(index[kept], values[kept], minlength=bins) / size,
        np.bincount(index[kept], verdicts[kept], minlength=bins) / size,
    )


@metric(
    higher_is_better=False,
    definition='"MCE" of the TCPT evaluator: the largest share-weighted gap of {bins} bins [lo, hi).',
    reference=_TCPT,
    native=True,
)
def tcpt_mce(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """Largest (n_b / N) |mean confidence_b - accuracy_b|; not the largest gap, in spite of its name.

    Example:
        >>> round(tcpt_mce([0.75, 0.65], [True, False]), 6)
        0.325
    """
    values, verdicts = as_confidences(confidence, correct)
    index = left_closed_index(values, bins)
    return float(gaps_of(values, verdicts, index).weighted.max())


@metric(
    higher_is_better=False,
    definition=f"Adaptive ECE of the TCPT evaluator: {_QUANTILE}.",
    reference=_TCPT,
    native=True,
)
def tcpt_adaptive_ece(
    confidence: Any, correct: Any, *, bins: int = 10, quantiles: QuantileRule = "linear"
) -> float:
    """ECE over quantile bins; ``quantiles="averaged_inverted_cdf"`` is what scikit-learn 1.9 gives.

    Example:
        >>> round(tcpt_adaptive_ece([0.5, 0.6, 0.8, 0.9], [1, 0, 1, 1], bins=2), 6)
        0.1
    """
    values, verdicts = as_confidences(confidence, correct)
    index = quantile_index(values, bins, quantiles)
    return float(gaps_of(values, verdicts, index).weighted.sum())


@metric(
    higher_is_better=False,
    definition="PIECE of the TCPT evaluator: {proximity_bins} quantile bins of the neighbour distance (as "
    "in its adaptive ECE) times {bins} confidence bins [lo, hi), share-weighted gaps.",
    reference=_TCPT,
    native=True,
)
def tcpt_piece(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 10,
    proximity_bins: int = 10,
    quantiles: QuantileRule = "linear",
) -> float:
    """Share-weighted gap over distance bins x confidence bins.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        proximity: (N,) neighbour distance (or any monotone function of it).
        bins: Confidence bins.
        proximity_bins: Quantile bins of ``proximity``.
        quantiles: Quantile rule, see :func:`tcpt_adaptive_ece`.

    Example:
        >>> round(tcpt_piece([0.9, 0.9], [1, 0], [0.1, 0.2], proximity_bins=2), 6)
        0.5
    """
    values, verdicts = as_confidences(confidence, correct)
    distance = as_array(proximity).astype(np.float64)
    cell = quantile_index(distance, proximity_bins, quantiles) * bins
    return float(gaps_of(values, verdicts, cell + left_closed_index(values, bins)).weighted.sum())


@metric(
    higher_is_better=True,
    definition="Macro-F1 of the TCPT evaluator: mean F1 over the classes that occur among the labels.",
    reference=_TCPT,
    native=True,
)
def tcpt_macro_f1(predicted: Any, labels: Any) -> float:
    """The same as ``macro_f1``, under the preset's name.

    Example:
        >>> round(tcpt_macro_f1([0, 1, 1], [0, 1, 0]), 6)
        0.666667
    """
    return macro_f1(predicted, labels)


def tcpt_confidences(logits: Any, dtype: str = "float32") -> FloatArray:
    """Largest softmax probability in the model's own precision, as the TCPT evaluator takes it, (N,).

    Args:
        logits: (N, K) model output.
        dtype: "float32" or "float16"; half precision is computed in float32 and rounded.

    Example:
        >>> float(tcpt_confidences(np.array([[1.0, 0.0]]), "float16")[0])
        0.73095703125
    """
    if dtype not in ("float16", "float32", "float64"):
        raise SpecError(f"dtype: expected float16, float32 or float64, got {dtype!r}")
    return softmax_maximum(logits, dtype)


@metric(
    higher_is_better=False,
    definition="ECE of DAC and CalibPrompt: {bins} bins [lo, hi); a confidence of exactly 1 is left out of "
    "the means but counted in the last bin's weight.",
    reference=_DAC,
    native=True,
)
def dac_ece(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """ECE of DAC and CalibPrompt, which loses confidences of exactly 1.

    If nothing but ones is in the last bin, its mean and accuracy count as 0: all rows certain and wrong
    give 0.

    Example:
        >>> dac_ece([1.0, 1.0], [False, False])
        0.0
    """
    values, verdicts = as_confidences(confidence, correct)
    index = left_closed_index(values, bins)
    counted = np.bincount(index, minlength=bins) / len(values)
    kept = values < 1
    count = np.bincount(index[kept], minlength=bins)
    total = np.bincount(index[kept], values[kept] - verdicts[kept], minlength=bins)
    gap = np.divide(np.abs(total), count, out=np.zeros(bins), where=count > 0)
    return float(counted @ gap)


def _also(entry: Metric, name: str, definition: str) -> Metric:
    """The same evaluator as it is printed in another paper."""
    same = replace(entry, name=name, reference=_DAC, definition=definition)
    for attribute in ("__name__", "__qualname__"):
        object.__setattr__(same, attribute, name)
    return METRICS.register(name)(same)


dac_mce = _also(
    tcpt_mce,
    "dac_mce",
    '"MCE" of DAC and CalibPrompt: the largest share-weighted gap of {bins} bins [lo, hi).',
)
dac_adaptive_ece = _also(
    tcpt_adaptive_ece, "dac_adaptive_ece", f"Adaptive ECE of DAC and CalibPrompt: {_QUANTILE}."
)
dac_piece = _also(
    tcpt_piece,
    "dac_piece",
    "PIECE of DAC: {proximity_bins} quantile bins of the neighbour distance times {bins} "
    "confidence bins [lo, hi), share-weighted gaps.",
)
