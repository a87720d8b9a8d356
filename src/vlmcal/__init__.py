"""Trustworthy confidence for vision-language models. Importing this package does not import torch."""

from vlmcal._lazy import lazy

__version__ = "0.1.0"

lazy(__name__)
