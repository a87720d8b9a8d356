"""What local cases say about a confidence: of answers like this, how many were right."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from vlmcal.metrics.clinical.calibration import spiegelhalter
from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.review.policy import FEWEST
from vlmcal.types.arrays import StrArray
from vlmcal.types.binning import equal_mass_index
from vlmcal.types.confidences import Confidences

# Rows of a bin where there are many, bins of at least 30 rows that are made before bins grow, most bins,
# and how far outside of all bins a confidence still belongs to the nearest.
_PER_BIN, _FIRST_BINS, _MOST_BINS, _REACH = 60, 5, 10, 0.02
_REFUSED = 0.01
_SAMPLE = 1000
_WORDS = ((0.95, "almost certain"), (0.8, "likely"), (0.6, "more likely than not"))


class Local(NamedTuple):
    """Held-out answers with about the same confidence.

    Attributes:
        n: How many.
        right: Of these, right.
        low, high: Ends of the interval of their share, in [0, 1].
        least, most: Smallest and largest confidence among them.
    """

    n: int
    right: int
    low: float
    high: float
    least: float = 0.0
    most: float = 1.0

    def sentence(self) -> str:
        """As a natural frequency.

        Example:
            >>> Local(212, 174, 0.75, 0.88).sentence()
            'of 100 answers like this, about 82 were right (75 to 88; 212 cases)'
            >>> Local(7, 7, 0.6, 1.0).sentence()
            'not enough local cases'
        """
        if self.n < FEWEST:
            return "not enough local cases"
        of_100 = (round(100 * x) for x in (self.right / self.n, self.low, self.high))
        return "of 100 answers like this, about {} were right ({} to {}; {:,} cases)".format(
            *of_100, self.n
        )

    def range(self) -> str:
        """Which answers are meant by "like this".

        Example:
            >>> Local(212, 174, 0.75, 0.88, 0.78, 0.861).range()
            'local cases with a confidence of 78 to 86 %'
        """
        return f"local cases with a confidence of {100 * self.least:.0f} to {100 * self.most:.0f} %"


@dataclass(frozen=True)
class Evidence:
    """Local reliability by bins of equal size, and whether the confidences passed their check.

    Attributes:
        lower, upper: (B,) smallest and largest confidence of each bin.
        n, right: (B,) rows, and right ones.
        low, high: (B,) ends of the interval of the share.
        sample: Order statistics of all confidences, at most 1,000, for the distance of others from them.
        passed: Whether confidences agree with outcomes as far as the rows show; None where fewer than 30
            rows cannot tell.
        why: What the check found, in a sentence.
        subgroups: Whether each subgroup has enough cases and passed its own check.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> c = rng.uniform(0.5, 1, 300)
        >>> found = Evidence.of(Confidences(confidence=c, correct=rng.random(300) < c))
        >>> found.passed, found.near(0.75).n, found.near(0.2).sentence()
        (True, 60, 'not enough local cases')
    """

    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    n: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    sample: tuple[float, ...] = ()
    passed: bool | None = None
    why: str = "no held-out rows with outcomes to check the confidences on"
    subgroups: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Confidences, sites: StrArray | None = None, *, level: float = 0.95) -> Self:
        """From held-out rows whose confidences did not see their outcomes.

        Args:
            rows: Calibrated, cross-fitted where the calibrator was fitted on them.
            sites: (N,) subgroup of each row.
            level: Of the intervals.
        """
        several = min(_FIRST_BINS, len(rows) // FEWEST)
        bins = int(np.clip(len(rows) // _PER_BIN, max(several, 1), _MOST_BINS))
        index = equal_mass_index(rows.confidence, bins, rows.resolution)
        columns: list[list[Any]] = []
        for each in np.unique(index):
            inside = np.flatnonzero(index == each)
            part = rows.subset(inside)
            share = infer_proportion(part.correct, level=level, groups=part.groups)
            ends = float(part.confidence.min()), float(part.confidence.max())
            counts = len(part), int(part.correct.sum())
            columns.append([*ends, *counts, share.low, share.high])
        lower, upper, n, right, low, high = (tuple(column) for column in zip(*columns, strict=True))
        passed, why = check(rows)
        subgroups = {}
        for site in np.unique(sites).tolist() if sites is not None else ():
            subgroups[str(site)] = check(rows.subset(np.asarray(sites) == site))[0] is True
        ranks = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).round().astype(np.int64)
        sample = tuple(np.sort(rows.confidence)[ranks].round(6).tolist())
        return cls(lower, upper, n, right, low, high, sample, passed, why, subgroups)

    def near(self, confidence: float | None) -> Local:
        """The bin of a confidence; no cases where it lies outside of all that was seen."""
        if confidence is None or not self.n:
            return Local(0, 0, 0.0, 1.0)
        gaps = [
            max(low - confidence, confidence - high, 0.0)
            for low, high in zip(self.lower, self.upper, strict=True)
        ]
        best = int(np.argmin(gaps))
        between = self.lower[0] <= confidence <= self.upper[-1]
        if gaps[best] > _REACH and not between:
            return Local(0, 0, 0.0, 1.0)
        share = self.n[best], self.right[best], self.low[best], self.high[best]
        return Local(*share, self.lower[best], self.upper[best])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Back from :meth:`to_dict`."""
        lists = ("lower", "upper", "n", "right", "low", "high", "sample")
        given: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in plain.items()}
        return cls(**given)


def check(rows: Confidences) -> tuple[bool | None, str]:
    """Whether outcomes contradict the confidences: in the large, or by Spiegelhalter's test, at 1 % together.

    Returns:
        True, False, or None where there are fewer than 30 rows; and a sentence.

    Example:
        >>> check(Confidences(confidence=[0.9] * 100, correct=[True, False] * 50))[0]
        False
    """
    if len(rows) < FEWEST:
        return None, f"only {len(rows)} local cases with outcomes: {FEWEST} are needed for a check"
    share = infer_proportion(rows.correct, level=1 - _REFUSED / 2, groups=rows.groups)
    mean = float(rows.confidence.mean())
    told = f"mean confidence {100 * mean:.0f} %, right {100 * share.value:.0f} % of {len(rows):,}"
    assert share.low is not None
    assert share.high is not None
    if not share.low <= mean <= share.high:
        way = "too high" if mean > share.value else "too low"
        return False, f"confidences are {way} on the local cases: {told}"
    z = spiegelhalter(Risks.of(rows.confidence, rows.correct, rows.groups))
    if z.p_value is not None and z.p_value < _REFUSED / 2:
        return (
            False,
            f"confidences do not tell right from wrong as they should on the local cases: {told}",
        )
    return True, f"confidences agree with the local cases: {told}"


def in_words(confidence: float) -> str:
    """A confidence as a word.

    Example:
        >>> in_words(0.97), in_words(0.4)
        ('almost certain', 'uncertain')
    """
    return next((word for least, word in _WORDS if confidence >= least), "uncertain")
