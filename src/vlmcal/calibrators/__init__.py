"""Maps from scores to calibrated probabilities, fitted on held-out rows."""

from vlmcal._lazy import lazy

lazy(__name__)
