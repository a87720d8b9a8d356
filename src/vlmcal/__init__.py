"""Trustworthy confidence for vision-language models. Importing this package does not import torch."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module that defines it; loaded on first use.
_PUBLIC = {
    "Confidences": "vlmcal.types.confidences",
    "Dataset": "vlmcal.types.dataset",
    "Estimate": "vlmcal.types.estimate",
    "Features": "vlmcal.types.features",
    "Predictions": "vlmcal.types.predictions",
    "load_backbone": "vlmcal.backbones",
    "load_predictions": "vlmcal.io.predictions",
    "save_predictions": "vlmcal.io.predictions",
    "evaluate": "vlmcal.metrics",
    "fit": "vlmcal.api",
    "Classifier": "vlmcal.api",
    "run": "vlmcal.api",
}
__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from vlmcal.types.confidences import Confidences as Confidences
    from vlmcal.types.dataset import Dataset as Dataset
    from vlmcal.types.estimate import Estimate as Estimate
    from vlmcal.types.features import Features as Features
    from vlmcal.types.predictions import Predictions as Predictions


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vlmcal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
