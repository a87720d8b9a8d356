"""Right answers that become known later: joined to the cases, as entries of the log."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmcal.errors import DataError, located, require_known
from vlmcal.io.table_files import read_table
from vlmcal.review.workflow import same

if TYPE_CHECKING:
    from vlmcal.review.database import Review

_IDS, _LABELS = ("id", "item", "case"), ("label", "outcome", "reference")


@dataclass(frozen=True)
class Recorded:
    """What :func:`record_outcomes` did.

    Attributes:
        new: Outcomes of cases that had none.
        changed: Outcomes that differ from the earlier one; both stay in the log, the later one holds.
        known: The same as before; nothing was written.
        unknown: Rows about no case of this review.
    """

    new: int
    changed: int
    known: int
    unknown: int

    def sentence(self) -> str:
        """In words."""
        told = f"{self.new:,} new outcomes, {self.changed:,} changed, {self.known:,} known already"
        return told + (f"; {self.unknown:,} rows are about no case" if self.unknown else "")


def record_outcomes(
    review: "Review",
    table: Path,
    *,
    ids: str | None = None,
    labels: str | None = None,
    dates: str | None = None,
    chances: str | None = None,
    source: str = "",
    user: str = "import",
) -> Recorded:
    """Write the outcomes of a table into the log, all of them or none.

    Args:
        review: The review.
        table: With the id of a case and its right answer in each row.
        ids: Column of the ids; default "id", "item" or "case".
        labels: Column of the answers; default "label", "outcome" or "reference".
        dates: Column of the day on which it became known; default "date" where there is one.
        chances: Column of the probability with which each case was chosen to be looked into, in (0, 1];
            default "probability" where there is one.
        source: Where they come from ("biopsy"), for the log.
        user: Code of who writes them.

    Raises:
        DataError: No such file or column, no probability, an empty or unknown answer, one case twice with two
            answers, or no row about a case of this review.
    """
    with located(table):
        found = read_table(table)
        names = [_column(found.names, given, usual, option) for given, usual, option in (
            (ids, _IDS, "--ids"), (labels, _LABELS, "--labels"))]  # fmt: skip
        day = _optional(found.names, dates, "date")
        chance = _optional(found.names, chances, "probability")
        columns = [found.texts(name).tolist() for name in names]
        days = found.texts(day).tolist() if day else [""] * found.rows
        drawn = found.texts(chance).tolist() if chance else [""] * found.rows
    cases = {case.id: case for case in review.cases()}
    before = latest(review)
    told: dict[str, dict[str, Any]] = {}
    unknown = 0
    cells = zip(*columns, days, drawn, strict=True)
    for number, (item, label, date, likely) in enumerate(cells, 1):
        if item not in cases:
            unknown += 1
            continue
        if not label:
            raise DataError(f'{table}: data row {number}: no outcome in column "{names[1]}"')
        case = cases[item]
        if case.classes:
            require_known(label, case.classes, f"{table}: data row {number}: no class", DataError)
        if item in told and told[item]["label"] != label:
            raise DataError(f'{table}: data row {number}: case "{item}" has two different outcomes')
        told[item] = {"label": label, "date": date, "source": source}
        if likely:
            told[item]["probability"] = _probability(likely, f"{table}: data row {number}")
    if not told:
        raise DataError(f'{table}: no row is about a case of {review.path} (column "{names[0]}")')
    new = {item: value for item, value in told.items() if item not in before}
    changed = {
        item: value
        for item, value in told.items()
        if item in before and not same(before[item], value["label"])
    }
    entries: list[tuple[str, Any]] = [*new.items(), *changed.items()]
    review.append_outcomes(user, entries)
    return Recorded(len(new), len(changed), len(told) - len(entries), unknown)


def latest(review: "Review") -> dict[str, str]:
    """Outcome that holds for each case that has one."""
    standing = review.standing.cases().items()
    return {name: each.outcome.label for name, each in standing if each.outcome is not None}


def _column(names: tuple[str, ...], given: str | None, usual: tuple[str, ...], option: str) -> str:
    if given is not None:
        require_known(given, names, "no column", DataError)
        return given
    for name in usual:
        if name in names:
            return name
    raise DataError(f"no column {' or '.join(usual)}; name it with {option}")


def _optional(names: tuple[str, ...], given: str | None, usual: str) -> str | None:
    if given is None:
        return usual if usual in names else None
    require_known(given, names, "no column", DataError)
    return given


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise DataError(f"{where}: expected a probability above 0 and up to 1, got {text!r}")
    return value
