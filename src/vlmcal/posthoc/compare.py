"""All calibrators on the same rows: a table, and a choice that never looks at the test rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, UNCALIBRATED, Calibrator, make, scalar_calibrators
from vlmcal.calibrators.losses import Loss, proper_losses, row_losses
from vlmcal.errors import DataError, SpecError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.metrics import Evaluation
from vlmcal.option_text import labelled
from vlmcal.posthoc.attempt import attempt, require_classes
from vlmcal.posthoc.cross_fit import Losses, keeping, out_of_fold_losses
from vlmcal.types.array_rows import fitting_and_test
from vlmcal.types.arrays import FloatArray, Numbers, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import standard_error
from vlmcal.types.folds import Groups
from vlmcal.types.measurable import Scores
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import warn_shared
from vlmcal.types.shown import Shown, plural
from vlmcal.types.split import require_fittable

Rows = TypeVar("Rows", Predictions, Confidences)
RULE = "the simplest within one standard error of the smallest"


@dataclass(frozen=True)
class ComparisonRow:
    """What happened to one calibrator.

    Attributes:
        name: Registry name.
        cross_validated: Mean out-of-fold loss on the validation rows; None when it was left out.
        error: Standard error of the difference between that and the smallest one, paired by row (by group
            where rows have groups); 0 for the smallest one itself.
        test: Measured values on the test rows, by name.
        calibrator: Fitted on all validation rows; None when it was left out.
        seconds: Time of that fit.
        changed: Share of test rows whose predicted class changed.
        evaluation: What was measured on the test rows, where that is more than values.
        notes: Warnings of the fit, or why it was left out.
    """

    name: str
    cross_validated: float | None = None
    error: float | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    calibrator: Calibrator | None = None
    seconds: float = 0.0
    changed: float = 0.0
    notes: str = ""
    evaluation: Evaluation | None = None


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

    @property
    def chosen(self) -> ComparisonRow:
        """The simplest calibrator within one standard error of the best: the one that learned fewest numbers.

        With several calibrators the smallest loss is partly luck, and what is not needed does harm (Hastie,
        Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10).
        """
        return simplest(self.rows)

    def to_rows(self) -> list[dict[str, Any]]:
        """Plain rows for CSV and reports."""
        return [
            self._plain(row, {f"test_{name}": value for name, value in row.test.items()})
            for row in self.rows
        ]

    def _plain(self, row: ComparisonRow, measured: dict[str, Any]) -> dict[str, Any]:
        return {
            "calibrator": row.name,
            f"cv_{self.criterion}": row.cross_validated,
            "cv_error": row.error,
            **measured,
            "changed": row.changed,
            "fit_seconds": row.seconds,
            "notes": row.notes,
        }

    @property
    def left_out(self) -> list[ComparisonRow]:
        """The rows of calibrators that were left out; their notes say why."""
        return [row for row in self.rows if row.cross_validated is None]

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, with what was measured on the test rows."""
        tests = [r.test if r.evaluation is None else r.evaluation.to_dict() for r in self.rows]
        rows = [
            self._plain(row, {"test": dict(t)}) for row, t in zip(self.rows, tests, strict=True)
        ]
        head = {"criterion": self.criterion, "folds": self.folds}
        return {**head, "chosen": self.chosen.name, "rule": RULE, "calibrators": rows}

    def table(self) -> str:
        """The comparison as a Markdown table; calibrators left out are listed below it."""
        head, *body = self._cells()
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(cells) + " |" for cells in body]
        left_out = [f"{row.name}: {row.notes}" for row in self.left_out]
        return "\n".join([*lines, *(["", "Left out:", *left_out] if left_out else [])])

    def shown(self) -> tuple[str, Sequence[Sequence[str]]]:
        """A line per calibrator, best first; those left out are counted."""
        head, *lines = self._cells()
        left_out = len(self.rows) - len(lines)
        title = f"Comparison: {plural(len(lines), 'calibrator')}, {left_out} left out"
        return f"{title}; chosen: {self.chosen.name}", [head, *lines]

    def _cells(self) -> list[list[str]]:
        fitted = [row for row in self.rows if row.cross_validated is not None]
        names = list(dict.fromkeys(name for row in fitted for name in row.test))
        head = [
            "calibrator",
            f"val {self.criterion} ({self.folds}-fold)",
            "SE",
            *names,
            "changed",
            "fit s",
        ]
        lines = [head]
        for row in fitted:
            measured = [row.test.get(name) for name in names]
            values = [row.cross_validated, row.error, *measured, row.changed]
            cells = ["-" if value is None else f"{value:.4f}" for value in values]
            lines.append([row.name, *cells, f"{row.seconds:.3f}"])
        return lines


