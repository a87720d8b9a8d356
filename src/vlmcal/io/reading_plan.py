"""How a file is read: said before any number, so that a wrong reading is seen and not measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from vlmcal.errors import few

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """Which column means what, and by which rule.

    Attributes:
        file: Name of the file.
        form: What kind of file, with separator and encoding where they are unusual.
        rows: Number of rows.
        scores: What the numbers are, and by whose word.
        label: Column with the right class, and what its values are taken as.
        classes: Names of the classes, in order.
        columns: Their columns or arrays.
        rule: Why these are the classes.
        positive: The positive one of two classes, where it is said.
        unit: Column with the units (patients) of the intervals.
        by: Columns that part the rows into subgroups.
        weight: Where the weights of the rows come from.
        ids: Column with the row ids.
        missing: Rows without a label.
        left_out: What the other columns are, by name.
        notes: What to look at.

    Example:
        >>> plan = ReadingPlan(
        ...     file="a.csv", form="CSV", rows=3, scores="probabilities (--probs)", label='column "y"',
        ...     classes=("cat", "dog"), columns=("p_cat", "p_dog"), rule="p_* match the label values",
        ... )
        >>> print(plan)
        reading a.csv: CSV, 3 rows
          label    column "y"
          classes  2: cat, dog (p_* match the label values)
          scores   probabilities (--probs)
    """

    file: str
    form: str
    rows: int
    scores: str
    label: str = ""
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rule: str = ""
    positive: str = ""
    unit: str = ""
    by: tuple[str, ...] = ()
    weight: str = ""
    ids: str = ""
    missing: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """What is said about each part: (part, text)."""
        classes = self.rule
        if self.classes:
            classes = f"{len(self.classes):,}: {few(self.classes, _SHOWN)} ({self.rule})"
        label = self.label or "none: nothing can be measured"
        if self.missing:
            label += f"; missing in {self.missing:,} rows"
        out = "; ".join(
            f"{name or '(no name)'} ({why})" for name, why in list(self.left_out.items())[:12]
        )
        if len(self.left_out) > 12:
            out += f"; ... ({len(self.left_out)} in all)"
        said = [
            ("label", label),
            ("classes", classes),
            ("positive", self.positive),
            ("scores", self.scores),
            ("unit", self.unit),
            ("by", ", ".join(self.by)),
            ("weight", self.weight),
            ("ids", self.ids),
            ("left out", out),
            *(("note", text) for text in self.notes),
        ]
        return [(part, text) for part, text in said if text]

    def __str__(self) -> str:
        lines = [f"  {part:<8} {text}" for part, text in self.lines()]
        return "\n".join([f"reading {self.file}: {self.form}, {self.rows:,} rows", *lines])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        values: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in data.items()
        }
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
