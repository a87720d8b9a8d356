"""Watching a model by what comes in: calibration over time, alarms that hold at any time, drift."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics import evaluate
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.posthoc.drift import Cusum, Shift, cusum, shift
from vlmcal.posthoc.monitoring import Watch, watch_coverage, watch_rows
from vlmcal.review.measures import Measures, exact_share
from vlmcal.review.weighting import Weighted
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

EVERY = 200
WEEK = "week"
COVERAGE = "coverage of the label sets"
_RESAMPLES, _BINS = 200, 10


@dataclass(frozen=True, eq=False)
class Stream:
    """What came in, in its order.

    Attributes:
        rows: (N,) confidences with outcomes.
        strata: (N,) part of each row, by the name of the division.
        times: (N,) when each outcome became known, in ISO 8601; or None.
        covered: (N,) whether the label set held the truth; or None.
        sizes: (N,) classes in the label set; or None.
        target_coverage: Promised coverage of the label sets.
        accepted: (N,) whether the policy left the row to the model; or None.
        target_risk: Share of wrong answers among these that was promised, or None.
        confidences: (M,) of all cases in order, with or without outcomes.
        before: Confidences of the rows that the model was checked on; empty for the first window of
            ``confidences``.
        deferred: (M,) whether a person is asked; or None.
        deferral_rate: As it was on the rows that the model was checked on; None for the first window.
    """

    rows: Confidences
    strata: Mapping[str, StrArray] = field(default_factory=dict)
    times: StrArray | None = None
    covered: BoolArray | None = None
    sizes: FloatArray | None = None
    target_coverage: float | None = None
    accepted: BoolArray | None = None
    target_risk: float | None = None
    confidences: FloatArray = field(default_factory=lambda: np.empty(0))
    before: FloatArray = field(default_factory=lambda: np.empty(0))
    deferred: BoolArray | None = None
    deferral_rate: float | None = None


@dataclass(frozen=True)
class Window:
    """A stretch of outcomes.

    Attributes:
        first, last: Places, from 1.
        since, until: Times; "" where unknown.
        n: Outcomes.
        confidence: Mean.
        accuracy: With its interval.
        gap: Mean confidence minus accuracy, with the interval of the accuracy.
        ece: Over ten bins of equal mass, with its interval.
        risk: Share of wrong answers among those left to the model, with the exact interval; or None.
        coverage: Of the label sets, with the exact interval; or None.
        set_size: Mean classes in a label set; or None.
    """

    first: int
    last: int
    since: str
    until: str
    n: int
    confidence: float
    accuracy: Estimate
    gap: Estimate
    ece: Estimate
    risk: Estimate | None
    coverage: Estimate | None
    set_size: float | None = None


@dataclass(frozen=True, eq=False)
class Watched:
    """What :func:`watch_stream` found.

    Attributes:
        alarms: Tests of calibration by part ("all rows", "site = a") and of coverage; together they raise a
            false alarm in at most a share alpha of all streams, however often one looks.
        windows: Over time.
        parts: The same for each part of each division, over all of the stream.
        shift: Of the confidences; None where there are too few.
        deferral: CUSUM of the deferrals; None where they are not known.
        deferral_rate: Share of all cases; None likewise.
        target_risk, target_coverage: What was promised.
        measures: Of a review: overrides, automation bias, share with outcomes.
        weighted: Of a review in which some outcomes are known: estimates for all cases.
        suggestion: What could be done; nothing is ever done by itself.
        notes: What the reader should know.
    """

    alarms: Mapping[str, Watch]
    windows: Sequence[Window]
    parts: Mapping[str, Window]
    shift: Shift | None
    deferral: Cusum | None
    deferral_rate: Estimate | None
    target_risk: float | None = None
    target_coverage: float | None = None
    measures: Measures | None = None
    weighted: Weighted | None = None
    suggestion: str = ""
    notes: Sequence[str] = ()

    @property
    def alarmed(self) -> list[str]:
        """Sentences of the tests that alarm."""
        return [f"{n}: {w.sentence()}" for n, w in self.alarms.items() if w.alarm is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: the tests by name, and everything else."""
        sums = self.deferral
        return {
            **{name: each.to_dict() for name, each in self.alarms.items()},
            "windows": [asdict(window) for window in self.windows],
            "parts": {name: asdict(window) for name, window in self.parts.items()},
            "drift": None if self.shift is None else self.shift._asdict(),
            "deferral": None
            if sums is None
            else {"alarm": sums.alarm, "way": sums.way, "limit": sums.limit},
            "deferral_rate": None if self.deferral_rate is None else asdict(self.deferral_rate),
            "target_risk": self.target_risk,
            "target_coverage": self.target_coverage,
            "measures": None if self.measures is None else self.measures.to_dict(),
            "weighted": None if self.weighted is None else self.weighted.to_dict(),
            "suggestion": self.suggestion,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """What a person on duty reads."""
        told = [f"{name}: {each.sentence()}" for name, each in self.alarms.items()]
        if self.windows:
            last = self.windows[-1]
            told.append(
                f"latest {last.n:,} outcomes: right {_percent(last.accuracy)}, mean confidence "
                f"{100 * last.confidence:.1f} %, ECE {100 * last.ece.value:.1f} %"
            )
            if last.risk is not None:
                goal = "" if self.target_risk is None else f" (target {100 * self.target_risk:g} %)"
                told.append(f"wrong among those left to the model: {_percent(last.risk)}{goal}")
            if last.coverage is not None and self.target_coverage is not None:
                goal = f"(target {100 * self.target_coverage:g} %)"
                told.append(f"label sets that hold the truth: {_percent(last.coverage)} {goal}")
        if self.weighted is not None:
            told += self.weighted.sentences()
        if self.shift is not None:
            told.append(self.shift.sentence())
        if self.deferral_rate is not None:
            told.append(f"deferred to a person: {_percent(self.deferral_rate)}")
        if self.deferral is not None and self.deferral.alarm is not None:
            told.append(
                f"the deferral rate went {self.deferral.way} (CUSUM at case {self.deferral.alarm:,})"
            )
        return [*told, *filter(None, [self.suggestion]), *self.notes]


def _percent(value: Estimate) -> str:
    ends = ""
    if value.low is not None and value.high is not None:
        ends = f" ({100 * value.low:.1f} to {100 * value.high:.1f}; {value.n:,})"
    return f"{100 * value.value:.1f} %{ends}"


def watch_stream(
    stream: Stream,
    *,
    alpha: float = 0.05,
    every: int | str = EVERY,
    level: float = 0.95,
    seed: int = 0,
) -> Watched:
    """Calibration, coverage, selective risk, drift and deferrals of a stream, over time and by part.

    Args:
        stream: What came in.
        alpha: Share of false alarms over everything that is tested, however often one looks.
        every: Outcomes per window, or "week".
        level: Of the intervals.
        seed: Of the resampling.

    Raises:
        SpecError: ``alpha`` or ``every`` is out of range, or weeks are asked for without times.

    Example:
        >>> rows = Confidences(confidence=[0.9] * 40, correct=[True, False] * 20)
        >>> found = watch_stream(Stream(rows, confidences=rows.confidence))
        >>> found.alarms["all rows"].alarm, len(found.windows), found.windows[0].gap.value
        (10, 1, 0.4)
    """
    share = alpha if stream.covered is None else alpha / 2
    alarms = dict(watch_rows(stream.rows, strata=stream.strata, alpha=share))
    known = stream.covered is not None and stream.target_coverage is not None
    if known and len(stream.rows):
        assert stream.covered is not None
        assert stream.target_coverage is not None
        alarms[COVERAGE] = watch_coverage(stream.covered, stream.target_coverage, alpha=share)
    cuts = _cuts(stream, every)
    windows = [_window(stream, np.arange(a, b), level, seed) for a, b in cuts]
    parts = {
        f"{name} = {part}": _window(stream, np.flatnonzero(values == part), level, seed)
        for name, values in stream.strata.items()
        for part in np.unique(values)
    }
    size = every if isinstance(every, int) else EVERY
    deferral, rate = _deferral(stream, size, level)
    return Watched(
        alarms=alarms,
        windows=windows,
        parts=parts,
        shift=_shift(stream, size),
        deferral=deferral,
        deferral_rate=rate,
        target_risk=stream.target_risk,
        target_coverage=stream.target_coverage,
        suggestion=_suggestion(alarms),
    )


def _cuts(stream: Stream, every: int | str) -> list[tuple[int, int]]:
    """Ends of the windows; a rest of less than half a window belongs to the one before."""
    n = len(stream.rows)
    if not n:
        return []
    if every == WEEK:
        if stream.times is None:
            raise SpecError(
                "windows of a week need the times of the outcomes; give a number of them"
            )
        weeks = [_week(time) for time in stream.times.tolist()]
        starts = [i for i in range(n) if i == 0 or weeks[i] != weeks[i - 1]]
        return list(zip(starts, [*starts[1:], n], strict=True))
    if not isinstance(every, int) or every < 1:
        raise SpecError(
            f'windows: expected a number of outcomes of at least 1, or "week", got {every}'
        )
    starts = list(range(0, n, every))
    if len(starts) > 1 and n - starts[-1] < every / 2:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


def _week(time: str) -> tuple[int, int]:
    try:
        return datetime.fromisoformat(time).isocalendar()[:2]
    except ValueError as error:
        raise DataError(f"expected a day or time as in 2026-11-29, got {time!r}") from error


def _window(stream: Stream, places: Any, level: float, seed: int) -> Window:
    rows = stream.rows.subset(places)
    accuracy = infer_proportion(rows.correct, level=level, groups=rows.groups)
    mean = float(rows.confidence.mean())
    low, high = (None if end is None else mean - end for end in (accuracy.high, accuracy.low))
    gap = Estimate(round(mean - accuracy.value, 12), low, high, n=len(rows), method=accuracy.method)
    options = {"ece": {"strategy": "quantile", "bins": _BINS}}
    told = {"resamples": _RESAMPLES, "level": level, "seed": seed, "options": options}
    ece = evaluate(rows, metrics=["ece"], **told)["ece"]  # type: ignore[arg-type]
    times = [""] if stream.times is None else stream.times[places].tolist()
    risk = None
    if stream.accepted is not None and stream.accepted[places].any():
        risk = exact_share(~rows.correct[stream.accepted[places]], level)
    coverage = None if stream.covered is None else exact_share(stream.covered[places], level)
    return Window(
        first=int(places[0]) + 1,
        last=int(places[-1]) + 1,
        since=times[0],
        until=times[-1],
        n=len(rows),
        confidence=mean,
        accuracy=accuracy,
        gap=gap,
        ece=ece,
        risk=risk,
        coverage=coverage,
        set_size=None if stream.sizes is None else float(stream.sizes[places].mean()),
    )


def _shift(stream: Stream, size: int) -> Shift | None:
    """Of the latest window against the rows of the check, or the first window."""
    now = stream.confidences
    before = stream.before if stream.before.size else now[:size]
    latest = now if stream.before.size and now.size < size else now[-size:]
    if not stream.before.size and now.size < 2 * size:
        return None
    return shift(before, latest) if before.size and latest.size else None


def _deferral(stream: Stream, size: int, level: float) -> tuple[Cusum | None, Estimate | None]:
    deferred, rate = stream.deferred, stream.deferral_rate
    if deferred is None or not deferred.size:
        return None, None
    share = exact_share(deferred, level)
    later = deferred
    if rate is None:
        if deferred.size < 2 * size:
            return None, share
        rate, later = float(deferred[:size].mean()), deferred[size:]
    return (cusum(later, rate) if 0 < rate < 1 else None), share


def _suggestion(alarms: Mapping[str, Watch]) -> str:
    whole = alarms["all rows"]
    if all(each.alarm is None for each in alarms.values()):
        return ""
    told = ""
    if whole.alarm is not None:
        told = f"log-odds = {whole.intercept:+g} + {whole.slope:g} x the stated log-odds would agree better; "
    return (
        f"suggested: {told}calibrate anew on recent outcomes (`vlmcal calibrate fit`, with --from-review for "
        "a review) and look at it before use; nothing changes by itself"
    )
