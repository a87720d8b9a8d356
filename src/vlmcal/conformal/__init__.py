"""Prediction sets and selective prediction with finite-sample guarantees."""

from vlmcal._lazy import lazy

lazy(__name__)
