"""Metrics of calibration: ``evaluate`` for a table, plain functions in the module named after each."""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "METRICS": "vlmcal.metrics.base",
    "Metric": "vlmcal.metrics.base",
    "metric": "vlmcal.metrics.base",
    "Evaluation": "vlmcal.metrics.evaluation",
    "evaluate": "vlmcal.metrics.evaluation",
    "PRESETS": "vlmcal.metrics.presets",
    "Bins": "vlmcal.metrics.kit.binning",
    "reliability_bins": "vlmcal.metrics.kit.binning",
    "StreamingBins": "vlmcal.metrics.streaming",
    "Comparison": "vlmcal.metrics.comparison",
    "compare": "vlmcal.metrics.comparison",
}
__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from vlmcal.metrics.base import METRICS as METRICS
    from vlmcal.metrics.base import Metric as Metric
    from vlmcal.metrics.base import metric as metric
    from vlmcal.metrics.comparison import Comparison as Comparison
    from vlmcal.metrics.comparison import compare as compare
    from vlmcal.metrics.evaluation import Evaluation as Evaluation
    from vlmcal.metrics.evaluation import evaluate as evaluate
    from vlmcal.metrics.kit.binning import Bins as Bins
    from vlmcal.metrics.kit.binning import reliability_bins as reliability_bins
    from vlmcal.metrics.presets import PRESETS as PRESETS
    from vlmcal.metrics.streaming import StreamingBins as StreamingBins


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vlmcal.metrics' has no attribute {name!r}")
