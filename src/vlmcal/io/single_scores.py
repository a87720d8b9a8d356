"""Tables with one number per row: the score of the positive class, or the confidence of a prediction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, require_known
from vlmcal.io.column_names import (
    CONFIDENCE_NAMES,
    CORRECT_NAMES,
    PREDICTION_NAMES,
    SCALE_WORDS,
    SINGLE_WORDS,
    joined,
    places,
    stated_scale,
    words,
)
from vlmcal.io.label_codes import as_integers, positive_value
from vlmcal.io.raw_predictions import Columns
from vlmcal.io.score_columns import ScoreColumns, Scores
from vlmcal.io.table_files import Table
from vlmcal.io.truth_columns import Truth
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray

_TRUE: Final = ("1", "true", "yes", "t", "y", "1.0", "correct", "right")
_FALSE: Final = ("0", "false", "no", "f", "n", "0.0", "incorrect", "wrong")


class SingleScore(NamedTuple):
    """The score of the positive one of two classes.

    Attributes:
        column: Its column.
        negative: The label value that is negative.
        positive: The label value that is positive.
        rule: Why this column.
    """

    column: str
    negative: str
    positive: str
    rule: str


def lone_score(
    table: Table, labels: Sequence[str], found: ScoreColumns, scores: Scores, columns: Columns
) -> SingleScore | None:
    """The one column with the score of the positive class, or None if there is none or too many classes.

    Named by ``positive``; else the only one whose name holds one of two label values; else the only one
    left, by its scale and its name.

    Raises:
        DataError: The named column does not exist or cannot hold such scores; several columns could; or it
            is not said which label value is positive.
    """
    if columns.positive is None and (len(labels) > 2 or len(columns.known_classes) > 2):
        return None
    column, hint, rule = _column_of(labels, found, scores, columns)
    if column is None:
        return None
    numbers = table.numbers(column)
    signs = scores == "probs" and numbers.form == "percent sign"
    _require_range(column, numbers.values, "percent" if signs else scores)
    given = list(labels) or list(columns.known_classes)
    if not given:
        return SingleScore(column, "0", columns.positive_label or "1", rule)
    negative, positive = positive_value(given, columns.positive_label, hint)
    return SingleScore(column, negative, positive, rule)


def _column_of(
    labels: Sequence[str], found: ScoreColumns, scores: Scores, columns: Columns
) -> tuple[str | None, str, str]:
    named = columns.positive
    if named is not None:
        require_known(named, found.numeric, "--positive: no score column", DataError)
        return named, _label_in(named, labels), "named by --positive"
    inside = {name: label for name in found.sound if (label := _label_in(name, labels))}
    if len(labels) == 2 and len(inside) == 1:
        name, label = next(iter(inside.items()))
        return name, label, f'its name holds the label value "{label}"'
    left = list(found.sound)
    if len(left) > 1:
        wanted = "logits" if scores == "logits" else "probs"
        stated = [name for name in left if stated_scale(name) == wanted]
        usual = [name for name in left if set(words(name)) <= SINGLE_WORDS]
        left = stated if len(stated) == 1 else usual or stated
    if not left:
        return None, "", ""
    if len(left) > 1:
        raise DataError(
            f"which column holds the score of the positive class: {', '.join(left)}? Name it with --positive"
        )
    only = len(found.sound) == 1
    return left[0], "", "the only score column" if only else "the column named like one"


def _label_in(column: str, labels: Sequence[str]) -> str:
    """The label value that the name of a column holds beside words of scale, or ""."""
    fits = []
    for label in labels:
        inner = words(label)
        if not inner or label.isdecimal():
            continue
        around = places(words(column), inner)
        fits += [label for p in around if {*p.before, *p.after} <= SCALE_WORDS]
    return fits[0] if len(set(fits)) == 1 else ""


def _require_range(column: str, values: FloatArray, scores: Scores) -> None:
    known = values[np.isfinite(values)]
    low, high = float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))
    if scores == "logits":
        if low >= 0 and high <= 1:
            raise DataError(
                f'column "{column}" lies in 0 to 1: these are probabilities of one class; pass --probs '
                '(scores="probs") instead of --logits'
            )
        if low >= 0 and 20 < high <= 100:
            raise DataError(
                f'column "{column}" holds {low:.4g} to {high:.4g} and nothing below 0: no logits of one '
                'class. If these are percentages, pass --percent (scores="percent") instead of --logits'
            )
        return
    top = 100.0 if scores == "percent" else 1.0
    if low >= 0 and high <= top:
        return
    text = f'column "{column}" holds {low:.4g} to {high:.4g}, outside 0 to {top:g}'
    if low >= 0 and high <= 100:
        raise DataError(f"{text}. If these are percentages, pass --percent")
    if low < 0:
        raise DataError(f"{text}. These look like logits of one class; pass --logits")
    raise DataError(f"{text}: no probabilities")


class TopLabel(NamedTuple):
    """One prediction per row with its confidence.

    Attributes:
        confidence: (N,).
        correct: (N,) whether the prediction is right.
        rule: Which columns these are.
        label: Where the verdicts come from.
        used: Columns that are taken.
    """

    confidence: FloatArray
    correct: BoolArray
    rule: str
    label: str
    used: tuple[str, ...]


def top_label_table(
    table: Table, truth: Truth, found: ScoreColumns, scores: Scores, columns: Columns
) -> TopLabel | None:
    """A table of predictions with one confidence each, or None if it is of another kind.

    It has a column of confidences, and a column of verdicts or one of predictions beside the labels, and no
    column that could be the score of a class.
    """
    if truth.used and joined(truth.used[0]) in CORRECT_NAMES:
        truth, found = _verdicts(truth, found)
    said = (columns.class_names, columns.prefix, columns.positive)
    if any(said) or (not truth.used and truth.values is None):
        verdicts = [n for n in found.numeric + tuple(found.other) if joined(n) in CORRECT_NAMES]
        if any(said) or not verdicts:
            return None
    every = (*found.sound, *found.doubtful, *found.other)
    confident = [name for name in found.numeric if joined(name) in CONFIDENCE_NAMES]
    predicted = [
        name for name in every if joined(name) in PREDICTION_NAMES and name not in found.sound
    ]
    verdict = [name for name in every if joined(name) in CORRECT_NAMES]
    rest = [name for name in found.sound if name not in confident]
    if rest or len(confident) != 1 or not (verdict or predicted):
        return None
    confidence = np.asarray(table.numbers(confident[0]).values, dtype=np.float64)
    if scores == "probs":
        _require_range(confident[0], confidence, scores)
    if truth.values is not None and predicted:
        guess = table.texts(predicted[0])
        correct = _same(guess, truth)
        if _score_of_positive(guess, truth, confidence, confident[0]):
            return None
        used = (confident[0], predicted[0])
        label = f'{truth.where} against column "{predicted[0]}"'
        return TopLabel(
            confidence,
            correct,
            f'confidence "{confident[0]}" of prediction "{predicted[0]}"',
            label,
            used,
        )
    if not verdict:
        return None
    cells = [cell.casefold() for cell in table.texts(verdict[0]).tolist()]
    unknown = [cell for cell in cells if cell not in _TRUE + _FALSE]
    if unknown:
        raise DataError(
            f'column "{verdict[0]}": expected verdicts (true/false, 1/0), got "{unknown[0]}"'
        )
    correct = np.asarray([cell in _TRUE for cell in cells], dtype=np.bool_)
    rule = f'confidence "{confident[0]}" of a prediction'
    return TopLabel(
        confidence, correct, rule, f'verdicts in column "{verdict[0]}"', (confident[0], verdict[0])
    )


def _verdicts(truth: Truth, found: ScoreColumns) -> tuple[Truth, ScoreColumns]:
    """Labels that the user says are verdicts: a column of them, and no labels."""
    name = truth.used[0]
    return truth._replace(values=None, used=()), replace(found, other={**found.other, name: "text"})


def _same(guess: StrArray, truth: Truth) -> BoolArray:
    assert truth.values is not None
    ours, theirs = as_integers(guess), as_integers(truth.values)
    if ours is not None and theirs is not None:
        return np.asarray(ours == theirs)
    unknown = set(np.unique(guess).tolist()) & set(np.unique(truth.values).tolist())
    if not unknown:
        raise DataError(
            f"no prediction ({guess[0]}, ...) is ever spelled as a label ({truth.values[0]}, ...); use one "
            "spelling for both"
        )
    return np.asarray(guess == truth.values)


def _score_of_positive(guess: StrArray, truth: Truth, confidence: FloatArray, name: str) -> bool:
    """Whether a "prob" beside a prediction of two classes is that of the positive one: it goes below 1/2."""
    assert truth.values is not None
    two = len(np.unique(np.concatenate([guess, truth.values]))) <= 2
    named = joined(name) in ("score", "prob", "probability")
    return two and named and float(np.nanmin(confidence)) < 0.5
