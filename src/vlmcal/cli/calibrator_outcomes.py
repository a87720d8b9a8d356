"""Work behind ``vlmcal calibrate``: what calibrators do to the rows, measured."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcal.cli.arguments import finite
from vlmcal.cli.held_out import absent_message

if TYPE_CHECKING:
    from vlmcal.calibrators.base import Calibrator
    from vlmcal.calibrators.losses import Loss
    from vlmcal.metrics import Evaluation
    from vlmcal.report.pages.posthoc import Outcome
    from vlmcal.types.estimate import Estimate
    from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "nll", "brier")
RULE = "the simplest within one standard error of the smallest"


@dataclass(frozen=True)
class Choice:
    """How one of several calibrators is chosen.

    Attributes:
        criterion: Loss that chooses.
        folds: Number of folds on the validation rows.
        seed: Seed of folds and intervals.
        allow_absent: Fit what learns something per class although some classes have no row.
    """

    criterion: "Loss" = "nll"
    folds: int = 5
    seed: int = 0
    allow_absent: bool = False


def require_classes(calibrator: "Calibrator", rows: "Predictions", path: Path) -> None:
    """Refuse rows without some class for a calibrator that learns something for each class.

    Raises:
        DataError: Names the absent classes and how to fit all the same.
    """
    from vlmcal.errors import DataError

    if calibrator.takes_any_classes():
        return
    message = absent_message(rows, f'"{calibrator.name}"')
    if message:
        raise DataError(f"{path}: {message}")


def all_outcomes(
    fitting: "Predictions",
    before: "Predictions",
    names: Sequence[str] | None,
    choice: Choice,
    val: Path,
) -> "list[Outcome]":
    """All calibrators, best cross-validated loss first; those that do not fit the data last.

    Args:
        fitting: Validation rows.
        before: Test rows.
        names: Calibrators that must fit the data, or None for all that do.
        choice: How to choose.
        val: File of the validation rows, for messages.

    Raises:
        SplitError: The same rows are in both.
        DataError: A named calibrator does not fit the data.
    """
    from vlmcal.calibrators.base import CALIBRATORS, UNCALIBRATED, CalibrationWarning, make
    from vlmcal.cli.console import Progress
    from vlmcal.errors import DataError, SplitError
    from vlmcal.posthoc.compare import ComparisonRow, compare
    from vlmcal.report.pages.posthoc import Outcome

    wanted = CALIBRATORS.names() if names is None else list(dict.fromkeys([UNCALIBRATED, *names]))
    left_out: list[Outcome] = []
    if not choice.allow_absent:
        for name in list(wanted):
            try:
                require_classes(make(name), fitting, val)
            except DataError as error:
                if names is not None:
                    raise
                wanted.remove(name)
                left_out.append(Outcome(ComparisonRow(name, notes=str(error))))
    progress = Progress()
    try:
        compared = compare(
            fitting,
            None,
            wanted,
            criterion=choice.criterion,
            folds=choice.folds,
            seed=choice.seed,
            leave_out=names is None,
            progress=progress.show,
        )
    finally:
        progress.clear()
    outcomes = []
    for row in compared.rows:
        if row.calibrator is None:
            left_out.append(Outcome(row))
            continue
        with warnings.catch_warnings():
            # What is told of the fit and of groups on both sides is told once.
            warnings.simplefilter("ignore", CalibrationWarning)
            try:
                after = row.calibrator.transform(before)
            except DataError as error:
                if names is not None or isinstance(error, SplitError):
                    raise
                left_out.append(Outcome(replace(row, notes=str(error))))
                continue
        changed = float((before.predicted() != after.predicted()).mean())
        outcomes.append(Outcome(row, measure(after, intervals=False, seed=choice.seed), changed))
    return [*outcomes, *left_out]


def measure(rows: "Predictions", *, intervals: bool = True, seed: int = 0) -> "Evaluation":
    """Accuracy, ECE, NLL and Brier score; without ``intervals`` no bootstrap for the last two."""
    from vlmcal.metrics import evaluate

    if intervals:
        return evaluate(rows, METRICS, seed=seed)
    exact = evaluate(rows, METRICS[:2], seed=seed)
    plain = evaluate(rows, METRICS[2:], intervals=False)
    return replace(
        exact,
        estimates={**exact.estimates, **plain.estimates},
        definitions={**exact.definitions, **plain.definitions},
    )


def paired_changes(before: "Predictions", after: "Predictions", seed: int) -> "dict[str, Estimate]":
    """Paired differences after - before by metric, with their intervals."""
    from vlmcal.metrics import compare

    return {
        name: compare(after, before, name, resamples=300, seed=seed).difference for name in METRICS
    }


def chosen_of(outcomes: "Sequence[Outcome]") -> "Outcome":
    """The simplest calibrator within one standard error of the best."""
    from vlmcal.posthoc.compare import simplest

    measured = {outcome.name: outcome for outcome in outcomes if outcome.evaluation is not None}
    return measured[simplest(outcome.row for outcome in measured.values()).name]


def comparison_numbers(outcomes: "Sequence[Outcome]", choice: Choice) -> dict[str, Any]:
    """A comparison as JSON data."""
    rows = [
        {
            "calibrator": outcome.name,
            f"cv_{choice.criterion}": outcome.row.cross_validated,
            "cv_error": outcome.row.error,
            "test": None if outcome.evaluation is None else outcome.evaluation.to_dict(),
            "changed": outcome.changed,
            "fit_seconds": outcome.row.seconds,
            "notes": outcome.row.notes,
        }
        for outcome in outcomes
    ]
    head = {
        "criterion": choice.criterion,
        "folds": choice.folds,
        "chosen": chosen_of(outcomes).name,
        "rule": RULE,
    }
    numbers: dict[str, Any] = finite({**head, "calibrators": rows})
    return numbers
