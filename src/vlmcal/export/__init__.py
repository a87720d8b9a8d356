"""Trained classifiers in forms that other programs can use."""

from vlmcal._lazy import lazy

lazy(__name__)
