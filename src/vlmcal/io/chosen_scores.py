"""Scores of all classes out of the columns found for them, and codes of the labels in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError, nearest
from vlmcal.io.class_columns import ClassColumns
from vlmcal.io.column_names import words
from vlmcal.io.label_codes import as_integers, integer_codes, require_order
from vlmcal.io.labels import label_index
from vlmcal.io.raw_predictions import Columns
from vlmcal.io.score_columns import Scores, score_matrix
from vlmcal.io.single_scores import SingleScore
from vlmcal.io.table_files import Table
from vlmcal.types.arrays import FloatArray, IntArray, StrArray
from vlmcal.types.probability_rows import look_like_percentages


class Labels(NamedTuple):
    """Labels as they are written.

    Attributes:
        values: (N,) texts, or None where there are none.
        distinct: Those that occur, in order.
        integers: (N,) the same as numbers where all are integers, else None.
    """

    values: StrArray | None
    distinct: list[str]
    integers: IntArray | None

    @classmethod
    def of(cls, values: StrArray | None) -> "Labels":
        """Of these texts, where 1.0 is 1."""
        if values is None:
            return cls(None, [], None)
        integers = as_integers(values)
        if integers is None:
            return cls(values, np.unique(values).tolist(), None)
        return cls(integers.astype(np.str_), np.unique(integers).astype(np.str_).tolist(), integers)

    @property
    def whole(self) -> list[int]:
        """The distinct integers; empty where they are none."""
        return [] if self.integers is None else list(map(int, self.distinct))


@dataclass(frozen=True)
class ChosenScores:
    """Scores of all classes, and the codes of the labels."""

    scores: FloatArray
    names: tuple[str, ...]
    columns: tuple[str, ...]
    rule: str
    codes: IntArray | None
    label_rule: str = ""
    positive: str = ""
    left_out: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


def with_codes(
    table: Table,
    classes: ClassColumns,
    written: Labels,
    scores: Scores,
    columns: Columns,
) -> ChosenScores:
    """Scores from one column for each class; the positive class, where one is named, stands last.

    Args:
        table: What was read.
        classes: The columns.
        written: The labels.
        scores: What the cells are.
        columns: What was said about them.

    Raises:
        DataError: Cells without a number, percentages that are not said to be, or labels of no class.
    """
    matrix, notes = _scaled(table, classes.columns, scores)
    codes, rule = None, ""
    labels, integers = written.values, written.integers
    exact = set(classes.names) >= set(written.distinct)
    if labels is not None and integers is not None and (classes.numbers or not exact):
        bare = classes.numbers is not None and classes.names[0].isdecimal()
        first = columns.first_label
        coded = integer_codes(integers, matrix, classes.numbers, first, bare=bare)
        if columns.class_names is None and classes.numbers is None and first is None:
            require_order(coded.codes, matrix, classes.names)
        codes, rule = coded.codes, coded.rule
        notes = [*notes, coded.note] if coded.note else notes
    elif labels is not None and columns.first_label is not None and integers is not None:
        codes, rule = integers - columns.first_label, f"integers counted from {columns.first_label}"
    elif labels is not None:
        why = f'is for integer labels, but these are names such as "{labels[0]}"; drop it'
        columns.refuse(why, "first_label")
        codes = _index(labels, classes.names) if exact else _by_name(labels, classes.names)
        rule = "names of classes"
    wanted, positive = columns.positive, ""
    if columns.positive_label is not None:
        named = _class_of(columns.positive_label, written, codes, classes.names)
        of = dict(zip(classes.columns, classes.names, strict=True))
        if wanted is not None and of.get(wanted, wanted) != named:
            raise DataError(
                f'--positive "{wanted}" and --positive-label "{columns.positive_label}" name two classes; '
                "there is a score for each, so one of the two options is enough"
            )
        wanted = named
    if wanted is not None and len(classes.names) == 2:
        matrix, classes, codes, positive = _positive_last(matrix, classes, codes, wanted)
    elif wanted is not None:
        raise DataError(
            f"--positive is for two classes, these are {len(classes.names)}: {', '.join(classes.names[:5])}"
        )
    return ChosenScores(
        scores=matrix,
        names=classes.names,
        columns=classes.columns,
        rule=classes.rule,
        codes=codes,
        label_rule=rule,
        positive=positive,
        left_out=classes.left_out,
        notes=tuple(notes),
    )


def _class_of(value: str, written: Labels, codes: IntArray | None, names: tuple[str, ...]) -> str:
    """The class that a label value stands for."""
    if codes is not None and value in written.distinct:
        return names[int(codes[np.argmax(written.values == value)])]
    if value in names:
        return value
    known = written.distinct or names
    raise DataError(f'--positive-label: no label "{value}"; {nearest(value, known)}')


def _index(labels: StrArray, names: tuple[str, ...]) -> IntArray:
    place = {name: at for at, name in enumerate(names)}
    unique, inverse = np.unique(labels, return_inverse=True)
    return np.asarray([place[str(u)] for u in unique], dtype=np.int64)[inverse]


def _by_name(labels: StrArray, names: tuple[str, ...]) -> IntArray:
    """Codes by the words of the names; unknown labels are refused as they are written."""
    place = {"".join(words(name)): name for name in names}
    unique, inverse = np.unique(labels, return_inverse=True)
    spelled = [place.get("".join(words(str(u))), str(u)) for u in unique]
    return label_index(np.asarray(spelled, dtype=np.str_)[inverse], names, "labels")


def _positive_last(
    matrix: FloatArray, classes: ClassColumns, codes: IntArray | None, positive: str
) -> tuple[FloatArray, ClassColumns, IntArray | None, str]:
    fits = [at for at in (0, 1) if positive in (classes.names[at], classes.columns[at])]
    if not fits:
        raise DataError(f'--positive: no class "{positive}"; {nearest(positive, classes.names)}')
    if fits[0] == 1:
        return matrix, classes, codes, classes.names[1]
    turned = replace(classes, columns=classes.columns[::-1], names=classes.names[::-1])
    return matrix[:, ::-1], turned, None if codes is None else 1 - codes, turned.names[1]


def _scaled(table: Table, columns: tuple[str, ...], scores: Scores) -> tuple[FloatArray, list[str]]:
    """Scores of the columns, percentages divided by 100.

    Raises:
        DataError: Percentages that are not said to be.
    """
    matrix = score_matrix(table, columns)
    _require_finite(matrix, columns, "logits" if scores == "logits" else "probs")
    signs = all(table.numbers(name).form == "percent sign" for name in columns)
    if signs and scores != "logits":
        return matrix / 100, ["cells carry a percent sign: divided by 100"]
    if scores == "percent":
        return matrix / 100, []
    if look_like_percentages(matrix):
        raise DataError(
            "all rows are non-negative and sum to 100: these are percentages; pass --percent instead of "
            f'--{scores} (scores="percent"), or divide by 100'
        )
    commas = [name for name in columns if table.numbers(name).form == "decimal comma"]
    return matrix, ["decimal commas"] if commas else []


def _require_finite(matrix: FloatArray, columns: tuple[str, ...], what: str) -> None:
    """Refuse empty cells and infinity by the name of the column."""
    if matrix.dtype.kind != "f" or not (empty := ~np.isfinite(matrix)).any():
        return
    rows = np.flatnonzero(empty.any(axis=1))
    first = columns[int(empty[rows[0]].argmax())]
    hint = ""
    if 10 * rows.size > len(matrix) and len(columns) > 2:
        hint = ". Scores of all classes are needed in every row, not only those of the likeliest"
    raise DataError(
        f"{what}: NaN or infinite values in {rows.size} of {len(matrix)} rows, first in column "
        f'"{first}", data row {int(rows[0]) + 1}; remove or repair these rows{hint}'
    )


def from_lone(table: Table, lone: SingleScore, written: Labels, scores: Scores) -> ChosenScores:
    """Scores of two classes from the one column there is.

    Raises:
        DataError: Cells without a number, or percentages that are not said to be.
    """
    values, notes = _scaled(table, (lone.column,), scores)
    column = values[:, 0]
    if scores == "logits":
        matrix = np.stack([np.zeros_like(column), column], axis=1)
        shape = "sigmoid of one column"
    else:
        matrix = np.stack([1 - column, column], axis=1)
        shape = "1 - p and p"
    labels = written.values
    codes = None if labels is None else (labels == lone.positive).astype(np.int64)
    return ChosenScores(
        scores=matrix,
        names=(lone.negative, lone.positive),
        columns=(lone.column,),
        rule=f'one score column "{lone.column}": {shape}; {lone.rule}',
        codes=codes,
        label_rule=f'"{lone.positive}" is positive',
        positive=lone.positive,
        notes=tuple(notes),
    )
