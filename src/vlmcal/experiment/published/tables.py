"""The published numbers: one CSV file for each paper or family, what its rows share in ``papers.yaml``."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from vlmcal.errors import require_known
from vlmcal.io.yaml_text import read_yaml

PRINTED = "average"  # in place of a data set: the mean that the source prints
AVERAGES = (PRINTED, "ood_average")
NOT_PERCENT = frozenset({"mean_set_size"})
FILTERS = ("paper", "learner", "calibration", "dataset", "metric", "split", "table")
STATUSES = ("published", "log", "secondary", "missing")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What the rows of one file share.

    Attributes:
        name: Name of the file.
        title: Title, venue and number.
        source: Repository and commit that were read; "several" where the rows say it.
        date: Of the commit, or "".
        backbone, shots, seeds, views: Of the published runs; "" or None where they are not stated.
        evaluator: Metric preset with the definitions of its own evaluator, or "" where they are not known.
        averaged: What its averages are over, where those are not the data sets of its rows or the eleven of
            the literature; such averages have no measured value beside them.
        notes: What to know before its numbers are used.
    """

    name: str
    title: str
    source: str = ""
    date: str = ""
    backbone: str = ""
    shots: int | None = None
    seeds: int | None = None
    views: str = ""
    evaluator: str = ""
    averaged: str = ""
    notes: str = ""
    differs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    no_target: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published number.

    Attributes:
        paper: Name of the paper or family.
        table: Which of its tables or logs.
        source: Repository and commit; place: file and line.
        date: Of the commit, or "".
        method: Name of the row as its source has it.
        learner: Name of the method here, or "" where there is none.
        calibration: Objective or calibrator by its name here, "none", or "" where it is not known.
        split: "base", "new", "harmonic" or "all".
        metric: Name of the metric here; its definition is that of ``evaluator``.
        dataset: Name of the data set here, or "average".
        value: Fraction (percent / 100) except of set sizes; None where the source has a gap.
        sd: Standard deviation over seeds (population) as a fraction, where it is known.
        n: Number of seeds, where it is known.
        backbone, shots, views, evaluator: Settings; "" or None where they are not stated.
        status: "published", "log", "secondary" (not from the source itself) or "missing".
        notes: What to know about this number.
        why_no_target: Why nothing should be compared with it, or "".
    """

    paper: str
    table: str
    source: str
    place: str
    date: str
    method: str
    learner: str
    calibration: str
    split: str
    metric: str
    dataset: str
    value: float | None
    sd: float | None
    n: int | None
    backbone: str
    shots: int | None
    views: str
    evaluator: str
    status: str
    notes: str = ""
    why_no_target: str = ""

    @property
    def is_target(self) -> bool:
        """Whether a measured value should be compared with it."""
        return self.value is not None and self.status != "secondary" and not self.why_no_target


@cache
def papers() -> Mapping[str, Paper]:
    """What is known about every file, by name.

    Example:
        >>> papers()["tcpt"].evaluator
        'tcpt-evaluator'
    """
    known = read_yaml(files(__package__).joinpath("papers.yaml").read_text(encoding="utf-8"))
    return {
        name: Paper(name=name, **{**entry, "date": str(entry.get("date", ""))})
        for name, entry in known.items()
    }


@cache
def entries(paper: str | None = None) -> tuple[Entry, ...]:
    """All published numbers, or those of one paper.

    Raises:
        SpecError: No such paper; names the nearest.

    Example:
        >>> found = [e for e in entries("calibprompt") if e.dataset == "covid"]
        >>> len(found), found[0].metric, found[0].shots
        (4, 'ece', 8)
    """
    if paper is None:
        return tuple(entry for name in papers() for entry in entries(name))
    require_known(paper, papers(), "no published table")
    about = papers()[paper]
    text = files(__package__).joinpath("tables", f"{paper}.csv").read_text(encoding="utf-8")
    return tuple(_entry(about, row) for row in csv.DictReader(io.StringIO(text)))


def select(found: Sequence[Entry], **wanted: str | Sequence[str] | None) -> list[Entry]:
    """The numbers that have all the given names; of several names for one thing, any of them.

    Names are those of a paper, learner, calibration, dataset, metric, split or table.

    Raises:
        SpecError: A name that none of the numbers has, or of something else; names the nearest.

    Example:
        >>> found = select(entries(), paper="tcpt", learner="maple", dataset="dtd", metric="ece")
        >>> round(100 * [e for e in found if e.calibration == "tcpt"][0].value, 2)
        3.56
        >>> len(select(entries(), paper=["tcpt", "dor"])) - len(entries("dor")) == len(entries("tcpt"))
        True
    """
    for name, value in wanted.items():
        require_known(name, FILTERS, "published numbers are not chosen by")
        if value is None:
            continue
        chosen = [value] if isinstance(value, str) else value
        valid = sorted({str(getattr(entry, name)) for entry in found} - {""})
        for each in chosen:
            require_known(each, valid, f"no published number has the {name}")
        found = [entry for entry in found if str(getattr(entry, name)) in chosen]
    return list(found)


def _entry(paper: Paper, row: Mapping[str, str]) -> Entry:
    shared = {
        name: getattr(paper, name)
        for name in ("source", "date", "backbone", "shots", "seeds", "views", "evaluator")
    } | dict(paper.differs.get(row["table"], {}))
    place = row.get("place", "")
    if shared["source"] == "several":
        shared["source"], _, place = place.partition(":")
    scale = 1 if row["metric"] in NOT_PERCENT else 100
    trained = row.get("learner") != "zero_shot"
    names = ("table", "method", "calibration", "split", "metric", "dataset", "status")
    same: dict[str, Any] = {name: row[name] for name in names}
    return Entry(
        paper=paper.name,
        **same,
        source=shared["source"],
        place=place,
        date=shared["date"],
        learner=row.get("learner", ""),
        value=_scaled(row["value"], scale),
        sd=_scaled(row.get("sd", ""), scale),
        n=(int(row["n"]) if row.get("n") else shared["seeds"]) if trained else None,
        backbone=row.get("backbone") or shared["backbone"],
        shots=(int(row["shots"]) if row.get("shots") else shared["shots"]) if trained else None,
        views=shared["views"] if trained else "",
        evaluator=shared["evaluator"],
        notes=row.get("notes", ""),
        why_no_target="; ".join(
            str(rule["why"])
            for rule in paper.no_target
            if all(_fits(row.get(key, ""), value) for key, value in rule.items() if key != "why")
        ),
    )


def _scaled(text: str, scale: int) -> float | None:
    return float(Decimal(text) / scale) if text else None  # 3.86 % is 0.0386, not 0.038599...


def _fits(value: str, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else value == str(wanted)
