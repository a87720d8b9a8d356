"""Verdicts flow back: the decided cases of a review as labelled rows, to measure or to calibrate on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmcal.errors import DataError, require_known
from vlmcal.io.predictions import Rows
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.review.case import Case
from vlmcal.review.database import Review
from vlmcal.review.workflow import label_of, same
from vlmcal.types.arrays import StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import Split

_BY = ("site", "deferred")
_CHOSEN = (
    "cases that were decided are rarely a random part of all: the difficult ones come first; see the share "
    "with outcomes in `vlmcal monitor`"
)


def review_rows(
    path: Path | Review, *, split: Split = "test", raw: bool = False, by: Sequence[str] = ()
) -> Rows:
    """Cases with a verdict, as rows with labels.

    A label is the outcome of a case where there is one (`vlmcal review outcomes`), else what its readers
    settled on; "cannot tell" is none. Where all verdicts are classes the rows are class scores; with free
    text among them, or without scores, they are one confidence each, right where the verdict is the model's
    answer.

    Args:
        path: The database, or an open review.
        split: Of the rows.
        raw: Scores as the model gave them, to calibrate on; else as they were shown.
        by: Columns of subgroups: "site", "deferred".

    Raises:
        DataError: No case has a verdict, or no such column.
    """
    review = path if isinstance(path, Review) else Review.open(path)
    for name in by:
        require_known(name, _BY, f"{review.path}: no column", DataError)
    cases, labels, counts = _labelled(review)
    if not cases:
        raise DataError(
            f"{review.path}: no case has a verdict yet; decide some, or add outcomes with "
            "`vlmcal review outcomes`"
        )
    names = tuple(review.about["classes"])
    scored = bool(names) and all(case.p and "scores" in case.raw for case in cases)
    common: dict[str, Any] = {
        "ids": np.array([case.id for case in cases]),
        "groups": np.array([case.group for case in cases]),
        "split": split,
        "provenance": {"review": review.path.name, "log": review.last()[1]},
    }
    data: Predictions | Confidences
    if scored and set(labels) <= set(names):
        data = _predictions(cases, labels, names, raw, common)
    else:
        data = _confidences(cases, labels, raw, common)
    strata: dict[str, StrArray] = {
        "site": np.array([case.site or "none" for case in cases]),
        "deferred": np.array(["yes" if case.reasons else "no" for case in cases]),
    }
    return Rows(
        data, _plan(review, data, counts, raw, tuple(by)), {name: strata[name] for name in by}
    )


def _labelled(review: Review) -> tuple[list[Case], list[str], Mapping[str, int]]:
    """Cases with a label, in the order of the queue."""
    counts = {"outcomes": 0, "decisions of readers": 0}
    cases, labels = [], []
    for each in sorted(review.standing.cases().values(), key=lambda each: each.place):
        if each.outcome is not None:
            label = each.outcome.label
            counts["outcomes"] += 1
        else:
            if not each.verdict.settled or each.verdict.value is None:
                continue
            label = label_of(each.verdict.value)
            counts["decisions of readers"] += 1
        cases.append(each.case)
        labels.append(label)
    return cases, labels, counts


def _predictions(
    cases: Sequence[Case],
    labels: Sequence[str],
    names: tuple[str, ...],
    raw: bool,
    common: Mapping[str, Any],
) -> Predictions:
    place = {name: i for i, name in enumerate(names)}
    index = np.array([place[label] for label in labels])
    if raw:
        scores = np.array([case.raw["scores"] for case in cases], dtype=np.float64)
        kind = cases[0].raw.get("kind", "logits")
    else:
        p = np.array([case.p for case in cases], dtype=np.float64)
        with np.errstate(divide="ignore"):
            scores, kind = np.log(p / p.sum(axis=1, keepdims=True)), "log_probs"
    return Predictions(logits=scores, labels=index, class_names=names, kind=kind, **common)


def _confidences(
    cases: Sequence[Case], labels: Sequence[str], raw: bool, common: Mapping[str, Any]
) -> Confidences:
    given = [case.raw.get("confidence") if raw else case.confidence for case in cases]
    keep = [i for i, value in enumerate(given) if value is not None]
    if not keep:
        raise DataError("no case with a verdict has a confidence")
    right = [same(labels[i], cases[i].predicted) for i in keep]
    rows = {n: v[keep] if n in ("ids", "groups") else v for n, v in common.items()}
    return Confidences(
        confidence=np.array([given[i] for i in keep], dtype=np.float64),
        correct=np.array(right),
        kinds=np.array([cases[i].site or "none" for i in keep]),
        **rows,
    )


def _plan(
    review: Review,
    data: Predictions | Confidences,
    counts: Mapping[str, int],
    raw: bool,
    by: tuple[str, ...],
) -> ReadingPlan:
    told = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
    names = data.class_names if isinstance(data, Predictions) else ()
    what = "of classes" if names else "one confidence each"
    return ReadingPlan(
        file=review.path.name,
        form="review",
        rows=len(data),
        scores=f"{what}, as {'the model gave them' if raw else 'they were shown'}",
        label=told,
        classes=names,
        columns=names,
        rule="as reviewed",
        unit="group",
        by=by,
        notes=(_CHOSEN,),
    )
