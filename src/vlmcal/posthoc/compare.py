"""All calibrators on the same rows: a table, and a choice that never looks at the test rows."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from vlmcal.calibrators.base import (
    CALIBRATORS,
    CalibrationWarning,
    Calibrator,
    make,
    scalar_calibrators,
)
from vlmcal.calibrators.losses import Loss, mean_loss, proper_losses
from vlmcal.errors import SpecError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.posthoc.cross_fit import Groups, cross_fit
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import Shown, plural
from vlmcal.types.split import require_fittable

Rows = TypeVar("Rows", Predictions, Confidences)


@dataclass(frozen=True)
class ComparisonRow:
    """What happened to one calibrator.

    Attributes:
        name: Registry name.
        cross_validated: Mean out-of-fold loss on the validation rows; None when it was left out.
        test: Measured values on the test rows, by name.
        calibrator: Fitted on all validation rows; None when it was left out.
        seconds: Time of that fit.
        changed: Share of test rows whose predicted class changed.
        notes: Warnings of the fit, or why it was left out.
    """

    name: str
    cross_validated: float | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    calibrator: Calibrator | None = None
    seconds: float = 0.0
    changed: float = 0.0
    notes: str = ""


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Results of :func:`compare`.

    Attributes:
        rows: Best cross-validated loss first, then those left out.
        criterion: The loss that chose.
        folds: Number of folds.
    """

    rows: tuple[ComparisonRow, ...]
    criterion: Loss
    folds: int

    @property
    def best(self) -> ComparisonRow:
        """The row with the smallest cross-validated loss on the validation rows."""
        return self.rows[0]

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """A line per calibrator, best first; those left out are counted."""
        fitted = [row for row in self.rows if row.cross_validated is not None]
        names = list(dict.fromkeys(name for row in fitted for name in row.test))
        head = ("calibrator", f"val {self.criterion} ({self.folds}-fold)", *names)
        lines = [
            (row.name, *("" if v is None else f"{v:.4f}" for v in values))
            for row in fitted
            for values in [(row.cross_validated, *(row.test.get(name) for name in names))]
        ]
        left_out = len(self.rows) - len(fitted)
        title = f"Comparison: {plural(len(fitted), 'calibrator')}, {left_out} left out"
        return title, [head, *lines]

    def to_rows(self) -> list[dict[str, object]]:
        """Plain rows for CSV and reports."""
        return [
            {
                "calibrator": row.name,
                f"cv_{self.criterion}": row.cross_validated,
                **{f"test_{name}": value for name, value in row.test.items()},
                "changed": row.changed,
                "fit_seconds": row.seconds,
                "notes": row.notes,
            }
            for row in self.rows
        ]

    def table(self) -> str:
        """The comparison as a Markdown table; calibrators left out are listed below it."""
        fitted = [row for row in self.rows if row.cross_validated is not None]
        names = list(dict.fromkeys(name for row in fitted for name in row.test))
        head = [
            "calibrator",
            f"val {self.criterion} ({self.folds}-fold)",
            *names,
            "changed",
            "fit s",
        ]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for row in fitted:
            values = [row.cross_validated, *(row.test.get(name) for name in names), row.changed]
            cells = ["-" if value is None else f"{value:.4f}" for value in values]
            lines.append("| " + " | ".join([row.name, *cells, f"{row.seconds:.3f}"]) + " |")
        left_out = [f"{row.name}: {row.notes}" for row in self.rows if row.cross_validated is None]
        return "\n".join([*lines, *(["", "Left out:", *left_out] if left_out else [])])


def compare(
    val: Rows,
    test: Rows | None = None,
    names: Literal["all"] | Iterable[str] = "all",
    *,
    parameters: Mapping[str, Mapping[str, object]] | None = None,
    criterion: Loss = "nll",
    folds: int = 5,
    groups: Groups = None,
    seed: int = 0,
    evaluate: Callable[[Rows], Mapping[str, float]] = proper_losses,
) -> Comparison:
    """Fit every calibrator on the validation rows, rank by cross-validation there, measure on the test rows.

    The ranking uses out-of-fold validation losses only; the test rows are measured, never chosen by.

    Args:
        val: Held-out rows to fit on.
        test: Rows to measure on, or None.
        names: "all" (for confidences: all that suit them), or registry names. With "all", a calibrator that
            lacks what it needs (image features, a hallucination score) is left out with the reason; a named
            one raises.
        parameters: Hyper-parameters by name.
        criterion: "nll" or "brier".
        folds: Number of folds.
        groups: As in :func:`~vlmcal.posthoc.cross_fit.cross_fit`.
        seed: Seed of the folds.
        evaluate: What to measure on the test rows.

    Raises:
        SplitError: The validation rows are test data.
        SpecError: An unknown name.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(400, 3))
        >>> y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        >>> val = Predictions(logits=3 * z[:200], labels=y[:200], ids=[f"v{i}" for i in range(200)])
        >>> test = Predictions(logits=3 * z[200:], labels=y[200:], ids=[f"t{i}" for i in range(200)])
        >>> compare(val, test, ["identity", "temperature"]).best.name
        'temperature'
    """
    require_fittable(val.split, "compare")
    scalar = isinstance(val, Confidences)
    suited = scalar_calibrators() if scalar else CALIBRATORS.names()
    chosen = suited if names == "all" else list(names)
    if not chosen:
        raise SpecError("compare: expected at least one calibrator, got none")
    given = parameters or {}
    rows = []
    for name in chosen:
        calibrator = make(name, given.get(name))
        try:
            row = _row(calibrator, val, test, criterion, folds, groups, seed, evaluate)
            rows.append(replace(row, name=name))
        except UnsuitedRowsError as error:
            if names != "all":
                raise
            rows.append(ComparisonRow(name, notes=str(error)))
    rows.sort(key=lambda row: (row.cross_validated is None, row.cross_validated or 0.0, row.name))
    return Comparison(tuple(rows), criterion, folds)


def _row(
    calibrator: Calibrator,
    val: Rows,
    test: Rows | None,
    criterion: Loss,
    folds: int,
    groups: Groups,
    seed: int,
    evaluate: Callable[[Rows], Mapping[str, float]],
) -> ComparisonRow:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CalibrationWarning)
        start = time.perf_counter()
        calibrator.fit(val)
        seconds = time.perf_counter() - start
    notes = "; ".join(dict.fromkeys(str(item.message) for item in caught))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        loss = mean_loss(
            cross_fit(calibrator, val, folds=folds, groups=groups, seed=seed), criterion
        )
    if test is None:
        return ComparisonRow(calibrator.name, loss, {}, calibrator, seconds, 0.0, notes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        after = calibrator.transform(test)
    changed = 0.0
    if isinstance(test, Predictions) and isinstance(after, Predictions):
        changed = float(np.mean(test.predicted() != after.predicted()))
    measured = dict(evaluate(after))
    return ComparisonRow(calibrator.name, loss, measured, calibrator, seconds, changed, notes)
