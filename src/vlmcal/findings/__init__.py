"""Methods for findings that do not exclude each other: calibration one by one, sets that miss few."""
