"""Where a multi-label table has its truths: in columns, in lists of names, or in a second file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vlmcal.errors import DataError, few, nearest
from vlmcal.io.column_names import joined
from vlmcal.io.finding_columns import (
    NOTHING,
    Findings,
    inner_name,
    listed_findings,
    named_findings,
    paired_columns,
    score_columns,
    truth_values,
)
from vlmcal.io.predictions import ReadingOptions
from vlmcal.io.row_join import join, second_file
from vlmcal.io.table_files import Table, read_table
from vlmcal.types.arrays import FloatArray

_ENOUGH = 0.5


@dataclass(frozen=True)
class FoundTruth:
    """Truths as they are written.

    Attributes:
        values: (N, L) of 1, 0, -1 (uncertain) and NaN (empty), or None where there are none.
        where: Where they are, for the plan.
    """

    values: FloatArray | None
    where: str


@dataclass(frozen=True)
class _Scored:
    """Columns that may hold the probabilities of findings.

    Attributes:
        table: The table with the probabilities.
        left: Its columns without another role.
        named: Those that the user names, with the names of their findings; empty where none are named.
        logits: Whether they hold logits.
    """

    table: Table
    left: list[str]
    named: Mapping[str, str]
    logits: bool

    def without(self, *columns: str) -> "_Scored":
        return replace(self, left=[name for name in self.left if name not in columns])

    def sorted(self) -> tuple[list[str], dict[str, str]]:
        return score_columns(self.table, self.left, self.logits)

    def candidates(self) -> dict[str, str]:
        return dict(self.named) or {name: inner_name(name) for name in self.sorted()[0]}


def find_findings(
    table: Table, left: list[str], folder: Path, ids: str | None, options: ReadingOptions
) -> tuple[Findings, FoundTruth]:
    """The columns of the findings, and their truths.

    Args:
        table: The table with the probabilities.
        left: Its columns without another role.
        folder: Where it lies; a second file may be named from there.
        ids: Column of the ids, to join a second file by.
        options: What the user says.

    Raises:
        DataError: Nothing belongs together, or several things could.
    """
    logits = options.get("scores") == "logits"
    named = _named_scores(table, left, logits, options)
    given = _Scored(table, left, named, logits)
    second, asked = options.get("labels_file"), options.get("labels")
    if second is not None:
        return _from_file(given, second_file(Path(second), folder), ids, asked)
    if asked is not None:
        truths = [asked] if asked in table.columns else [part.strip() for part in asked.split(",")]
        for name in truths:
            table.require(name, "labels")
        if len(truths) == 1 and truth_values(table, truths[0]) is None:
            return _from_cells(given, truths[0], table.texts(truths[0]).tolist())
        scores = named or _scores_for(given.without(*truths), truths)
        found = named_findings(list(scores), truths, list(scores.values()))
        return found, _of_columns(table, found.truths)
    if not options.get("labels_needed", True) and not paired_columns(table, left, logits).names:
        return _unlabelled(given, bool(options.get("known_classes"))), FoundTruth(None, "")
    if named:
        kept = [n for n in left if n in named or truth_values(table, n) is not None]
        truths = [n for n in kept if n not in named]
        cores = {joined(inner_name(n)): n for n in truths}
        missing = [n for n in named if joined(inner_name(n)) not in cores]
        if not missing:
            marks = [cores[joined(inner_name(n))] for n in named]
            found = named_findings(list(named), marks, list(named.values()))
            return found, _of_columns(table, marks)
    else:
        found = paired_columns(table, left, logits)
        if found.names:
            return found, _of_columns(table, found.truths)
    for name, cells in _text_columns(table, left):
        if _names_findings(cells, given.candidates()):
            return _from_cells(given, name, cells)
    raise DataError(_no_pairs(given))


def _named_scores(
    table: Table, left: list[str], logits: bool, options: ReadingOptions
) -> dict[str, str]:
    """Columns of probabilities that the user names, with the names of their findings."""
    asked, prefix = options.get("class_names"), options.get("prefix")
    if asked is not None:
        parts = [str(text).partition("=") for text in asked]
        for column, _, _ in parts:
            table.require(column, "classes")
        return {column: name or inner_name(column) for column, _, name in parts}
    if prefix is not None:
        found = {n: n.removeprefix(prefix) for n in left if n.startswith(prefix)}
        if not found:
            raise DataError(f'no column starts with "{prefix}"; {nearest(prefix, left)}')
        return found
    known = options.get("known_classes") or ()
    if not known:
        return {}
    sound, _ = score_columns(table, left, logits)
    truths = {n for n in sound if truth_values(table, n) is not None}
    cores: dict[str, str] = {}
    for name in sorted(sound, key=lambda n: n in truths):  # scores before what may be truths
        cores.setdefault(joined(inner_name(name)), name)
    missing = [name for name in known if joined(name) not in cores]
    if missing:
        raise DataError(f'no column for the finding "{missing[0]}"; {nearest(missing[0], left)}')
    return {cores[joined(name)]: name for name in known}


def _scores_for(given: _Scored, truths: Sequence[str]) -> dict[str, str]:
    """The column of probabilities of each truth, by name."""
    cores: dict[str, list[str]] = {}
    for column in given.candidates():
        cores.setdefault(joined(inner_name(column)), []).append(column)
    scores = {}
    for name in truths:
        hits = cores.get(joined(inner_name(name)), [])
        hits = [h for h in hits if truth_values(given.table, h) is None] or hits
        if len(hits) != 1:
            raise DataError(
                f'{len(hits)} columns may hold the probability of "{inner_name(name)}"; name them in the '
                "order of the truths with class_names=[...] (--classes)"
            )
        scores[hits[0]] = inner_name(name)
    return scores


def _of_columns(table: Table, names: Sequence[str]) -> FoundTruth:
    columns = []
    for name in names:
        values = truth_values(table, name)
        if values is None:
            raise DataError(f'column "{name}" holds other values than 1, 0, -1 and empty cells')
        columns.append(values)
    return FoundTruth(np.stack(columns, axis=1), f"columns {few(names, 4)}")


def _from_cells(given: _Scored, column: str, cells: Sequence[str]) -> tuple[Findings, FoundTruth]:
    candidates = given.without(column).candidates()
    listed = listed_findings(cells)
    cores = {joined(name): at for at, name in enumerate(candidates.values())}
    if len(cores) < len(candidates):
        raise DataError(
            "several columns may hold the probabilities of a finding; name them with --classes"
        )
    said = {joined(part) for parts in listed for part in parts}
    chosen = list(candidates)
    if not given.named:
        hit = {name for name, inner in candidates.items() if joined(inner) in said}
        around = {_around(name) for name in hit if inner_name(name) != name}
        chosen = [n for n in candidates if n in hit or (around and _around(n) in around)]
    if not chosen:
        raise DataError(f'column "{column}" names no finding that has a column of probabilities')
    names = [candidates[n] for n in chosen]
    place = {joined(name): at for at, name in enumerate(names)}
    values = np.zeros((len(listed), len(names)))
    unknown: dict[str, int] = {}
    for row, parts in enumerate(listed):
        if not parts:
            values[row] = np.nan
        for part in parts:
            at = place.get(joined(part))
            if at is not None:
                values[row, at] = 1.0
            elif joined(part) not in NOTHING:
                unknown[part] = unknown.get(part, 0) + 1
    _, rest = given.sorted()
    rest |= {n: f'never named in "{column}"' for n in candidates if n not in chosen}
    rest |= {
        part: f"a finding without probabilities, named in {n:,} rows" for part, n in unknown.items()
    }
    where = f'names in column "{column}"'
    found = Findings(tuple(names), tuple(chosen), (), f'named in "{column}"', rest)
    return found, FoundTruth(values, where)


def _around(column: str) -> tuple[str, str]:
    before, _, after = column.partition(inner_name(column))
    return before, after


def _text_columns(table: Table, left: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Columns of text, and columns ``stem.0``, ``stem.1`` of lists of text joined as one."""
    plain = [n for n in left if table.numbers(n).bad.size]
    lists: dict[str, list[str]] = {}
    for name in plain:
        stem, dot, number = name.rpartition(".")
        if dot and number.isdecimal():
            lists.setdefault(stem, []).append(name)
    found = []
    for stem, parts in lists.items():
        rows = zip(*(table.texts(n).tolist() for n in parts), strict=True)
        found.append((stem, ["|".join(filter(None, row)) for row in rows]))
    inside = {n for parts in lists.values() for n in parts}
    return found + [(n, table.texts(n).tolist()) for n in plain if n not in inside]


