"""Data sets, their splits, and what is wrong with them."""

from vlmcal.data.base import load_dataset as load_dataset

__all__ = ["load_dataset"]
