"""Calibrated propensity scores, effects weighted by them, and whether these can be trusted."""

from vlmcal._lazy import lazy

lazy(__name__)
