"""What is wrong with a data set, collected in full instead of one exception at a time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from vlmcal.errors import DataError
from vlmcal.types.dataset import Dataset

Severity: TypeAlias = Literal["error", "warning"]
_SHOWN = 5
PICTURED = 60  # items of a problem whose rows are kept


def shown(items: Iterable[object], limit: int = _SHOWN) -> str:
    """The first ``limit`` items, comma-separated, and how many more there are.

    Example:
        >>> shown(["a", "b", "c"], limit=2)
        'a, b, ... (3 in all)'
    """
    every = [str(item) for item in items]
    more = f", ... ({len(every)} in all)" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more


def gaps(labels: Collection[int]) -> list[int]:
    """Numbers from 0 on that are no label, though a larger one is; the first few where a label is absurd.

    Example:
        >>> gaps({0, 1, 4}), gaps({0, 1}), len(gaps({0, 10**12}))
        ([2, 3], [], 1001)
    """
    most = max(labels, default=-1)
    return [n for n in range(min(most, len(labels) + 1000)) if n not in labels]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One kind of defect and everything it was found on.

    Attributes:
        severity: "error" if results would be wrong or the run would stop, else "warning".
        kind: Stable short name for scripts, such as "missing-file".
        message: What was found, on what, and how to fix it.
        items: The paths, ids, classes or rows concerned, all of them.
        rows: Of the first items the rows of their images, for those who want to see them.
    """

    severity: Severity
    kind: str
    message: str
    items: tuple[str, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """All problems of one data set, errors first.

    Attributes:
        name: Of the data set.
        n_images: How many were read.
        problems: What was found.
        overview: Lines on what is there: images per class and split, sizes of images.

    Example:
        >>> found = Problem(severity="warning", kind="absent-class", message='test lacks "cat"')
        >>> print(Report(name="pets", n_images=4, problems=(found,)).to_text())
        pets: 4 images, 0 errors, 1 warning
          warning [absent-class] test lacks "cat"
    """

    name: str
    n_images: int
    problems: tuple[Problem, ...] = ()
    overview: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.problems, key=lambda problem: problem.severity)
        object.__setattr__(self, "problems", tuple(ordered))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make results wrong or stop a run."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems worth knowing that stop nothing."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there are no errors (there may be warnings)."""
        return not self.errors

    def to_text(self) -> str:
        """The report as plain text: a summary line, then one line per problem."""
        counts = [
            f"{len(found)} {word}{'' if len(found) == 1 else 's'}"
            for found, word in ((self.errors, "error"), (self.warnings, "warning"))
        ]
        head = f"{self.name}: {self.n_images} images, {', '.join(counts)}"
        lines = [f"  {p.severity} [{p.kind}] {p.message}" for p in self.problems]
        return "\n".join([head, *lines])


class InvalidDataError(DataError):
    """A source of images that cannot be used as it is, with everything that is wrong with it.

    Attributes:
        report: All problems found while reading.
        partial: The rows without a problem, so that an audit can go on; None if there are none.
    """

    def __init__(self, report: Report, partial: Dataset | None = None) -> None:
        super().__init__(report.to_text())
        self.report = report
        self.partial = partial


class Findings:
    """Collects the problems met while a source is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []

    def error(
        self,
        kind: str,
        message: str,
        items: Iterable[object] = (),
        rows: Iterable[Sequence[int]] = (),
    ) -> None:
        """Note a defect that makes the source unusable."""
        self._add("error", kind, message, items, rows)

    def warning(
        self,
        kind: str,
        message: str,
        items: Iterable[object] = (),
        rows: Iterable[Sequence[int]] = (),
    ) -> None:
        """Note something worth knowing."""
        self._add("warning", kind, message, items, rows)

    def report(self, n_images: int) -> Report:
        """Everything noted so far."""
        return Report(name=self.name, n_images=n_images, problems=tuple(self.problems))

    def raise_errors(self, partial: Dataset | None = None) -> None:
        """Raise :class:`InvalidDataError` if any error was noted.

        Raises:
            InvalidDataError: With all problems at once.
        """
        report = self.report(0 if partial is None else len(partial))
        if not report.ok:
            raise InvalidDataError(report, partial)

    def _add(
        self,
        severity: Severity,
        kind: str,
        message: str,
        items: Iterable[object],
        rows: Iterable[Sequence[int]],
    ) -> None:
        found = Problem(
            severity=severity,
            kind=kind,
            message=message,
            items=tuple(str(item) for item in items),
            rows=tuple(tuple(map(int, several)) for several in islice(rows, PICTURED)),
        )
        self.problems.append(found)
