"""What a reader of a foreign file is asked, and what it hands over before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmcal.errors import DataError
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.types.arrays import FloatArray, IntArray, StrArray
from vlmcal.types.split import Split


@dataclass(frozen=True)
class Columns:
    """Which columns or arrays of a file mean what; None stands for the reader's own rule.

    Attributes:
        labels: Name of the labels.
        group: Name of the units (patients) that rows belong to.
        ids: Name of the ids.
        exclude: Names to leave out.
        class_names: Columns of the classes in order, each as COLUMN or COLUMN=NAME; ("all",) for all.
        prefix: What the names of the class columns start with.
        positive: The column with the score of the positive class, or the positive one of two classes.
        positive_label: The label value that is positive.
        labels_file: A second file with the labels, joined by the ids.
        first_label: Number of the first class, for integer labels.
        by: Columns that part the rows into subgroups.
        sheet: Sheet of a workbook.
        labels_needed: Whether rows without labels are refused.
        known_classes: Class names of rows that these belong to (those a calibrator was fitted on).
    """

    labels: str | None = None
    group: str | None = None
    ids: str | None = None
    exclude: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    prefix: str | None = None
    positive: str | None = None
    positive_label: str | None = None
    labels_file: Path | None = None
    first_label: int | None = None
    by: tuple[str, ...] = ()
    sheet: str | None = None
    labels_needed: bool = True
    known_classes: tuple[str, ...] = ()

    def refuse(self, why: str, *names: str) -> None:
        """Refuse those of the named fields that were given, for readers to which they say nothing.

        Raises:
            DataError: One of them was given.

        Example:
            >>> Columns(first_label=1).refuse("is for integer labels; drop it", "prefix", "first_label")
            Traceback (most recent call last):
            vlmcal.errors.DataError: first_label=1 (--first-label) is for integer labels; drop it
        """
        for name in names:
            value = getattr(self, name)
            if value not in (None, ()):
                said = str(value) if isinstance(value, Path) else value
                raise DataError(f"{name}={said!r} (--{name.replace('_', '-')}) {why}")


@dataclass(frozen=True, kw_only=True, eq=False)
class RawRows:
    """What rows as found in a file have, whatever is said of each.

    Attributes:
        plan: How the file was read.
        ids: (N,) or None.
        groups: (N,) or None.
        strata: (N,) values of each column that parts the rows into subgroups.
        source: Name of the file.
    """

    plan: ReadingPlan
    ids: Any = None
    groups: Any = None
    strata: Mapping[str, StrArray] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class RawPredictions(RawRows):
    """Scores and labels as found in a file.

    Attributes:
        scores: (N, K) logits, probabilities or percentages.
        labels: (N,) indices, or None.
        class_names: K names, or empty if the file has none.
        split: The split that the file itself names, or None.
        extras: Further named arrays.
    """

    scores: FloatArray
    labels: IntArray | None
    class_names: tuple[str, ...] = ()
    split: Split | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class RawConfidences(RawRows):
    """A table of predictions with one confidence each, as found in a file.

    Attributes:
        confidence: (N,) in the unit of the file.
        correct: (N,) whether the prediction is right.
    """

    confidence: FloatArray
    correct: Any
