"""Measure and calibrate the confidences of answers, elicitor by elicitor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED, Calibrator, make, scalar_calibrators
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.rows import ElicitorRows, Stratum, elicitor_labels, elicitor_rows
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.metrics import Evaluation, evaluate
from vlmcal.posthoc.attempt import attempt
from vlmcal.posthoc.kind_maps import COMMON, cross_fit_kinds
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import QuestionSet


@dataclass(frozen=True)
class Measured:
    """One elicitor, measured.

    Attributes:
        rows: Its rows.
        parsed: Over rows with answer, verdict and confidence; None where there is none.
        everything: Over all rows; None likewise.
    """

    rows: ElicitorRows
    parsed: Evaluation | None
    everything: Evaluation | None


def measure_answers(
    questions: QuestionSet,
    answers: Sequence[Answer],
    elicitors: Sequence[str] | None = None,
    *,
    metrics: str | Sequence[str] = "answers",
    stratum: Stratum = "answer_type",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Measured]:
    """Every elicitor over parsed and over all rows, in all and by stratum; intervals resample groups.

    Args:
        questions: What was asked.
        answers: Of all elicitors.
        elicitors: Labels; None for all.
        metrics: Preset or names.
        stratum: What rows are divided by.
        level: Of the intervals.
        resamples: For the intervals; 0 for none.
        seed: Of every draw.

    Raises:
        DataError: No such elicitor.
        SpecError: No such metric.
    """
    found = []
    for label in elicitors if elicitors is not None else elicitor_labels(answers):
        rows = elicitor_rows(questions, answers, label, stratum=stratum)
        measure = partial(
            evaluate, metrics=metrics, level=level, resamples=resamples, seed=seed, by_group=True
        )
        parsed = None if rows.parsed is None else measure(rows.parsed)
        if rows.everything is None or _same_rows(rows.parsed, rows.everything):
            everything = None if rows.everything is None else parsed
        else:
            everything = measure(rows.everything)
        found.append(Measured(rows, parsed, everything))
    return found


def _same_rows(parsed: Confidences | None, everything: Confidences) -> bool:
    """Whether nothing is missing, so that both say the same."""
    return parsed is not None and all(
        np.array_equal(getattr(parsed, name), getattr(everything, name))
        for name in ("ids", "confidence", "correct")
    )


@dataclass(frozen=True)
class Repaired:
    """What one calibrator does to the confidences of one elicitor, cross-fitted by group.

    Attributes:
        name: Registry name; "none" is no calibration.
        rows: Calibrated rows; None when it was left out.
        evaluation: Measured on them; None likewise.
        notes: Why it was left out, or what its fits say.
    """

    name: str
    rows: Confidences | None = None
    evaluation: Evaluation | None = None
    notes: str = ""


def repair_answers(
    rows: Confidences,
    names: Sequence[str | Calibrator] | None = None,
    *,
    per_kind: bool | None = None,
    metrics: str | Sequence[str] = "answers",
    folds: int = 5,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Repaired]:
    """Calibrators side by side on out-of-fold rows; folds keep groups (images) together.

    Args:
        rows: Confidence and correctness with groups.
        names: Calibrators or their names; None for all that take scalar confidences. A named one that lacks
            what it reads raises; of all, it is left out with the reason.
        per_kind: None lets cross-validation choose between one map for all kinds of row and maps for each,
            drawn to it more or less, for every calibrator; True fits a map for each kind, False one for all.
        metrics: Preset or names.
        folds: Number of folds.
        level: Of the intervals.
        resamples: For the intervals; 0 for none.
        seed: Of the folds and of every draw.

    Raises:
        DataError: Fewer groups than folds; names the kind of row where one map is fitted for each.
        SpecError: No such calibrator.
    """
    chosen: list[str | Calibrator] = list(names) if names is not None else [*scalar_calibrators()]
    if UNCALIBRATED not in map(_name, chosen):
        chosen.insert(0, UNCALIBRATED)
    results = []
    for each in chosen:
        name = _name(each)
        tried = attempt(
            partial(cross_fit_kinds, make(each), rows, per_kind=per_kind, folds=folds, seed=seed),
            UnsuitedRowsError if names is None else (),
        )
        choice = tried.result
        if choice is None:
            results.append(Repaired(name, notes=tried.notes))
            continue
        measured = evaluate(choice.rows, metrics, level=level, resamples=resamples, seed=seed)
        kinds = [choice.told()] if choice.pull < COMMON else []
        told = "; ".join(text for text in (*kinds, tried.notes) if text)
        results.append(Repaired(name, choice.rows, measured, told))
    return results


def _name(method: str | Calibrator) -> str:
    return method if isinstance(method, str) else method.name
