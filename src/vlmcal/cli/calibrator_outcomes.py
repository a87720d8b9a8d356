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
    from vlmcal.calibrators.base import CALIBRATORS, make
    from vlmcal.cli.console import Progress
    from vlmcal.errors import DataError, SplitError
    from vlmcal.posthoc.compare import ComparisonRow
    from vlmcal.report.pages.posthoc import UNCALIBRATED, Outcome

    wanted = CALIBRATORS.names() if names is None else list(dict.fromkeys([UNCALIBRATED, *names]))
    progress, outcomes = Progress(), []
    for count, name in enumerate(wanted, start=1):
        progress.show(f"[{count}/{len(wanted)}] {name}")
        try:
            if not choice.allow_absent:
                require_classes(make(name), fitting, val)
            outcomes.append(_outcome(name, fitting, before, choice))
        except DataError as error:
            if names is not None or name == UNCALIBRATED or isinstance(error, SplitError):
                progress.clear()
                raise
            outcomes.append(Outcome(ComparisonRow(name, notes=str(error))))
    progress.clear()

    def order(outcome: Outcome) -> tuple[bool, float, str]:
        loss = outcome.row.cross_validated
        return loss is None, 0.0 if loss is None else loss, outcome.name

    return sorted(outcomes, key=order)


def _outcome(name: str, fitting: "Predictions", before: "Predictions", choice: Choice) -> "Outcome":
    from vlmcal.calibrators.base import CalibrationWarning
    from vlmcal.posthoc.compare import compare
    from vlmcal.report.pages.posthoc import Outcome

    row = compare(
        fitting,
        None,
        [name],
        criterion=choice.criterion,
        folds=choice.folds,
        seed=choice.seed,
    ).best
    assert row.calibrator is not None
    with warnings.catch_warnings():
        # That groups are on both sides is told once, for the chosen calibrator.
        warnings.simplefilter("ignore", CalibrationWarning)
        after = row.calibrator.transform(before)
    changed = float((before.predicted() != after.predicted()).mean())
    return Outcome(row, measure(after, intervals=False, seed=choice.seed), changed)


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


def comparison_numbers(outcomes: "Sequence[Outcome]", choice: Choice) -> dict[str, Any]:
    """A comparison as JSON data."""
    rows = [
        {
            "calibrator": outcome.name,
            f"cv_{choice.criterion}": outcome.row.cross_validated,
            "test": None if outcome.evaluation is None else outcome.evaluation.to_dict(),
            "changed": outcome.changed,
            "fit_seconds": outcome.row.seconds,
            "notes": outcome.row.notes,
        }
        for outcome in outcomes
    ]
    head = {"criterion": choice.criterion, "folds": choice.folds, "chosen": outcomes[0].name}
    numbers: dict[str, Any] = finite({**head, "calibrators": rows})
    return numbers
