"""The page of an audit of data: what is wrong, with small pictures of what is suspected."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image

import vlmcal.data.problems as found
from vlmcal.errors import DataError
from vlmcal.io.images import read_image
from vlmcal.report.cells import Column, words
from vlmcal.report.html import Case, Report, Section
from vlmcal.report.tables import Table
from vlmcal.types.dataset import Dataset
from vlmcal.types.shown import plural
from vlmcal.types.split import SPLITS

_SIDE: Final = 112  # pixels of a thumbnail
_CASES: Final = 24  # pictures of one kind of problem
_CLASSES: Final = 200
_HEADINGS: Final[Mapping[str, str]] = {
    "duplicate-across": "The same picture in two splits",
    "duplicate-label": "The same picture with two labels",
    "duplicate-within": "The same picture twice in one split",
    "near-duplicate": "Pictures of two splits that look the same",
    "near-features": "Pictures of two splits with nearly the same features",
    "label-doubt": "Labels in doubt",
    "group-leak": "Groups in more than one split",
    "image-across": "Images in more than one split",
    "question-across": "Questions in more than one split",
    "name-groups": "Groups that hide in file names",
    "class-clue": "What tells the class without a look",
    "ending-leak": "Endings that tell the class",
    "imbalance": "Uneven classes",
    "unreadable-image": "Images that cannot be read",
    "missing-file": "Files that are not there",
    "reading": "Remarks",
}


def audit_page(report: found.Report, dataset: Dataset | None, *, command: str = "") -> Report:
    """A page with every problem, worst first, and thumbnails of what is suspected.

    Args:
        report: What the audit found.
        dataset: The data, for tables and thumbnails; None for none.
        command: That made it.

    Example:
        >>> problem = found.Problem(severity="warning", kind="imbalance", message='"a" has 99 images')
        >>> page = audit_page(found.Report(name="pets", n_images=100, problems=(problem,)), None)
        >>> page.sections[0].heading, page.summary[0]
        ('Uneven classes', 'No error and 1 warning in 100 images.')
    """
    errors, warnings = len(report.errors), len(report.warnings)
    head = " and ".join(
        f"{n or 'no'} {word}{'' if n == 1 else 's' if n else ''}"
        for n, word in ((errors, "error"), (warnings, "warning"))
    )
    summary = [f"{head[0].upper()}{head[1:]} in {plural(report.n_images, 'image')}."]
    if not report.problems:
        summary.append("Nothing that this audit looks for was found; it does not look for all.")
    kinds = dict.fromkeys(problem.kind for problem in report.problems)
    sections = [_section(kind, report, dataset) for kind in kinds]
    sections.append(_what_there_is(report, dataset))
    return Report(
        title=f"Audit of {report.name}",
        sections=sections,
        summary=summary,
        lead="What would make results on these data wrong or too good.",
        provenance={"data": report.name, "images": report.n_images},
        command=command,
    )


def _section(kind: str, report: found.Report, dataset: Dataset | None) -> Section:
    problems = [problem for problem in report.problems if problem.kind == kind]
    wrong = [problem.message for problem in problems if problem.severity == "error"]
    other = [problem.message for problem in problems if problem.severity != "error"]
    cases, left = [], 0
    if dataset is not None:
        for problem in problems:
            cases += [_case(problem, place, dataset) for place in range(len(problem.rows))]
            left += len(problem.items) - len(problem.rows)
    more = len(cases) + left - _CASES
    return Section(
        heading=_HEADINGS.get(kind, kind.replace("-", " ").capitalize()),
        warnings=wrong,
        prose=other,
        cases=cases[:_CASES],
        notes=[f"{more:,} more are in the file of numbers (--json)."] if more > 0 and cases else (),
    )


def _case(problem: found.Problem, place: int, dataset: Dataset) -> Case:
    rows = problem.rows[place]
    lines = [
        (
            str(dataset.splits[row]),
            f"{dataset.ids[row]} ({dataset.class_names[dataset.labels[row]]})",
        )
        for row in rows
    ]
    item = problem.items[place]
    said = item.rpartition(", ")[2] if " ~ " in item else ""
    if problem.kind == "label-doubt":
        said = item.rpartition(", ")[2]
    names = ", ".join(str(dataset.ids[row]) for row in rows)
    return Case(
        heading=said or plural(len(rows), "image"),
        lines=lines,
        image=_side_by_side(dataset, rows),
        alt=f"Small version of {names}",
    )


def _side_by_side(dataset: Dataset, rows: Sequence[int]) -> bytes | None:
    """A small JPEG of some images in a row; None where none can be read."""
    small = []
    for row in rows[:3]:
        try:
            image = read_image(dataset.images[row])
        except DataError:
            continue
        image.thumbnail((_SIDE, _SIDE))
        small.append(image)
    if not small:
        return None
    width = sum(image.width for image in small) + 4 * (len(small) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in small)), "white")
    left = 0
    for image in small:
        sheet.paste(image, (left, 0))
        left += image.width + 4
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _what_there_is(report: found.Report, dataset: Dataset | None) -> Section:
    lines = [line for line in report.overview if not line.startswith("  ")]
    section = Section(heading="What there is", prose=lines)
    if dataset is None or not len(dataset):
        return section
    splits = [split for split in SPLITS if (dataset.splits == split).any()]
    counts = [
        np.bincount(dataset.labels[dataset.splits == split], minlength=len(dataset.class_names))
        for split in splits
    ]
    names = dataset.class_names[:_CLASSES]
    table = Table(
        columns=[words("class"), *(Column(split, digits=0) for split in splits)],
        rows=[[name, *(int(count[c]) for count in counts)] for c, name in enumerate(names)],
    )
    return replace(section, tables=[table])