def simplest(rows: Iterable[ComparisonRow]) -> ComparisonRow:
    """The calibrator of fewest learned numbers among those within one standard error of the best.

    Args:
        rows: The one with the smallest loss first.

    Example:
        >>> from vlmcal.calibrators.identity import Identity
        >>> none = ComparisonRow("none", 0.61, 0.02, calibrator=Identity())
        >>> simplest([ComparisonRow("vector", 0.60, 0.0), none]).name
        'none'
    """
    best, *others = rows
    near = [best]
    for row in others:
        if (
            row.cross_validated is not None
            and row.error is not None
            and best.cross_validated is not None
        ):
            excess = row.cross_validated - best.cross_validated
            near += [row] if np.isfinite(excess) and excess <= row.error else []
    return min(near, key=_simplicity)


def _simplicity(row: ComparisonRow) -> tuple[bool, float, bool, str]:
    if row.calibrator is None:
        return True, 0, True, row.name
    return False, row.calibrator.complexity(), row.name != UNCALIBRATED, row.name


def compare(
    val: Rows | Numbers,
    test: Rows | Numbers | None = None,
    methods: str
    | Mapping[str, Any]
    | Iterable[str | Mapping[str, Any] | Calibrator]
    | Calibrator
    | None = None,
    *,
    labels: Any = None,
    test_labels: Any = None,
    scores: Scores | None = None,
    parameters: Mapping[str, Mapping[str, object]] | None = None,
    criterion: Loss = "nll",
    folds: int = 5,
    groups: Groups | Any = None,
    test_groups: Any = None,
    seed: int = 0,
    evaluate: Callable[[Rows], Mapping[str, float] | Evaluation] = proper_losses,
    leave_out: bool | None = None,
    allow_absent: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Fit every calibrator on the validation rows, rank by cross-validation there, measure on the test rows.

    The ranking and the choice (:attr:`Comparison.chosen`) use out-of-fold validation losses only; the test
    rows are measured, never chosen by.

    Args:
        val: Held-out rows to fit on: Predictions, Confidences, or plain scores (lists, NumPy, pandas,
            tensors) with ``labels``.
        test: Rows to measure on, likewise, or None. Of class scores without labels only ``changed`` is known.
        methods: One or several: names, also with options ("histogram(bins=10)" or {"name": "histogram",
            "bins": 10}), or calibrators that are built; None or "all" for all (that suit
            confidences, where the rows are these). Of all, a calibrator that lacks what it needs (image
            features, a hallucination score) is left out with the reason; a named one raises.
        labels: Of plain fitting scores, (N,): class numbers or names; correctness of confidences.
        test_labels: Of plain test scores, likewise.
        scores: What plain scores are: "logits", "log_probs", "probs" or "confidence".
        parameters: Hyper-parameters by name.
        criterion: "nll" or "brier".
        folds: Number of folds.
        groups: As in :func:`~vlmcal.posthoc.cross_fit.cross_fit`; or, of plain fitting scores, the patient or
            slide of each row, (N,), which are then kept together.
        test_groups: Patient or slide of each row of plain test scores, (N,), or None.
        seed: Seed of the folds.
        evaluate: What to measure on the test rows.
        leave_out: Leave out what does not suit the rows, instead of raising; by default where all are
            asked for.
        allow_absent: False refuses calibrators that learn something for each class where a class has no
            fitting row.
        progress: Called with the name of each calibrator before it is fitted.

    Raises:
        SplitError: The validation rows are test data.
        SpecError: An unknown name, or plain scores without labels.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(400, 3))
        >>> y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        >>> given = {"labels": y[:200], "test_labels": y[200:], "scores": "logits"}
        >>> compare(3 * z[:200], 3 * z[200:], ["none", "temperature"], **given).chosen.name
        'temperature'
        >>> val = Predictions(logits=3 * z[:200], labels=y[:200], ids=[f"v{i}" for i in range(200)])
        >>> test = Predictions(logits=3 * z[200:], labels=y[200:], ids=[f"t{i}" for i in range(200)])
        >>> compare(val, test, ["none", "temperature"]).chosen.name
        'temperature'
    """
    by_groups: Groups = groups if groups is None or isinstance(groups, str) else "groups"  # type: ignore[assignment]
    found = fitting_and_test(
        *(val, test),
        labels=labels,
        test_labels=test_labels,
        scores=scores,
        groups=None if groups is by_groups else groups,
        test_groups=test_groups,
    )
    fitting, others = cast("tuple[Rows, Rows | None]", found)
    require_fittable(fitting.split, "compare")
    scalar = isinstance(fitting, Confidences)
    suited = scalar_calibrators() if scalar else CALIBRATORS.names()
    every = methods is None or methods == "all"
    leave_out = every if leave_out is None else leave_out
    chosen = labelled(suited if every else methods or ())
    if not chosen:
        raise SpecError("compare: expected at least one calibrator, got none")
    given = parameters or {}
    out: type[DataError] | tuple[()] = DataError if leave_out else ()
    unsuited = UnsuitedRowsError if leave_out else ()
    fitting, others = keeping(fitting), None if others is None else keeping(others)
    if isinstance(fitting, Predictions) and isinstance(others, Predictions):
        warn_shared(fitting, others)
    made = {name: make(spec, given.get(name)) for name, spec in chosen.items()}
    absent: dict[str, str] = {}
    if not allow_absent and isinstance(fitting, Predictions):
        absent = _lacking_classes(made, fitting, out)
    tried = {name: calibrator for name, calibrator in made.items() if name not in absent}
    rows: list[ComparisonRow] = []
    crossing = out_of_fold_losses(
        tried, fitting, criterion, folds=folds, groups=by_groups, seed=seed
    )
    with crossing as folded:
        for name, calibrator in made.items():
            if progress is not None:
                progress(name)
            if name in absent:
                rows.append(ComparisonRow(name, notes=absent[name]))
                continue
            row = _row(calibrator, fitting, others, evaluate, unsuited, out)
            rows.append(replace(row, name=name))
        fitted = [row.name for row in rows if row.calibrator is not None]
        crossed = _of_all_folds(folded, fitted, len(fitting), unsuited)
    losses = {name: found for name, found in crossed.items() if isinstance(found, np.ndarray)}
    rows = [_crossed(row, crossed.get(row.name)) for row in rows]
    rows.sort(key=lambda row: (row.cross_validated is None, row.cross_validated or 0.0, row.name))
    group = None if by_groups == "ignore" else fitting.groups
    none = row_losses(fitting, criterion)
    judged = [_judged(row, losses, rows[0].name, none, group) for row in rows]
    return Comparison(tuple(judged), criterion, folds)


def _lacking_classes(
    calibrators: Mapping[str, Calibrator], rows: Predictions, leave_out: type[DataError] | tuple[()]
) -> dict[str, str]:
    """Why a calibrator that learns something for each class is left out, by name."""
    found: dict[str, str] = {}
    for name, calibrator in calibrators.items():
        if not calibrator.takes_any_classes():
            notes = attempt(partial(require_classes, rows, calibrator.name), leave_out).notes
            found |= {name: notes} if notes else {}
    return found


def _of_all_folds(
    folded: Iterable[Losses], names: Iterable[str], n: int, leave_out: type[DataError] | tuple[()]
) -> dict[str, FloatArray | DataError]:
    """Losses of all rows (n,) by name, or why a fold does not suit the calibrator."""
    losses: dict[str, FloatArray | DataError] = {name: np.empty(n) for name in names}
    for inside, found in folded:
        for name, part in found.items():
            whole = losses.get(name)
            if isinstance(whole, np.ndarray) and isinstance(part, np.ndarray):
                whole[inside] = part
            elif whole is not None and isinstance(part, DataError):
                if not isinstance(part, leave_out):
                    raise part
                losses[name] = part
    return losses


def _judged(
    row: ComparisonRow,
    losses: Mapping[str, FloatArray],
    best: str,
    none: FloatArray,
    groups: StrArray | None,
) -> ComparisonRow:
    """The row with its standard error, and a word where it is worse than doing nothing."""
    if row.name not in losses or best not in losses:
        return row
    own = losses[row.name]
    notes = [row.notes] if row.notes else []
    rise = own - none
    if row.name != UNCALIBRATED and rise.mean() > 0:
        error = standard_error(rise, groups)
        by = (
            "without end"
            if np.isinf(error)
            else f"by {rise.mean():.4f} (standard error {error:.4f})"
        )
        notes.append(f"worse than none in cross-validation, {by}")
    return replace(row, error=standard_error(own - losses[best], groups), notes="; ".join(notes))


def _crossed(row: ComparisonRow, found: FloatArray | DataError | None) -> ComparisonRow:
    """The row with its mean out-of-fold loss, or left out where a fold does not suit the calibrator."""
    if found is None:
        return row
    if isinstance(found, DataError):
        return ComparisonRow(row.name, notes=str(found))
    return replace(row, cross_validated=float(found.mean()))


def _row(
    calibrator: Calibrator,
    val: Rows,
    test: Rows | None,
    evaluate: Callable[[Rows], Mapping[str, float] | Evaluation],
    unsuited: type[DataError] | tuple[()],
    leave_out: type[DataError] | tuple[()],
) -> ComparisonRow:
    """Fitted on all validation rows and measured on the test rows; without a calibrator where left out."""
    fit = attempt(lambda: calibrator.fit(val), unsuited)
    if fit.result is None:
        return ComparisonRow(calibrator.name, notes=fit.notes)
    row = ComparisonRow(
        calibrator.name, calibrator=calibrator, seconds=fit.seconds, notes=fit.notes
    )
    if test is None:
        return row
    applied = attempt(lambda: calibrator.transform(test), leave_out)
    after = applied.result
    if after is None:
        return ComparisonRow(calibrator.name, notes=applied.notes)
    if isinstance(test, Predictions) and isinstance(after, Predictions):
        row = replace(row, changed=float(np.mean(test.predicted() != after.predicted())))
    if isinstance(after, Predictions) and not after.labelled:
        return row
    found = evaluate(after)
    if isinstance(found, Evaluation):
        values = {name: estimate.value for name, estimate in found.estimates.items()}
        return replace(row, test=values, evaluation=found)
    return replace(row, test=dict(found))
