"""Frozen vision-language models behind one interface; importing this package does not import torch."""

from vlmcal._lazy import lazy

lazy(__name__)
