"""Whether a calibrator may be attached to a model: only where held-out rows do not speak against it."""

import warnings

import numpy as np

from vlmcal.calibrators.base import Calibrator
from vlmcal.calibrators.losses import mean_loss
from vlmcal.errors import DataError
from vlmcal.posthoc.cross_fit import cross_fit
from vlmcal.types.predictions import Predictions

FOLDS = 5


def why_not(calibrator: Calibrator, held_out: Predictions) -> str:
    """Why a calibrator should not be used, or "" where its cross-fitted log-loss is not above the raw one.

    Args:
        calibrator: Its hyper-parameters are used.
        held_out: The labelled rows that it would be fitted on; groups stay together.

    Example:
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> sure = Predictions(logits=[[4.0, 0.0]] * 40, labels=[0, 0, 0, 1] * 10, split="val")
        >>> why_not(Temperature(), sure)
        ''
    """
    name, n = calibrator.name, len(held_out)
    units = n if held_out.groups is None else np.unique(held_out.groups).size
    if units < 2:
        return f"{name} cannot be checked on the {n} held-out rows of {units} group"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a fold warns of, the fit on all rows says again
            calibrated = mean_loss(cross_fit(calibrator, held_out, folds=min(FOLDS, units)), "nll")
    except DataError as error:
        return f"{name} cannot be checked on the {n} held-out rows ({error})"
    raw = mean_loss(held_out, "nll")
    if calibrated <= raw:
        return ""
    return (
        f"{name} raises the cross-validated log-loss of the {n} held-out rows from {raw:.4f} to "
        f"{calibrated:.4f}"
    )
