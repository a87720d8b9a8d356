"""Refine, then calibrate: choose the epoch by the loss that is left after recalibration."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from vlmcal.calibrators.base import CalibrationWarning, Calibrator
from vlmcal.calibrators.losses import Loss, mean_loss
from vlmcal.calibrators.mixture import default_refine
from vlmcal.errors import SpecError
from vlmcal.posthoc.cross_fit import cross_fit
from vlmcal.types.folds import Groups
from vlmcal.types.predictions import Predictions


@dataclass(frozen=True)
class Refinement:
    """A proper loss split in two.

    Attributes:
        loss: Mean loss of the scores as they are.
        refinement: Mean loss after recalibration: what calibration cannot repair.
    """

    loss: float
    refinement: float

    @property
    def calibration(self) -> float:
        """``loss - refinement``: what recalibration gains; negative if it does harm."""
        return self.loss - self.refinement


@dataclass(frozen=True)
class RefinementChoice:
    """The chosen candidate and why.

    Attributes:
        name: The candidate with the smallest refinement.
        table: Refinement of every candidate, in the given order.
        by_loss: What the smallest raw loss would have chosen, for comparison.
        calibrator: The recalibration that it was chosen with (or what was asked for), fitted on the chosen
            candidate's rows.
    """

    name: str
    table: Mapping[str, Refinement]
    by_loss: str
    calibrator: Calibrator


def refinement(
    predictions: Predictions,
    *,
    loss: Loss = "nll",
    refine: Calibrator | None = None,
    folds: int | None = None,
    groups: Groups = None,
    seed: int = 0,
) -> Refinement:
    """Split the validation loss into refinement and calibration error by recalibrating.

    ``refinement = loss after refine``, ``calibration = loss - refinement``.

    Args:
        predictions: Validation rows.
        loss: "nll" (nats) or "brier".
        refine: The recalibration; by default temperature scaling mixed with 1/(n + 1) of uniform, which has
            one parameter and may be fitted and measured on the same rows. Flexible ones need folds.
        folds: Number of folds, or None to recalibrate and measure on all rows.
        groups: As in :func:`~vlmcal.posthoc.cross_fit.cross_fit`.
        seed: Seed of the folds.

    Source: Berta, Holzmueller, Jordan and Bach, Rethinking early stopping: refine, then calibrate, 2025,
    arXiv 2501.19195.

    Example:
        >>> from vlmcal.calibrators.temperature import Temperature
        >>> p = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1])
        >>> split = refinement(p, refine=Temperature())
        >>> round(split.loss, 4), round(split.refinement, 4)       # the entropy of (3/4, 1/4) is left
        (0.6269, 0.5623)
    """
    chosen = default_refine() if refine is None else refine
    with warnings.catch_warnings():
        # Early epochs are poor on purpose; that their temperature has no optimum is no news.
        warnings.simplefilter("ignore", CalibrationWarning)
        if folds is None:
            refined = chosen.fresh().fit_transform_same(predictions)
        else:
            refined = cross_fit(chosen, predictions, folds=folds, groups=groups, seed=seed)
    return Refinement(mean_loss(predictions, loss), mean_loss(refined, loss))


def choose_by_refinement(
    candidates: Mapping[str, Predictions],
    *,
    loss: Loss = "nll",
    refine: Calibrator | None = None,
    calibrate: Calibrator | None = None,
    folds: int | None = None,
    groups: Groups = None,
    seed: int = 0,
) -> RefinementChoice:
    """Choose an epoch (or any hyper-parameter) by validation refinement, and fit its calibrator.

    The raw validation loss stops training early because calibration deteriorates first; that part is
    repairable, so it should not decide.

    Args:
        candidates: Validation predictions by name ("epoch 3"), all on the same rows.
        loss: "nll" or "brier".
        refine: See :func:`refinement`.
        calibrate: What to fit on the chosen rows; by default what it was chosen with.
        folds: See :func:`refinement`.
        groups: See :func:`refinement`.
        seed: See :func:`refinement`.

    Raises:
        SpecError: No candidates.
        SplitError: A candidate is test data.

    Example:
        >>> sharp = Predictions(logits=[[9.0, 0.0]] * 3 + [[1.0, 0.0]], labels=[0, 0, 0, 1])
        >>> dull = Predictions(logits=[[0.5, 0.0]] * 4, labels=[0, 0, 0, 1])
        >>> choice = choose_by_refinement({"epoch 1": dull, "epoch 9": sharp})
        >>> choice.name, choice.calibrator.name
        ('epoch 9', 'mixture')
    """
    if not candidates:
        raise SpecError("choose_by_refinement: expected at least one candidate, got none")
    refine = default_refine() if refine is None else refine
    table = {
        name: refinement(rows, loss=loss, refine=refine, folds=folds, groups=groups, seed=seed)
        for name, rows in candidates.items()
    }
    best = min(table, key=lambda name: table[name].refinement)
    by_loss = min(table, key=lambda name: table[name].loss)
    final = refine if calibrate is None else calibrate
    return RefinementChoice(best, table, by_loss, final.fresh().fit(candidates[best]))
