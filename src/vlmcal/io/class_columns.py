"""Which columns are the classes: as they are named, or by the names of the labels; never by guess."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from vlmcal.errors import DataError, few, nearest
from vlmcal.io.column_names import (
    SCALE_WORDS,
    Place,
    as_option,
    other_meaning,
    places,
    rest_of,
    words,
)
from vlmcal.io.score_columns import ScoreColumns, Scores, rows_sum_to
from vlmcal.io.table_files import Table

Hits = TypeVar("Hits", bound=Mapping[Any, str])
# A class without a row is taken for chance while this many such classes are to be expected.
_EXPECTED_ABSENT: Final = 0.01


@dataclass(frozen=True)
class ClassColumns:
    """The columns of the classes, in the order of the classes.

    Attributes:
        columns: Names of the columns.
        names: Names of the classes.
        rule: Why these, in words.
        numbers: The numbers in the names, where these decide what an integer label means.
        left_out: Numeric columns that are no classes: why.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    rule: str
    numbers: tuple[int, ...] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


def named_classes(table: Table, asked: Sequence[str], found: ScoreColumns) -> ClassColumns:
    """Columns that the user names, as COLUMN or COLUMN=NAME; "all" stands for all numeric columns.

    Raises:
        DataError: There is no such column.
    """
    if list(asked) == ["all"] and "all" not in table.columns:
        columns = [name for name in table.names if name in found.numeric]
        return ClassColumns(tuple(columns), tuple(columns), "all numeric columns, as asked")
    columns, names = [], []
    for item in asked:
        column, equals, name = item.partition("=")
        if item in table.columns or not equals:
            column, name = item, item
        if column not in table.columns:
            hint = nearest(column, [*found.sound, *found.doubtful])
            raise DataError(f'no column for class "{column}"; {hint}')
        columns.append(column)
        names.append(name)
    return ClassColumns(tuple(columns), tuple(names), "named by --classes")


def prefixed_classes(table: Table, prefix: str, found: ScoreColumns) -> ClassColumns:
    """Columns whose names start with ``prefix``; the rest of the name is the class.

    Raises:
        DataError: There is none.
    """
    columns = [name for name in table.names if name in found.numeric and name.startswith(prefix)]
    if not columns:
        raise DataError(
            f'no numeric column starts with "{prefix}"; {nearest(prefix, [*found.sound])}'
        )
    rest = tuple(name.removeprefix(prefix) for name in columns)
    numbered = all(name.isdecimal() for name in rest)
    if not numbered:
        return ClassColumns(tuple(columns), rest, f"named {prefix}*")
    order = sorted(range(len(rest)), key=lambda at: int(rest[at]))
    numbers = tuple(int(rest[at]) for at in order)
    columns = [columns[at] for at in order]
    return ClassColumns(tuple(columns), tuple(columns), f"named {prefix}*", numbers)


