"""Methods for findings that do not exclude each other: calibration one by one, sets that miss few."""

from vlmcal._lazy import lazy

lazy(__name__)
