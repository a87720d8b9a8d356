"""For those who decide: calibrated probability with an interval, similar past answers, whom to ask."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vlmcal.calibrators.base import CalibrationWarning, Calibrator
from vlmcal.conformal.abstain import Abstain
from vlmcal.errors import DataError
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.posthoc.cross_fit import cross_fit
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, as_ids, pick_ids
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.folds import fold_index

NEIGHBOURS = 50


@dataclass(frozen=True, eq=False)
class Decisions:
    """One line of advice per answer.

    Attributes:
        rows: The answers with calibrated confidences; no row's own image was fitted on.
        low, high: (N,) ends of the interval of the calibrated probability.
        similar: Share of right answers among similar past answers, with its interval.
        accepted: (N,) bool; the other answers are for a human.
        thresholds: (N,) smallest calibrated probability that is accepted in the row's fold.
        target_risk: Share of wrong answers among the accepted that is asked for.
        notes: What the reader should know.
    """

    rows: Confidences
    low: FloatArray
    high: FloatArray
    similar: tuple[Estimate, ...]
    accepted: BoolArray
    thresholds: FloatArray
    target_risk: float
    notes: tuple[str, ...] = ()


def decide(
    rows: Confidences,
    calibrator: Calibrator,
    *,
    target_risk: float = 0.1,
    folds: int = 5,
    per_kind: bool = False,
    resamples: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> Decisions:
    """Cross-fitted advice: everything said about a row was learned from other images.

    - Calibrated probability: of ``calibrator`` fitted on the other folds; folds keep groups together.
    - Interval: percentiles of the probability when those folds' groups are drawn anew ``resamples`` times.
      It speaks of the fit alone, not of the single answer, which is right or wrong.
    - Similar past answers: the 50 rows of other groups and of the same kind with the nearest calibrated
      probability; share of right ones with a Wilson interval.
    - Accepted: the threshold is chosen on one row of each group of the other folds, so that with
      probability 0.9 at most ``target_risk`` of the accepted answers are wrong (see
      :class:`~vlmcal.conformal.abstain.Abstain`).

    Args:
        rows: Confidence and correctness with groups and kinds.
        calibrator: Not changed.
        target_risk: In (0, 1).
        folds: Of the cross-fitting.
        per_kind: Fit one map for each kind of row; the threshold is the same for all kinds.
        resamples: For the intervals; 0 for none.
        level: Of the intervals.
        seed: Of every random choice.

    Raises:
        DataError: Fewer groups than folds.
        SpecError: ``target_risk`` or ``folds`` is out of range.
        SplitError: The rows are test data.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rng = np.random.default_rng(0)
        >>> c = rng.uniform(0.5, 1, 400)
        >>> rows = Confidences(confidence=c, correct=rng.random(400) < c - 0.2)
        >>> advice = decide(rows, Platt(), resamples=20)
        >>> bool(abs(advice.rows.confidence.mean() - rows.correct.mean()) < 0.01)
        True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        warnings.simplefilter("ignore", UserWarning)
        probability, low, high = (np.empty(len(rows)) for _ in range(3))
        for places in kind_places(rows) if per_kind else [np.arange(len(rows))]:
            part = rows.subset(places)
            fitted = cross_fit(calibrator, part, folds=folds, seed=seed)
            probability[places] = fitted.confidence
            low[places], high[places] = _intervals(
                part, calibrator, fitted, folds, resamples, level, seed
            )
        calibrated = replace(rows, confidence=probability, provenance=fitted.provenance)
        accepted, thresholds, notes = _accept(calibrated, target_risk, folds, seed)
    return Decisions(
        rows=calibrated,
        low=low,
        high=high,
        similar=similar_right(calibrated, level=level),
        accepted=accepted,
        thresholds=thresholds,
        target_risk=target_risk,
        notes=tuple(notes),
    )


def kind_places(rows: Confidences) -> list[IntArray]:
    """Places of the rows of each kind, in the order of their first row.

    Raises:
        DataError: The rows carry no kinds.
    """
    if rows.kinds is None:
        raise DataError("per kind: these rows carry no kinds")
    return [np.flatnonzero(rows.kinds == kind) for kind in dict.fromkeys(rows.kinds.tolist())]


