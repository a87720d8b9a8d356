"""Which columns are the classes: by name, by the names of the labels, or by question; never by guess."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vlmcal.errors import DataError, nearest
from vlmcal.io.column_names import (
    SCALE_WORDS,
    Place,
    as_option,
    number_places,
    other_meaning,
    places,
    rest_of,
    words,
)
from vlmcal.io.label_codes import yes_and_no
from vlmcal.io.score_columns import ScoreColumns, Scores, rows_sum_to
from vlmcal.io.table_files import Table

# A class without a row is taken for chance while this many such classes are to be expected.
_EXPECTED_ABSENT: Final = 0.01
# Columns up to which sums of neighbours are tried.
_MOST_TRIED: Final = 40
_NOT: Final = frozenset({"no", "non", "not", "without"})
# Words of which the second is the condition that a label 1 stands for.
OPPOSITES: Final = (
    *(
        ("negative", "positive"),
        ("neg", "pos"),
        ("no", "yes"),
        ("false", "true"),
        ("absent", "present"),
    ),
    *(
        ("normal", "abnormal"),
        ("benign", "malignant"),
        ("healthy", "diseased"),
        ("control", "case"),
    ),
)


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
        shown = ", ".join(more[:3]) + (", ..." if len(more) > 3 else "")
        how += f"; no row is labelled {shown}"
    return ClassColumns(tuple(columns), names, how, left_out=_others(found, columns))


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
    left = known or left
    stated = {p: h for p, h in left.items() if p.scale == wanted}
    left = stated or left
    if len(left) > 1 and wanted == "probs":
        sums = {p: h for p, h in left.items() if rows_sum_to(table, list(h.values()), scores)}
        left = sums if len(sums) == 1 else left
    if len(left) > 1:
        shown = ", ".join(place.text() for place in left)
        raise DataError(
            f"several sets of columns match the label values: {shown}; name the classes with "
            "--classes A,B,... or --prefix"
        )
    return next(iter(left))


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
        if rows_sum_to(
            table, matched, scores
        ):  # a class that is never thought possible may be absent
            return [name for name in more if not table.numbers(name).values.any()]
        if rows_sum_to(table, [*matched, *more], scores):
            return more
        if _chance_of_absence(table, matched, more):
            return more  # whose sums are refused with the rows that are off
    elif not place.bare or _own_format(table, found) or _chance_of_absence(table, matched, more):
        return more
    every = as_option([*matched, *more]) if len(more) < 10 else "all"
    raise DataError(
        f"no row is labelled {', '.join(more[:5])}: classes without a row, or columns that are no classes? "
        f"If they are classes, pass --classes {every}; if not, {_exclude(more)}"
    )


def _exclude(names: Sequence[str]) -> str:
    return " ".join(f"--exclude {as_option([name])}" for name in names)


def _own_format(table: Table, found: ScoreColumns) -> bool:
    """Whether the table is one that :func:`vlmcal.io.predictions.save_predictions` writes."""
    return table.names[:2] == ("id", "label") and not (found.doubtful or found.other)


def _chance_of_absence(table: Table, matched: Sequence[str], more: Sequence[str]) -> bool:
    """Whether rows are so few that a class without one is no surprise: K (1 - 1/K)^N expected."""
    k = len(matched) + len(more)
    return k * (1 - 1 / k) ** table.rows > _EXPECTED_ABSENT


def numbered_classes(
    table: Table, labels: Sequence[int], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """Columns with a number in the same place of their names, for integer labels; in order of the numbers.

    Returns:
        The columns, or None where none are numbered.

    Raises:
        DataError: Several sets are.
    """
    kinds: dict[Place, dict[int, str]] = {}
    for name in found.numeric:
        for place, number in number_places(words(name)):
            whole = "only" in found.doubtful.get(name, "")  # saturated scores are whole numbers
            if name in found.sound or (whole and {*place.before, *place.after} & SCALE_WORDS):
                kinds.setdefault(place, {})[number] = name
    wanted = "logits" if scores == "logits" else "probs"
    fitting = {
        place: hits
        for place, hits in kinds.items()
        if (len(hits) > 1 or (place.bare and set(labels) <= set(hits)))
        and place.scale in (None, wanted)
        and (
            place.bare
            or {*place.before, *place.after} & SCALE_WORDS
            or len(hits) == len(found.sound)
        )
        and (set(labels) <= set(hits) or max(labels, default=0) <= len(hits))
    }
    stated = {p: h for p, h in fitting.items() if p.scale == wanted}
    fitting = stated or fitting
    if len(fitting) > 1:
        sums = {
            p: h
            for p, h in fitting.items()
            if wanted == "probs" and rows_sum_to(table, list(h.values()), scores)
        }
        fitting = sums if len(sums) == 1 else fitting
    if len(fitting) > 1:
        shown = ", ".join(place.text() for place in fitting)
        raise DataError(f"several sets of numbered columns: {shown}; name one with --prefix")
    if not fitting:
        return None
    place, hits = next(iter(fitting.items()))
    numbers = tuple(sorted(hits))
    columns = tuple(hits[number] for number in numbers)
    rule = "numbered columns" if place.bare else f"{place.text()}, by the numbers in the names"
    return ClassColumns(columns, columns, rule, numbers, _others(found, columns))


def opposite_classes(labels: Sequence[int], found: ScoreColumns) -> ClassColumns | None:
    """Two columns named as opposites (``p_negative``, ``p_positive``), for labels 0 and 1; else None."""
    if len(found.sound) != 2 or not labels or not set(labels) <= {0, 1}:
        return None
    parts = [words(name) for name in found.sound]
    for at in (0, 1):
        bare = tuple(word for word in parts[at] if word not in _NOT)
        if len(bare) < len(parts[at]) and bare == parts[1 - at]:
            pair = (found.sound[at], found.sound[1 - at])
            rule = f"named as opposites: 0 is {pair[0]}, 1 is {pair[1]}"
            return ClassColumns(pair, pair, rule, (0, 1), _others(found, pair))
    for negative, positive in OPPOSITES:
        for order in ((0, 1), (1, 0)):
            first = places(parts[order[0]], (negative,))
            second = places(parts[order[1]], (positive,))
            if set(first) & set(second):
                columns = tuple(found.sound[at] for at in order)
                rule = f"named as opposites: 0 is {negative}, 1 is {positive}"
                return ClassColumns(columns, columns, rule, (0, 1), _others(found, columns))
    return None


def coded_classes(
    table: Table, labels: Sequence[str], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """Columns numbered 0 and 1, for two label values of which one says yes; None otherwise.

    Raises:
        DataError: Several sets of columns are numbered so.
    """
    numbered = numbered_classes(table, (0, 1), found, scores)
    if len(labels) != 2 or numbered is None or numbered.numbers != (0, 1):
        return None
    pair = yes_and_no(labels)
    if pair is None:
        return None
    rule = f"{numbered.rule}: 0 is {pair[0]}, 1 is {pair[1]}"
    return replace(numbered, names=pair, numbers=None, rule=rule)


def spelled_numbers(
    table: Table, labels: Sequence[str], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """Numbered columns for label values that end in these numbers: ``class 0`` for ``prob_0``; else None."""
    places_of = {label: number_places(words(label)) for label in labels}
    if len(labels) < 2 or any(len(spots) != 1 for spots in places_of.values()):
        return None
    around = {spots[0][0] for spots in places_of.values()}
    label_of = {spots[0][1]: label for label, spots in places_of.items()}
    if len(around) > 1 or len(label_of) < len(labels):
        return None
    numbered = numbered_classes(table, tuple(label_of), found, scores)
    if numbered is None or numbered.numbers is None or not set(label_of) <= set(numbered.numbers):
        return None
    names = tuple(
        label_of.get(number, column)
        for number, column in zip(numbered.numbers, numbered.columns, strict=True)
    )
    rule = f"{numbered.rule} and in the labels"
    return replace(numbered, names=names, numbers=None, rule=rule)


def counted_classes(
    table: Table, labels: Sequence[int], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """All sound columns, for integer labels that say nothing about names; None if fewer than two.

    Raises:
        DataError: More columns than classes with a row, which chance does not explain.
    """
    columns = found.sound
    if len(columns) < 2:
        return None
    rule = "all numeric columns that nothing speaks against"
    names = columns if labels else _without_scale(columns)
    chosen = ClassColumns(columns, names, rule, left_out=_others(found, columns))
    if scores != "logits":
        if rows_sum_to(table, columns, scores):
            return chosen
        return _summing_run(table, labels, found, scores) or (
            None if _outside_sum(columns, labels) else chosen
        )
    surplus = len(columns) - 1 - max(labels, default=-1)
    if surplus <= 0 or _own_format(table, found):
        return chosen
    if _chance_of_absence(table, columns[:-surplus], columns[-surplus:]):
        return chosen
    raise DataError(
        f"{len(columns)} numeric columns ({', '.join(columns[:8])}), but integer labels up to "
        f"{max(labels)} only: classes without a row, or columns that are no classes? If all are classes, "
        f"pass --classes all; if not, leave some out with --exclude NAME"
    )


def _summing_run(
    table: Table, labels: Sequence[int], found: ScoreColumns, scores: Scores
) -> ClassColumns | None:
    """The only columns side by side whose rows sum to 1, if there is one for each label."""
    least = max(2, max(labels, default=0) + 1)
    names = [name for name in table.names if name in found.sound]
    if len(names) > _MOST_TRIED:
        return None
    runs = [
        tuple(names[start:end])
        for start in range(len(names))
        for end in range(start + least, len(names) + 1)
        if rows_sum_to(table, names[start:end], scores)
    ]
    if len(runs) != 1:
        return None
    rule = "the columns side by side whose rows sum to 1"
    return ClassColumns(runs[0], runs[0], rule, left_out=_others(found, runs[0]))


def _without_scale(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of classes that no label spells: less a word of scale that all columns begin or end with."""
    parts = [words(name) for name in columns]
    for at in (0, -1):
        shared = {part[at] for part in parts if len(part) > 1}
        if len(shared) == 1 and shared <= SCALE_WORDS and all(len(part) > 1 for part in parts):
            word = (next(iter(shared)),)
            place = Place(word, ()) if at == 0 else Place((), word)
            return tuple(rest_of(name, place) for name in columns)
    return tuple(columns)


def _outside_sum(columns: Sequence[str], labels: Sequence[int]) -> bool:
    """Whether another reading than one class per column is possible at all."""
    return max(labels, default=0) <= 1 or len(columns) > max(labels, default=0) + 1


def _others(found: ScoreColumns, columns: Sequence[str]) -> dict[str, str]:
    named = {name: "no label is called so" for name in found.sound if name not in columns}
    return {**named, **{n: why for n, why in found.doubtful.items() if n not in columns}}