def _names_findings(cells: Sequence[str], candidates: Mapping[str, str]) -> bool:
    known = {joined(name) for name in candidates.values()} | NOTHING
    listed = [parts for parts in listed_findings(cells) if parts]
    hits = [parts for parts in listed if any(joined(part) in known - NOTHING for part in parts)]
    full = [parts for parts in listed if all(joined(part) in known for part in parts)]
    return bool(hits) and len(full) >= _ENOUGH * len(listed)


def _from_file(
    given: _Scored, file: Path, ids: str | None, asked: str | None
) -> tuple[Findings, FoundTruth]:
    """Truths in a second file, joined by the ids."""
    other, table = read_table(file), given.table
    keys = {name: table.texts(name) for name in ([ids] if ids else table.names)}
    match = join(keys, other, ids, file.name)
    key, theirs, order = match.key, match.theirs, match.places
    if len(set(other.texts(theirs).tolist())) < other.rows:
        raise DataError(
            f'{file}: column "{theirs}" names rows twice, so truths cannot be joined by it'
        )
    where = f'{file.name}, joined by "{key}", '
    given = given.without(key)
    candidates = given.candidates()
    theirs_left = [name for name in other.names if name != theirs]
    cores = {joined(inner_name(n)): n for n in theirs_left if truth_values(other, n) is not None}
    hit = {n: inner for n, inner in candidates.items() if joined(inner_name(n)) in cores}
    if hit and not (asked and asked in other.columns):
        truth = _of_columns(other, [cores[joined(inner_name(n))] for n in hit])
        assert truth.values is not None
        rest = {n: "a score without a truth" for n in candidates if n not in hit}
        found = Findings(
            tuple(hit.values()), tuple(hit), (), "each paired with its truth by name", rest
        )
        return found, FoundTruth(truth.values[order], where + truth.where)
    for name, cells in _text_columns(other, [asked] if asked in other.columns else theirs_left):  # type: ignore[list-item]
        if asked == name or _names_findings(cells, candidates):
            found, truth = _from_cells(given, name, [cells[at] for at in order])
            return found, FoundTruth(truth.values, where + truth.where)
    raise DataError(
        f"{file}: no columns of 0, 1, -1 called like the findings "
        f"({', '.join(list(candidates.values())[:5])}), and no column with their names"
    )


def _unlabelled(given: _Scored, known: bool) -> Findings:
    candidates, table = given.candidates(), given.table
    if not candidates:
        raise DataError("no columns of probabilities; name them with class_names=[...] (--classes)")
    rest = {
        n: "left out" for n in given.left if n not in candidates and not table.numbers(n).bad.size
    }
    rule = "as known from the fit" if known else "all columns of numbers"
    return Findings(tuple(candidates.values()), tuple(candidates), (), rule, rest)


def _no_pairs(given: _Scored) -> str:
    truths = [n for n in given.left if truth_values(given.table, n) is not None]
    scores = [n for n in given.sorted()[0] if n not in truths]
    return (
        "no finding has both a column of probabilities and a truth of the same name (such as prob_Edema and "
        f"Edema). Columns of 0, 1, -1: {', '.join(truths[:6]) or 'none'}; other numbers: "
        f"{', '.join(scores[:6]) or 'none'}. Name them in the same order: --classes P1,P2,... "
        "--labels T1,T2,...; name a column of lists such as Edema|Mass with --labels; "
        "or the second file with --labels-file"
    )