def _intervals(
    rows: Confidences,
    calibrator: Calibrator,
    calibrated: Confidences,
    folds: int,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    if not resamples:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    index = fold_index(rows, folds=folds, seed=seed)
    drawn = np.empty((resamples, len(rows)))
    for fold in range(folds):
        inside = np.flatnonzero(index == fold)
        held = rows.subset(inside)
        others = rows.subset(index != fold)
        for r, sample in enumerate(_resampled(others, resamples, seed, fold)):
            drawn[r, inside] = (
                calibrator.fresh().fit(sample, identify=False).transform(held).confidence
            )
    return _bounds(drawn, calibrated, level)


def _bounds(
    drawn: FloatArray, calibrated: Confidences, level: float
) -> tuple[FloatArray, FloatArray]:
    """Quantiles of the maps' draws, (resamples, N); the probability itself is always inside."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return np.minimum(low, calibrated.confidence), np.maximum(high, calibrated.confidence)


def _resampled(rows: Confidences, resamples: int, seed: int, fold: int) -> Iterator[Confidences]:
    """The rows with their groups drawn with replacement."""
    units = rows.ids if rows.groups is None else rows.groups
    member = np.unique(units, return_inverse=True)[1]
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member)
    starts = np.cumsum(sizes) - sizes
    generator = numpy_generator(seed, "decisions", fold)
    draws = [generator.integers(0, sizes.size, sizes.size) for _ in range(resamples)]
    # A row that is drawn twice needs two ids; numbers, shared by all draws, are made and checked once.
    ids = as_ids(None, max(int(sizes[groups].sum()) for groups in draws))
    for groups in draws:
        drawn = sizes[groups]
        ends = np.cumsum(drawn)
        places = order[np.repeat(starts[groups] - (ends - drawn), drawn) + np.arange(ends[-1])]
        yield Confidences(
            confidence=rows.confidence[places],
            correct=rows.correct[places],
            ids=pick_ids(ids, slice(places.size)),
            kinds=None if rows.kinds is None else rows.kinds[places],
            resolution=rows.resolution,
            extras={name: array[places] for name, array in rows.extras.items()},
        )


def _accept(
    rows: Confidences, target_risk: float, folds: int, seed: int
) -> tuple[BoolArray, FloatArray, list[str]]:
    index = fold_index(rows, folds=folds, seed=seed)
    accepted = np.zeros(len(rows), dtype=np.bool_)
    thresholds = np.empty(len(rows))
    told: list[str] = []
    for fold in range(folds):
        inside = np.flatnonzero(index == fold)
        fitted = Abstain().fit_confidences(
            _one_per_group(rows.subset(index != fold), seed), target_risk
        )
        accepted[inside] = fitted.select(rows.subset(inside)).accepted
        thresholds[inside] = fitted.threshold_
        told += fitted.messages_
    # The folds differ in a few rows and say nearly the same.
    return accepted, thresholds, [f"In {len(told)} of {folds} folds: {told[0]}"] if told else []


def threshold(
    rows: Confidences, calibrator: Calibrator, *, target_risk: float, folds: int = 5, seed: int = 0
) -> tuple[float, tuple[str, ...]]:
    """Smallest calibrated probability at which answers to come may be relied on.

    Chosen on one cross-fitted row of each group, for a map that is then fitted on all rows; that the last
    map differs a little from those of the folds is left out of account.

    Args:
        rows: With verdicts and groups.
        calibrator: Not changed.
        target_risk: Share of wrong answers among the accepted, in (0, 1).
        folds: Of the cross-fitting.
        seed: Of the folds.

    Returns:
        The threshold (infinite when no answer may be relied on), and what the reader should know.

    Raises:
        DataError: Fewer groups than folds.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rng = np.random.default_rng(0)
        >>> c = rng.uniform(0.5, 1, 2000)
        >>> rows = Confidences(confidence=c, correct=rng.random(2000) < c)
        >>> found, _ = threshold(rows, Platt(), target_risk=0.1)
        >>> bool(0.75 < found < 0.95)
        True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        calibrated = cross_fit(calibrator, rows, folds=folds, seed=seed)
        return _threshold_of(calibrated, target_risk, seed)


def _threshold_of(
    calibrated: Confidences, target_risk: float, seed: int
) -> tuple[float, tuple[str, ...]]:
    """As :func:`threshold`, of rows that are cross-fitted already."""
    fitted = Abstain().fit_confidences(_one_per_group(calibrated, seed), target_risk)
    return fitted.threshold_, tuple(fitted.messages_)


def decide_new(
    fitting: Confidences,
    calibrator: Calibrator,
    rows: Confidences,
    *,
    target_risk: float = 0.1,
    folds: int = 5,
    resamples: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> Decisions:
    """The same advice as :func:`decide` on answers to come, all of it learned from other rows.

    The map is fitted on all ``fitting`` rows, intervals draw their groups anew, similar past answers are
    among them (of any kind where no past row has the kind of the new one), and the threshold is that of
    :func:`threshold`.

    Args:
        fitting: With verdicts and groups.
        calibrator: Not changed.
        rows: New answers about other groups; their verdicts are not read.
        target_risk: In (0, 1).
        folds: Of the cross-fitting that chooses the threshold.
        resamples: For the intervals; 0 for none.
        level: Of the intervals.
        seed: Of every random choice.

    Raises:
        DataError: Fewer groups than folds.
        SplitError: A new row was fitted on.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rng = np.random.default_rng(0)
        >>> c = rng.uniform(0.5, 1, 400)
        >>> past = Confidences(confidence=c, correct=rng.random(400) < c - 0.2)
        >>> new = Confidences(confidence=[0.9], correct=[False], ids=["new"])
        >>> advice = decide_new(past, Platt(), new, resamples=20)
        >>> bool(0.5 < advice.low[0] < advice.rows.confidence[0] < advice.high[0] < 0.8)
        True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        warnings.simplefilter("ignore", UserWarning)
        after = calibrator.fresh().fit(fitting).transform(rows)
        drawn = [
            calibrator.fresh().fit(sample, identify=False).transform(rows).confidence
            for sample in (_resampled(fitting, resamples, seed, 0) if resamples else ())
        ]
        past = cross_fit(calibrator, fitting, folds=folds, seed=seed)
        lowest, told = _threshold_of(past, target_risk, seed)
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    if drawn:
        low, high = _bounds(np.stack(drawn), after, level)
    return Decisions(
        rows=after,
        low=low,
        high=high,
        similar=tuple(_similar_past(after, past, i, level) for i in range(len(rows))),
        accepted=after.confidence >= lowest,
        thresholds=np.full(len(rows), lowest),
        target_risk=target_risk,
        notes=told,
    )


def _similar_past(new: Confidences, past: Confidences, place: int, level: float) -> Estimate:
    """Share of right ones among the past answers of the same kind that are nearest to one new row."""
    distance = np.abs(past.confidence - new.confidence[place])
    if new.kinds is not None and past.kinds is not None:
        same = past.kinds == new.kinds[place]
        distance = np.where(same | ~same.any(), distance, np.inf)
    reach = np.sort(distance)[:NEIGHBOURS]
    near = distance <= reach[np.isfinite(reach)].max() + 1e-12
    units = past.ids if past.groups is None else past.groups
    return infer_proportion(past.correct[near], level=level, groups=units[near])


def _one_per_group(rows: Confidences, seed: int) -> Confidences:
    """A random row of each group, because the threshold's guarantee is about independent rows."""
    if rows.groups is None:
        return rows
    shuffled = numpy_generator(seed, "one per group").permutation(len(rows))
    first = np.unique(rows.groups[shuffled], return_index=True)[1]
    return rows.subset(np.sort(shuffled[first]))


def similar_right(
    rows: Confidences, *, neighbours: int = NEIGHBOURS, level: float = 0.95
) -> tuple[Estimate, ...]:
    """Of the answers of other groups with the nearest confidence, which share was right.

    Answers as near as the last of the neighbours count, too, so ties do not depend on the order of rows.

    Args:
        rows: With groups; kinds, where there are any, are compared only with their own.
        neighbours: How many, at least.
        level: Of the Wilson intervals.

    Example:
        >>> rows = Confidences(confidence=[0.9, 0.9, 0.9, 0.1], correct=[True, True, False, False])
        >>> [round(e.value, 2) for e in similar_right(rows, neighbours=2)]
        [0.5, 0.5, 1.0, 0.67]
    """
    units = rows.ids if rows.groups is None else rows.groups
    member = np.unique(units, return_inverse=True)[1]
    kinds = np.zeros(len(rows)) if rows.kinds is None else rows.kinds
    found: list[Estimate] = [Estimate(float("nan"))] * len(rows)
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        order = places[np.argsort(rows.confidence[places], kind="stable")]
        for rank, near in enumerate(_nearest(rows.confidence[order], member[order], neighbours)):
            if near.size:
                chosen = order[near]
                found[order[rank]] = infer_proportion(
                    rows.correct[chosen], level=level, groups=member[chosen]
                )
    return tuple(found)


def _nearest(confidence: FloatArray, member: IntArray, count: int) -> Iterator[IntArray]:
    """For each place of the sorted confidences: the nearest places of other groups."""
    sizes = np.bincount(member)
    for rank, own in enumerate(confidence):
        # Even if the whole own group lies inside, so wide a window holds enough others.
        reach = count + int(sizes[member[rank]])
        window = slice(max(0, rank - reach), rank + reach + 1)
        others = member[window] != member[rank]
        distance = np.sort(np.abs(confidence[window] - own)[others])
        farthest = (distance[count - 1] if distance.size >= count else np.inf) + 1e-12
        start = np.searchsorted(confidence, own - farthest, side="left")
        stop = np.searchsorted(confidence, own + farthest, side="right")
        inside = np.arange(start, stop)
        yield inside[member[inside] != member[rank]]
