"""Predictions in tables: which column is the label, which are the classes, and what the scores are."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, few, nearest, require_known
from vlmcal.io.chosen_scores import ChosenScores, Labels, from_lone, with_codes
from vlmcal.io.class_columns import ClassColumns, matched_classes, named_classes, prefixed_classes
from vlmcal.io.class_numbers import (
    coded_classes,
    counted_classes,
    numbered_classes,
    opposite_classes,
    spelled_numbers,
)
from vlmcal.io.column_names import words
from vlmcal.io.packed import ending_of
from vlmcal.io.raw_predictions import Columns, RawConfidences, RawPredictions
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.score_columns import ScoreColumns, Scores, refuse_broken, sort_columns
from vlmcal.io.single_scores import lone_score, top_label_table
from vlmcal.io.table_files import Table, read_table
from vlmcal.io.truth_columns import (
    Truth,
    find_truth,
    refuse_absent,
    refuse_answers,
    refuse_multi_label,
)
from vlmcal.types.arrays import StrArray

_SCALE: Final = {
    "logits": "logits (as said)",
    "probs": "probabilities (as said)",
    "percent": "percentages (as said)",
}


class _Roles(NamedTuple):
    """Columns with a role of their own."""

    ids: str | None
    group: str | None
    by: tuple[str, ...]


def read(file: Path, scores: Scores, columns: Columns) -> RawPredictions | RawConfidences:
    """Scores, labels and the rest of a table; see :func:`vlmcal.io.predictions.load_predictions`.

    Raises:
        DataError: Not readable, or its columns are missing or unclear.
    """
    kind = "datasets folder" if file.is_dir() else ending_of(file).removeprefix(".").upper()
    form = f"{kind}, packed" if file.suffix.lower() == ".gz" else kind
    return read_columns(read_table(file, columns.sheet), form, file, scores, columns)


def read_columns(
    table: Table, form: str, file: Path, scores: Scores, columns: Columns
) -> RawPredictions | RawConfidences:
    """As :func:`read`, of a table at hand: ``file`` names it, and further files are looked for beside it.

    Raises:
        DataError: Its columns are missing or unclear.
    """
    table.require_rows()
    for name in columns.exclude:
        require_known(name, table.names, "exclude: no column", DataError)
    roles = _roles(table, columns)
    truth = find_truth(table, columns, file.parent, roles.ids)
    taken = {roles.ids, roles.group, *roles.by, *truth.used, *columns.exclude}
    found = sort_columns(table, [name for name in table.names if name not in taken], scores)
    parts: dict[str, Any] = {
        "ids": None if roles.ids is None else _filled(table, roles.ids),
        "groups": None if roles.group is None else _filled(table, roles.group),
        "strata": {name: table.texts(name) for name in roles.by},
        "source": file.name,
    }
    plan = ReadingPlan(
        file=file.name,
        form=", ".join([form, *table.form]),
        rows=table.rows,
        scores=_SCALE[scores],
        label=truth.where,
        unit=_named(roles.group),
        by=tuple(roles.by),
        ids=_named(roles.ids),
        notes=table.notes,
    )
    top = top_label_table(table, truth, found, scores, columns)
    if top is not None:
        why = (
            "is for scores of classes, but these are predictions with one confidence each; drop it"
        )
        columns.refuse(why, "positive_label", "first_label")
        plan = replace(plan, rule=top.rule, left_out=_left_out(found, top.used), label=top.label)
        confidence = top.confidence / 100 if scores == "percent" else top.confidence
        return RawConfidences(confidence=confidence, correct=top.correct, plan=plan, **parts)
    if columns.class_names is None and columns.prefix is None and columns.positive is None:
        refuse_answers(table)
    if truth.values is None and columns.labels_needed:
        refuse_absent(table)
    chosen = _choose(table, truth, found, scores, columns)
    for name, cell in found.broken.items():
        if name not in chosen.columns:
            refuse_broken(name, cell)
    plan = replace(
        plan,
        label=f"{truth.where} ({chosen.label_rule})" if chosen.label_rule else truth.where,
        classes=chosen.names,
        columns=chosen.columns,
        rule=chosen.rule,
        positive=chosen.positive,
        left_out={**_left_out(found, chosen.columns), **(chosen.left_out or {})},
        notes=(*plan.notes, *chosen.notes, *_unit_hint(table, found, roles)),
    )
    return RawPredictions(
        scores=chosen.scores, labels=chosen.codes, class_names=chosen.names, plan=plan, **parts
    )


def _roles(table: Table, columns: Columns) -> _Roles:
    for name in columns.by:
        table.require(name, "by")
    ids = table.role(columns.ids, "id", "ids", columns.exclude)
    return _Roles(ids, table.role(columns.group, "group", "group", columns.exclude), columns.by)


def _choose(
    table: Table, truth: Truth, found: ScoreColumns, scores: Scores, columns: Columns
) -> ChosenScores:
    labels = Labels.of(truth.values)
    classes = _named_or_matched(table, labels, found, scores, columns)
    classes = classes or _in_listed_order(table, truth, found, scores)
    if classes is not None:
        return with_codes(table, classes, labels, scores, columns)
    lone = lone_score(table, labels.distinct, found, scores, columns)
    if lone is not None:
        why = "is for one column per class; --positive-label says what one score column is the score of"
        columns.refuse(why, "first_label")
        return from_lone(table, lone, labels, scores)
    if labels.values is not None:
        refuse_multi_label(labels.distinct, [*found.numeric, *found.broken])
    raise DataError(_question(table, labels, found))


def _named_or_matched(
    table: Table, labels: Labels, found: ScoreColumns, scores: Scores, columns: Columns
) -> ClassColumns | None:
    """Columns of the classes, if there is one for each class; by the first rule that applies."""
    if columns.class_names is not None:
        columns.refuse("and --classes both say which columns are classes; give one", "prefix")
        return named_classes(table, columns.class_names, found)
    if columns.prefix is not None:
        return prefixed_classes(table, columns.prefix, found)
    if columns.known_classes:
        rules = (matched_classes, coded_classes, spelled_numbers)
        tried = (rule(table, columns.known_classes, found, scores) for rule in rules)
        known = next((hit for hit in tried if hit is not None), None)
        if known is not None and set(columns.known_classes) <= set(known.names):
            order = [known.names.index(name) for name in columns.known_classes]
            return replace(
                known,
                columns=tuple(known.columns[at] for at in order),
                names=columns.known_classes,
                rule="match the class names that are known",
            )
    if columns.positive in found.numeric:
        both = _by_name_or_number(table, labels, found, scores) if labels.distinct else None
        alone = both is None or columns.positive not in both.columns or len(both.columns) != 2
        return None if alone else both
    if labels.integers is not None or not labels.distinct:
        numbered = _by_name_or_number(table, labels, found, scores)
        numbered = numbered or opposite_classes(labels.whole, found)
        return numbered or counted_classes(table, labels.whole, found, scores)
    matched = _by_name_or_number(table, labels, found, scores)
    return matched or spelled_numbers(table, labels.distinct, found, scores)


def _by_name_or_number(
    table: Table, labels: Labels, found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """A column for each label that is a name, by its words or a code; else by the numbers in the names."""
    if labels.integers is not None or not labels.distinct:
        return numbered_classes(table, labels.whole, found, scores)
    matched = matched_classes(table, labels.distinct, found, scores)
    return matched or coded_classes(table, labels.distinct, found, scores)


def _in_listed_order(
    table: Table, truth: Truth, found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """Numbered columns, one for each name in the class list that the table carries for its labels."""
    names = next((table.class_lists[n] for n in truth.used if n in table.class_lists), ())
    numbered = numbered_classes(table, range(len(names)), found, scores) if names else None
    if numbered is None or len(numbered.columns) != len(names):
        return None
    rule = "numbered as the class list of the labels"
    return replace(numbered, names=names, numbers=None, rule=rule)


def _few_unknown(table: Table, labels: Labels, found: ScoreColumns, unknown: list[str]) -> str:
    """What to say where all but a few labels have a column, such as that of a row of totals."""
    if labels.values is None or len(labels.distinct) - len(unknown) < 2 or not unknown:
        return ""
    rows = np.flatnonzero(np.isin(labels.values, unknown))
    if rows.size > max(1, table.rows // 20):
        return ""
    return (
        f"{rows.size} of {table.rows} rows have a label without a column, first "
        f'"{labels.values[rows[0]]}" in data row {int(rows[0]) + 1}; {nearest(unknown[0], found.numeric)}. '
        "Leave out rows of totals and of other classes, correct the label, or add the column of the class"
    )


def _question(table: Table, labels: Labels, found: ScoreColumns) -> str:
    if not (found.numeric or found.broken):
        return (
            f"no class columns; found only {', '.join(table.names[:12])}. Expected one numeric column per "
            "class, named after it"
        )
    distinct = labels.distinct
    known = {"".join(words(name)) for name in found.numeric}
    unknown = [value for value in distinct if "".join(words(value)) not in known]
    lead = _few_unknown(table, labels, found, unknown)
    if lead:
        return lead
    if unknown and len(found.numeric) > 1 and not all(value.isdecimal() for value in distinct):
        hint = nearest(unknown[0], found.numeric)
        lead = f'{len(unknown)} labels are not in the class list, first "{unknown[0]}"; {hint}. '
    numeric = ", ".join(found.sound[:8]) or "none"
    doubts = "; ".join(f"{name} ({why})" for name, why in list(found.doubtful.items())[:6])
    text = f"{lead}No class columns are recognised. Numeric columns: {numeric}"
    text += f"; doubtful: {doubts}" if doubts else ""
    broken = "; ".join(f'column "{n}" is not numeric ({why})' for n, why in found.broken.items())
    text += f"; {broken}" if broken else ""
    if labels.values is not None:
        text += f". Label values: {few(distinct, 6)}"
    return (
        f"{text}. Name the class columns with --classes A,B,... (COLUMN=NAME where the label says NAME), "
        "--prefix prob_, or the one score column with --positive COLUMN"
    )


def _left_out(found: ScoreColumns, used: tuple[str, ...]) -> dict[str, str]:
    every = {
        **dict.fromkeys(found.sound, "not used"),
        **found.doubtful,
        **found.broken,
        **found.other,
    }
    return {name: why for name, why in every.items() if name not in used}


def _unit_hint(table: Table, found: ScoreColumns, roles: _Roles) -> list[str]:
    if roles.group is not None:
        return []
    for name in (*found.doubtful, *found.other):
        if {"patient", "subject", "case", "study"} & set(words(name)):
            many = len(np.unique(table.texts(name)))
            if many < table.rows:
                how = f'--unit "{name}" makes them the units'
                return [f'{many} values of "{name}" in {table.rows} rows: {how}']
    return []


def _filled(table: Table, name: str) -> StrArray:
    values = table.texts(name)
    empty = np.flatnonzero(values == "")
    if empty.size:
        raise DataError(
            f'column "{name}" is empty in {empty.size} rows, first in data row {int(empty[0]) + 1}'
        )
    return values


def _named(name: str | None) -> str:
    return "" if name is None else f'column "{name}"'
