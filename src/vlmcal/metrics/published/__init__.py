"""Definitions of published evaluators and libraries, each under its own name."""

from vlmcal.metrics.published import (
    binning,
    evaluators,
    libraries,
    probmetrics,
    smooth_ece,
    verified,
)

__all__ = ["binning", "evaluators", "libraries", "probmetrics", "smooth_ece", "verified"]