def matched_classes(
    table: Table, labels: Sequence[str], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """Columns whose names hold the label values, all in the same place of the name.

    Args:
        table: The table.
        labels: Distinct label values.
        found: What the columns can be.
        scores: What the numbers are.

    Returns:
        The columns, or None where no kind of column covers all label values.

    Raises:
        DataError: Several kinds of columns do, or further columns may or may not be classes.
    """
    kinds = _kinds(labels, [*found.numeric, *found.broken])
    complete = {place: hits for place, hits in kinds.items() if len(hits) == len(labels)}
    if not complete:
        return None
    place = _one_kind(table, complete, scores)
    hits = complete[place]
    matched = [name for name in table.names if name in hits.values()]
    label_of = {column: label for label, column in hits.items()}
    how = "match the label values" if place.bare else f"{place.text()} match the label values"
    more = _absent(table, place, matched, found, scores)
    columns = [name for name in table.names if name in {*matched, *more}]
    names = tuple(label_of.get(name, rest_of(name, place)) for name in columns)
    if more:
        how += f"; no row is labelled {few(more, 3)}"
    return ClassColumns(tuple(columns), names, how, left_out=other_columns(found, columns))


def _kinds(labels: Sequence[str], columns: Sequence[str]) -> dict[Place, dict[str, str]]:
    """Column of each label, by what stands around the label in the name; exact names come first."""
    bare = Place((), ())
    kinds: dict[Place, dict[str, str]] = {}
    twice: set[tuple[Place, str]] = set()
    exact = set(columns)
    parts = {column: words(column) for column in columns}
    for label in labels:
        if label in exact:
            kinds.setdefault(bare, {})[label] = label
        inner = words(label)
        if not inner:
            continue
        for column in columns:
            for place in places(parts[column], inner):
                hits = kinds.setdefault(place, {})
                if place == bare and label in exact:
                    continue
                if label in hits and hits[label] != column:
                    twice.add((place, label))
                hits[label] = column
    for place, label in twice:
        kinds[place].pop(label, None)
    return {place: hits for place, hits in kinds.items() if len(set(hits.values())) == len(hits)}


def _one_kind(table: Table, kinds: Mapping[Place, Mapping[str, str]], scores: Scores) -> Place:
    wanted = "logits" if scores == "logits" else "probs"
    left = {p: h for p, h in kinds.items() if p.scale in (None, wanted)} or dict(kinds)
    known = {p: h for p, h in left.items() if p.bare or {*p.before, *p.after} & SCALE_WORDS}
    left = likeliest(table, known or left, scores)
    if len(left) > 1:
        shown = ", ".join(place.text() for place in left)
        raise DataError(
            f"several sets of columns match the label values: {shown}; name the classes with "
            "--classes A,B,... or --prefix"
        )
    return next(iter(left))


def likeliest(table: Table, kinds: Mapping[Place, Hits], scores: Scores) -> dict[Place, Hits]:
    """Of several kinds of columns those named as the scale, and of these the one whose rows sum to 1."""
    wanted = "logits" if scores == "logits" else "probs"
    left = {p: h for p, h in kinds.items() if p.scale == wanted} or dict(kinds)
    if len(left) > 1 and wanted == "probs":
        sums = {p: h for p, h in left.items() if rows_sum_to(table, list(h.values()), scores)}
        left = sums if len(sums) == 1 else left
    return left


def _absent(
    table: Table, place: Place, matched: Sequence[str], found: ScoreColumns, scores: Scores
) -> list[str]:
    """Columns of classes that no row is labelled with."""
    more = []
    for name in found.sound:
        if name in matched:
            continue
        parts = words(name)
        alike = (
            parts[: len(place.before)] == place.before
            and parts[len(parts) - len(place.after) :] == place.after
            and len(parts) > len(place.before) + len(place.after)
        )
        if alike and not other_meaning(rest_of(name, place)):
            more.append(name)
    if not more:
        return []
    if scores != "logits":
        if rows_sum_to(table, matched, scores):  # a class never thought possible may be absent
            return [name for name in more if not table.numbers(name).values.any()]
        if rows_sum_to(table, [*matched, *more], scores):
            return more
        if chance_of_absence(table, matched, more):
            return more  # whose sums are refused with the rows that are off
    elif not place.bare or own_format(table, found) or chance_of_absence(table, matched, more):
        return more
    every = as_option([*matched, *more]) if len(more) < 10 else "all"
    exclude = " ".join(f"--exclude {as_option([name])}" for name in more)
    raise DataError(
        f"no row is labelled {', '.join(more[:5])}: classes without a row, or columns that are no classes? "
        f"If they are classes, pass --classes {every}; if not, {exclude}"
    )


def own_format(table: Table, found: ScoreColumns) -> bool:
    """Whether the table is one that :func:`vlmcal.io.predictions.save_predictions` writes."""
    return table.names[:2] == ("id", "label") and not (found.doubtful or found.other)


def chance_of_absence(table: Table, matched: Sequence[str], more: Sequence[str]) -> bool:
    """Whether rows are so few that a class without one is no surprise: K (1 - 1/K)^N expected."""
    k = len(matched) + len(more)
    return k * (1 - 1 / k) ** table.rows > _EXPECTED_ABSENT


def other_columns(found: ScoreColumns, columns: Sequence[str]) -> dict[str, str]:
    """Numeric columns that are none of the classes, and why."""
    named = {name: "no label is called so" for name in found.sound if name not in columns}
    return {**named, **{n: why for n, why in found.doubtful.items() if n not in columns}}
