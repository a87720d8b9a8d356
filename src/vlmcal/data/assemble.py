"""From the rows that a loader found to a data set, with every defect of the rows reported at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import stratified_split
from vlmcal.errors import SplitError
from vlmcal.types.arrays import IntArray, StrArray
from vlmcal.types.dataset import DEFAULT_TEMPLATES, Dataset
from vlmcal.types.picture import Picture


@dataclass
class Rows:
    """Parallel columns of a source that is being read; a row with label -1 is known to be bad."""

    images: list[Path | Picture] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    splits: list[str] | None = None
    groups: list[str] | None = None

    def good(self) -> list[int]:
        """Positions of the rows that can be kept: usable label, split and group, first of their id."""
        seen: set[str] = set()
        kept = []
        for row, label in enumerate(self.labels):
            cells = [column[row] for column in (self.splits, self.groups) if column is not None]
            if label >= 0 and all(cells) and self.ids[row] not in seen:
                seen.add(self.ids[row])
                kept.append(row)
        return kept


def as_templates(templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """Prompt templates from one string, several, or None for the default.

    Example:
        >>> as_templates("a scan of {}."), as_templates(None)
        (('a scan of {}.',), ('a photo of a {}.',))
    """
    if templates is None:
        return DEFAULT_TEMPLATES
    return (templates,) if isinstance(templates, str) else tuple(templates)


def as_folder(path: str | Path, default: Path) -> Path:
    """The folder ``path`` with ``~`` expanded, or ``default`` if it is empty."""
    return Path(path).expanduser() if str(path) else default


def assemble(
    rows: Rows,
    class_names: Sequence[str],
    *,
    findings: Findings,
    templates: tuple[str, ...],
    split_seed: int = 0,
) -> Dataset:
    """A data set from collected rows; a source without splits gets a stratified, seeded one.

    Args:
        rows: What was read.
        class_names: K names in label order.
        findings: Problems met so far; repeated ids are added here, warnings become remarks.
        templates: Zero-shot prompts.
        split_seed: Seed of the split of a source that has none (see
            :func:`vlmcal.data.splits.stratified_split`).

    Raises:
        InvalidDataError: There was any error; carries the data set of the rows without one.
    """
    repeated = [name for name, count in Counter(rows.ids).items() if count > 1]
    if repeated:
        findings.error(
            "duplicate-id",
            f"{len(repeated)} ids occur more than once: {shown(repeated)}; list every image once, or "
            "give an id column with one value per row",
            repeated,
        )
    kept = rows.good()
    if not kept:
        if not findings.problems:
            findings.error("no-images", "there is not a single image")
        findings.raise_errors()
    labels = np.asarray([rows.labels[row] for row in kept], dtype=np.int64)
    groups = None if rows.groups is None else [rows.groups[row] for row in kept]
    if rows.splits is None:
        splits = _new_split(labels, groups, split_seed, findings)
    else:
        splits = np.asarray([rows.splits[row] for row in kept], dtype=np.str_)
    dataset = Dataset(
        name=findings.name,
        images=tuple(rows.images[row] for row in kept),
        labels=labels,
        splits=splits,
        class_names=tuple(class_names),
        ids=np.asarray([rows.ids[row] for row in kept], dtype=np.str_),
        templates=templates,
        groups=None if groups is None else np.asarray(groups, dtype=np.str_),
    )
    findings.raise_errors(dataset)
    return replace(dataset, remarks=tuple(problem.message for problem in findings.problems))


def _new_split(
    labels: IntArray, groups: list[str] | None, seed: int, findings: Findings
) -> StrArray:
    try:
        return stratified_split(labels, groups=groups, seed=seed)
    except SplitError as error:
        findings.error("no-split", str(error))
        return np.full(labels.size, "unknown")
