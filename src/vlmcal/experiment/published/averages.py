"""Printed averages against the mean of the numbers that they are averages of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlmcal.experiment.published.tables import AVERAGES, PRINTED, Entry

TOLERANCE = 0.0005  # 0.05 percentage points: cells and averages are printed with two digits
_SHIFTS = "ood_average"
_IMAGENET = "imagenet"


@dataclass(frozen=True)
class Average:
    """A printed average and what its numbers give.

    Attributes:
        entry: The printed average.
        recomputed: Mean of its numbers; of a harmonic mean, 2 b n / (b + n) of the printed averages.
        n: How many numbers.
        without_imagenet: Their mean without ImageNet's, where it is one of them.
    """

    entry: Entry
    recomputed: float
    n: int
    without_imagenet: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the two are within 0.05 percentage points (and the error of adding floats)."""
        assert self.entry.value is not None
        return abs(self.recomputed - self.entry.value) <= TOLERANCE + 1e-9


def averages(found: Sequence[Entry]) -> list[Average]:
    """Every printed average whose numbers are known, recomputed.

    A row with a gap is not recomputed: its average may or may not have counted it.

    Example:
        >>> from vlmcal.experiment.published.tables import entries
        >>> wrong = [a for a in averages(entries("tcpt")) if not a.agrees]
        >>> mbls = [a for a in wrong if (a.entry.learner, a.entry.calibration) == ("maple", "mbls")]
        >>> [(a.entry.metric, round(100 * a.recomputed, 2), round(100 * a.entry.value, 2)) for a in mbls]
        [('accuracy', 81.87, 82.5), ('ece', 10.24, 8.36)]
    """
    rows: dict[tuple[object, ...], list[Entry]] = {}
    for entry in found:
        rows.setdefault(_row(entry), []).append(entry)
    printed = {(*_group(e), e.split): e for e in found if e.dataset == PRINTED}
    result = []
    for entry in found:
        if entry.dataset not in AVERAGES or entry.value is None:
            continue
        if entry.split == "harmonic":
            base, new = (printed.get((*_group(entry), split)) for split in ("base", "new"))
            if base is not None and new is not None and base.value and new.value:
                mean = 2 * base.value * new.value / (base.value + new.value)
                result.append(Average(entry, mean, 2))
            continue
        cells = [e for e in rows[_row(entry)] if e.dataset not in AVERAGES]
        if entry.dataset == _SHIFTS:
            cells = [e for e in cells if e.dataset != _IMAGENET]
        values = [e.value for e in cells if e.value is not None]
        if len(values) > 1 and len(values) == len(cells):
            others = [e.value for e in cells if e.dataset != _IMAGENET and e.value is not None]
            rest = float(np.mean(others)) if len(others) == len(values) - 1 else None
            result.append(Average(entry, float(np.mean(values)), len(values), rest))
    return result


def flagged(found: Sequence[Entry]) -> list[Entry]:
    """The same numbers, where printed averages that are not those of their numbers say so and are no target.

    Example:
        >>> from vlmcal.experiment.published.tables import entries
        >>> rows = [e for e in flagged(entries("coop_family")) if e.method == "ProDA" and e.why_no_target]
        >>> [(e.table, e.why_no_target) for e in rows]
        [('PromptSRC', "printed 76.65; the printed base and new accuracies give 78.59, unless ...")]
    """
    wrong = {each.entry: each for each in averages(found) if not each.agrees}
    return [replace(entry, why_no_target=_why(entry, wrong)) for entry in found]


def _why(entry: Entry, wrong: dict[Entry, Average]) -> str:
    if entry not in wrong:
        return entry.why_no_target
    found = wrong[entry]
    of = (
        "the printed base and new accuracies give"
        if entry.split == "harmonic"
        else f"the mean of its {found.n} numbers is"
    )
    assert entry.value is not None
    said = f"printed {100 * entry.value:.2f}; {of} {100 * found.recomputed:.2f}"
    rest = found.without_imagenet
    if rest is not None and abs(rest - entry.value) <= TOLERANCE:
        said += "; it is that of the others without ImageNet"
    if entry.split == "harmonic" and entry.value < found.recomputed:  # Jensen: it cannot be larger
        said += ", unless it is the average of the data sets' own harmonic means"
    return "; ".join(text for text in (entry.why_no_target, said) if text)


def _group(entry: Entry) -> tuple[object, ...]:
    names = ("paper", "table", "method", "calibration", "metric", "backbone", "shots")
    return tuple(getattr(entry, name) for name in names)


def _row(entry: Entry) -> tuple[object, ...]:
    return (*_group(entry), entry.split)
