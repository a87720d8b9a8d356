"""Pictures: pure functions from measured numbers to a matplotlib Figure, one module each."""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "reliability_diagram": "reliability",
    "smooth_reliability": "smooth",
    "classwise_reliability": "grid",
    "class_reliability": "grid",
    "reliability_grid": "grid",
    "confidence_histogram": "histogram",
    "risk_coverage": "risk",
    "proximity_reliability": "proximity",
    "base_new_overlay": "overlay",
    "before_after": "overlay",
    "to_svg": "svg",
    "save_figure": "svg",
}
__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from vlmcal.report.figures.grid import class_reliability as class_reliability
    from vlmcal.report.figures.grid import classwise_reliability as classwise_reliability
    from vlmcal.report.figures.grid import reliability_grid as reliability_grid
    from vlmcal.report.figures.histogram import confidence_histogram as confidence_histogram
    from vlmcal.report.figures.overlay import base_new_overlay as base_new_overlay
    from vlmcal.report.figures.overlay import before_after as before_after
    from vlmcal.report.figures.proximity import proximity_reliability as proximity_reliability
    from vlmcal.report.figures.reliability import reliability_diagram as reliability_diagram
    from vlmcal.report.figures.risk import risk_coverage as risk_coverage
    from vlmcal.report.figures.smooth import smooth_reliability as smooth_reliability
    from vlmcal.report.figures.svg import save_figure as save_figure
    from vlmcal.report.figures.svg import to_svg as to_svg


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"vlmcal.report.figures.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'vlmcal.report.figures' has no attribute {name!r}")
