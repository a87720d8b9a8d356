"""Work behind ``vlmcal calibrate compare``: every calibrator that fits the data, and what became of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcal.cli import arguments, held_out

if TYPE_CHECKING:
    from vlmcal.calibrators.base import Calibrator
    from vlmcal.calibrators.losses import Loss
    from vlmcal.metrics import Evaluation
    from vlmcal.report.posthoc import Outcome
    from vlmcal.types.estimate import Estimate
    from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "nll", "brier")


def require_classes(
    calibrator: "Calibrator", rows: "Predictions", path: Path, allow_absent: bool
) -> None:
    from vlmcal.errors import DataError

    if allow_absent or calibrator._takes_any_classes():
        return
    message = held_out.absent_message(rows, f'"{calibrator.name}"')
    if message:
        raise DataError(f"{path}: {message}")


def all_outcomes(
    fitting: "Predictions",
    before: "Predictions",
    names: list[str] | None,
    criterion: str,
    folds: int,
    seed: int,
    val: Path,
    allow_absent: bool,
) -> "list[Outcome]":
    """All calibrators, best cross-validated loss first; those that do not fit the data last."""
    from vlmcal.calibrators.base import CALIBRATORS, make
    from vlmcal.calibrators.compare import ComparisonRow
    from vlmcal.cli.console import Progress
    from vlmcal.errors import DataError, SplitError
    from vlmcal.report.posthoc import UNCALIBRATED, Outcome

    wanted = CALIBRATORS.names() if names is None else list(dict.fromkeys([UNCALIBRATED, *names]))
    progress, outcomes = Progress(), []
    for count, name in enumerate(wanted, start=1):
        progress.show(f"[{count}/{len(wanted)}] {name}")
        try:
            require_classes(make(name), fitting, val, allow_absent)
            outcomes.append(_outcome(name, fitting, before, criterion, folds, seed))
        except SplitError:
            progress.clear()
            raise
        except DataError as error:
            if names is not None or name == UNCALIBRATED:
                progress.clear()
                raise
            outcomes.append(Outcome(ComparisonRow(name, notes=str(error))))
    progress.clear()

    def order(outcome: "Outcome") -> tuple[bool, float, str]:
        loss = outcome.row.cross_validated
        return loss is None, 0.0 if loss is None else loss, outcome.name

    return sorted(outcomes, key=order)


def _outcome(
    name: str,
    fitting: "Predictions",
    before: "Predictions",
    criterion: Any,
    folds: int,
    seed: int,
) -> "Outcome":
    import warnings

    from vlmcal.calibrators.base import CalibrationWarning
    from vlmcal.calibrators.compare import compare as choose
    from vlmcal.report.posthoc import Outcome

    row: ComparisonRow = choose(
        fitting, None, [name], criterion=criterion, folds=folds, seed=seed
    ).best
    assert row.calibrator is not None
    with warnings.catch_warnings():
        # Groups on both sides are told once, for the chosen calibrator.
        warnings.simplefilter("ignore", CalibrationWarning)
        after = row.calibrator.transform(before)
    changed = float((before.predicted() != after.predicted()).mean())
    return Outcome(row, measure(after, intervals=False, seed=seed), changed)


def paired_changes(before: "Predictions", after: "Predictions", seed: int) -> "dict[str, Estimate]":
    """Paired differences after - before."""
    from vlmcal.metrics import compare as paired

    return {
        name: paired(after, before, name, resamples=300, seed=seed).difference for name in METRICS
    }


def measure(rows: "Predictions", *, intervals: bool = True, seed: int = 0) -> "Evaluation":
    """Accuracy, ECE, NLL and Brier score; without ``intervals`` the last two have none (and cost nothing)."""
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


def write_comparison(
    json_file: Path,
    outcomes: "list[Outcome]",
    criterion: str,
    folds: int,
    val: Path,
    test: Path,
) -> None:
    from vlmcal.experiment.store import write_json

    rows = [
        {
            "calibrator": outcome.name,
            f"cv_{criterion}": outcome.row.cross_validated,
            "test": None if outcome.evaluation is None else outcome.evaluation.to_dict(),
            "changed": outcome.changed,
            "fit_seconds": outcome.row.seconds,
            "notes": outcome.row.notes,
        }
        for outcome in outcomes
    ]
    numbers = {
        "val": str(val),
        "test": str(test),
        "criterion": criterion,
        "folds": folds,
        "chosen": outcomes[0].name,
        "calibrators": rows,
    }
    write_json(json_file, arguments.finite(numbers))
