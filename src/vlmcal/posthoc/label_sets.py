"""All conformal methods on the same rows: what their sets of labels deliver."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.conformal.quantile import require_alpha, too_few
from vlmcal.errors import DataError
from vlmcal.metrics import Evaluation, evaluate
from vlmcal.option_text import labelled
from vlmcal.posthoc.attempt import fit_and_apply, require_classes
from vlmcal.types.array_rows import fitting_and_test
from vlmcal.types.arrays import Numbers
from vlmcal.types.measurable import Scores
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import warn_shared
from vlmcal.types.shown import Shown, plural

METRICS = (
    "coverage",
    "mean_set_size",
    "coverage_gap",
    "worst_class_coverage",
    "size_stratified_violation",
    "singleton_sets",
    "empty_sets",
    "full_sets",
)


@dataclass(frozen=True)
class SetRow:
    """What happened to one conformal method.

    Attributes:
        name: As it was asked for.
        guarantee: What it promises ("marginal", "per class", ...); "" when it was left out.
        evaluation: Measured on its sets; None when it was left out, and where they have no labels.
        sets: Of the test rows; None when it was left out.
        notes: What the fit says, or why it was left out.
        predictor: Fitted; None when it was left out.
    """

    name: str
    guarantee: str = ""
    evaluation: Evaluation | None = None
    sets: PredictionSets | None = None
    notes: str = ""
    predictor: ConformalPredictor | None = None

    @classmethod
    def of(
        cls,
        predictor: ConformalPredictor,
        sets: PredictionSets,
        name: str = "",
        *,
        metrics: Sequence[str] = METRICS,
        level: float = 0.95,
        seed: int = 0,
    ) -> Self:
        """What a fitted method's sets deliver.

        Args:
            predictor: What made them.
            sets: Measured where they have labels.
            name: As it was asked for; the registry name by default.
            metrics: What to measure.
            level: Of the intervals.
            seed: Of the intervals.
        """
        measured = evaluate(sets, metrics, level=level, seed=seed) if sets.labelled else None
        notes = "; ".join(sets.provenance["messages"])
        return cls(name or predictor.name, predictor.guarantee, measured, sets, notes, predictor)


@dataclass(frozen=True, repr=False)
class SetComparison(Shown):
    """Results of :func:`conformal_sets`.

    Attributes:
        rows: In the order asked for, then those left out.
        alpha: The target miscoverage.
    """

    rows: tuple[SetRow, ...]
    alpha: float

    def __getitem__(self, name: str) -> SetRow:
        return {row.name: row for row in self.rows}[name]

    def shown(self) -> tuple[str, Sequence[Sequence[str]]]:
        """Coverage and size of each method."""
        lines: list[tuple[str, ...]] = [("method", "guarantee", "coverage", "mean size")]
        for row in self.rows:
            if row.sets is not None and row.predictor is not None:
                covered = f"{row.sets.covered().mean():.3f}" if row.sets.labelled else "-"
                size = f"{row.sets.sizes().mean():.3f}"
                lines.append((row.name, row.predictor.guarantee, covered, size))
        title = (
            f"Label sets: {plural(len(lines) - 1, 'method')}, target coverage {1 - self.alpha:g}"
        )
        return title, lines


def conformal_sets(
    calibration: Predictions | Numbers,
    test: Predictions | Numbers,
    alpha: float = 0.1,
    methods: str
    | Mapping[str, Any]
    | Iterable[str | Mapping[str, Any] | ConformalPredictor]
    | ConformalPredictor
    | None = None,
    *,
    labels: Any = None,
    test_labels: Any = None,
    scores: Scores | None = None,
    groups: Any = None,
    test_groups: Any = None,
    metrics: Sequence[str] = METRICS,
    level: float = 0.95,
    seed: int = 0,
    fit: Callable[[ConformalPredictor, Predictions, float], object] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SetComparison:
    """Fit every conformal method on the calibration rows, form the sets of the test rows, and measure these.

    Choosing the best of several methods by these numbers needs yet other rows to report it on.

    Args:
        calibration: Held-out rows: Predictions, or plain class scores (lists, NumPy, pandas, tensors) with
            ``labels``.
        test: Other rows, likewise. Without labels they get their sets, and nothing is measured.
        alpha: Target miscoverage in (0, 1).
        methods: One or several: names, also with options ("raps(penalty=0.1)" or {"name": "raps", "penalty":
            0.1}), or predictors that are built, also by a name of your own in a mapping; None or
            "all" for all. Of all, a method that lacks what it needs is left out with the reason; a named one
            raises.
        labels: Of plain calibration scores, (N,): class numbers or names.
        test_labels: Of plain test scores, likewise.
        scores: What plain scores are: "logits", "log_probs" or "probs".
        groups: Patient or slide of each row of plain calibration scores, (N,), or None.
        test_groups: Likewise, of plain test scores.
        metrics: What to measure.
        level: Of the intervals.
        seed: Of the intervals.
        fit: How to fit, where more is to be checked than :meth:`ConformalPredictor.fit` does.
        progress: Called with the name of each method before it is fitted.

    Raises:
        SplitError: The calibration rows are test data, or rows occur in both.
        SpecError: A method is not known, or alpha is outside (0, 1).
        DataError: A named method lacks what it needs, or none is left.

    Example:
        >>> rows = Predictions(logits=[[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], labels=[0, 1, 0], ids=list("abc"))
        >>> new = Predictions(logits=[[5.0, 0.0]], labels=[0], ids=["d"])
        >>> found = conformal_sets(rows, new, 0.3, ["lac", "topk"])
        >>> [row.sets.sizes().tolist() for row in found.rows]
        [[1], [1]]
        >>> scores = [[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]
        >>> found = conformal_sets(scores, [[5.0, 0.0]], 0.3, ["lac"], labels=[0, 1, 0], scores="logits")
        >>> found["lac"].sets.sizes().tolist(), found["lac"].evaluation
        ([1], None)
    """
    target = require_alpha(alpha)
    fitting, others = fitting_and_test(
        *(calibration, test),
        labels=labels,
        test_labels=test_labels,
        scores=scores,
        groups=groups,
        test_groups=test_groups,
    )
    if not isinstance(fitting, Predictions) or not isinstance(others, Predictions):
        raise DataError("conformal_sets: expected class scores (N, K), got one confidence per row")
    warn_shared(fitting, others)
    every = methods is None or methods == "all"
    if isinstance(methods, Mapping) and not isinstance(methods.get("name"), str):
        made = {name: predictor.fresh() for name, predictor in methods.items()}
    else:
        named = labelled(CONFORMAL.names() if every else methods or ())
        made = {name: ConformalPredictor.made(each) for name, each in named.items()}
    found, left_out = [], []
    for name, predictor in made.items():
        if progress is not None:
            progress(name)
        fitting_it = partial(fit or type(predictor).fit, predictor, fitting, target)
        (made_sets,) = fit_and_apply(
            fitting_it, predictor.predict, [others], DataError if every else ()
        )
        if made_sets.result is None:
            left_out.append(SetRow(name, notes=made_sets.notes))
            continue
        sets = made_sets.result
        found.append(SetRow.of(predictor, sets, name, metrics=metrics, level=level, seed=seed))
    if not found:
        raise DataError(left_out[0].notes if left_out else "expected at least one method, got none")
    return SetComparison((*found, *left_out), target)


def fit_usefully(
    predictor: ConformalPredictor, rows: Predictions, alpha: float, *, allow_absent: bool = False
) -> ConformalPredictor:
    """Fit; refuse what could only give sets of all classes.

    Args:
        predictor: Is fitted.
        rows: Held-out rows.
        alpha: Target miscoverage in (0, 1).
        allow_absent: Take rows without some class for a method that promises something for each class.

    Raises:
        DataError: Too few rows (says how many are needed), or a class that needs its own rows has none.
    """
    remedy = "add rows, or choose a larger alpha"
    if message := too_few(len(rows), alpha):
        raise DataError(f"{message}; {remedy}")
    if predictor.guarantee in ("per class", "per cluster") and not allow_absent:
        require_classes(rows, predictor.name)
    predictor.fit(rows, alpha)
    if predictor.guarantee != "selective risk" and _only_full_sets(predictor):
        why = "; ".join(predictor.messages_) or "every threshold is infinite"
        raise DataError(f"{why}, so every set would hold all classes; {remedy}")
    return predictor


def _only_full_sets(predictor: ConformalPredictor) -> bool:
    for name in ("threshold_", "thresholds_"):
        thresholds = getattr(predictor, name, None)
        if thresholds is not None:
            return bool(np.isposinf(thresholds).all())
    return False
