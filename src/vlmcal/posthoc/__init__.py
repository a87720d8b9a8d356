"""Fit every method, cross-validate, measure, choose: for predictions, confidences and sets."""

from vlmcal._lazy import lazy

lazy(__name__)
