"""Which columns are the classes where labels are numbers: by numbers in names, opposites, or their count."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from vlmcal.errors import DataError
from vlmcal.io.class_columns import (
    ClassColumns,
    chance_of_absence,
    likeliest,
    other_columns,
    own_format,
)
from vlmcal.io.column_names import SCALE_WORDS, Place, number_places, places, rest_of, words
from vlmcal.io.label_codes import SAID, yes_and_no
from vlmcal.io.score_columns import ScoreColumns, Scores, rows_sum_to
from vlmcal.io.table_files import Table

# Columns up to which sums of neighbours are tried.
_MOST_TRIED: Final = 40
_NOT: Final = frozenset({"no", "non", "not", "without"})
# Words of which the second is the condition that a label 1 stands for.
OPPOSITES: Final = (
    *SAID,
    *(("normal", "abnormal"), ("benign", "malignant"), ("healthy", "diseased")),
    ("control", "case"),
)


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
    fitting = likeliest(table, fitting, scores)
    if len(fitting) > 1:
        shown = ", ".join(place.text() for place in fitting)
        raise DataError(f"several sets of numbered columns: {shown}; name one with --prefix")
    if not fitting:
        return None
    place, hits = next(iter(fitting.items()))
    numbers = tuple(sorted(hits))
    columns = tuple(hits[number] for number in numbers)
    rule = "numbered columns" if place.bare else f"{place.text()}, by the numbers in the names"
    return ClassColumns(columns, columns, rule, numbers, other_columns(found, columns))


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
            return ClassColumns(pair, pair, rule, (0, 1), other_columns(found, pair))
    for negative, positive in OPPOSITES:
        for order in ((0, 1), (1, 0)):
            first = places(parts[order[0]], (negative,))
            second = places(parts[order[1]], (positive,))
            if set(first) & set(second):
                columns = tuple(found.sound[at] for at in order)
                rule = f"named as opposites: 0 is {negative}, 1 is {positive}"
                return ClassColumns(columns, columns, rule, (0, 1), other_columns(found, columns))
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
    chosen = ClassColumns(columns, names, rule, left_out=other_columns(found, columns))
    if scores != "logits":
        if rows_sum_to(table, columns, scores):
            return chosen
        return _summing_run(table, labels, found, scores) or (
            None if _outside_sum(columns, labels) else chosen
        )
    surplus = len(columns) - 1 - max(labels, default=-1)
    if surplus <= 0 or own_format(table, found):
        return chosen
    if chance_of_absence(table, columns[:-surplus], columns[-surplus:]):
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
    return ClassColumns(runs[0], runs[0], rule, left_out=other_columns(found, runs[0]))


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
