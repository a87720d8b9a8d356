"""Metrics of calibration: ``evaluate`` for a table, plain functions in the module named after each."""

from vlmcal._lazy import lazy

lazy(__name__)
