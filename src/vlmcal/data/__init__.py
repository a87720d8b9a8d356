"""Data sets, their splits, and what is wrong with them."""

from vlmcal._lazy import lazy

lazy(__name__)
