"""What calibration does to test rows: the usual measures before and after, and their paired differences."""

from dataclasses import replace

from vlmcal.metrics import Evaluation, compare, evaluate
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "nll", "brier")


def measure(rows: Predictions, *, intervals: bool = True, seed: int = 0) -> Evaluation:
    """Accuracy, ECE, NLL and Brier score.

    Args:
        rows: Labelled rows.
        intervals: False leaves out those that need a bootstrap, of NLL and Brier score.
        seed: Of the intervals.
    """
    if intervals:
        return evaluate(rows, METRICS, seed=seed)
    exact = evaluate(rows, METRICS[:2], seed=seed)
    plain = evaluate(rows, METRICS[2:], intervals=False)
    return replace(
        exact,
        estimates={**exact.estimates, **plain.estimates},
        definitions={**exact.definitions, **plain.definitions},
    )


def paired_changes(
    before: Predictions, after: Predictions, *, resamples: int = 300, seed: int = 0
) -> dict[str, Estimate]:
    """Paired differences after - before by metric, with their intervals.

    Args:
        before: The rows as they were.
        after: The same rows, calibrated.
        resamples: For the intervals.
        seed: Of the resampling.
    """
    return {
        name: compare(after, before, name, resamples=resamples, seed=seed).difference
        for name in METRICS
    }
