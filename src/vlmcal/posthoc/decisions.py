"""For those who decide: calibrated probability with an interval, similar past answers, whom to ask."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, ndtri

from vlmcal.calibrators.base import CalibrationWarning, Calibrator
from vlmcal.conformal.abstain import Abstain
from vlmcal.posthoc.kind_maps import KindMaps, cross_fit_kinds
from vlmcal.posthoc.kind_spread import Shift, kind_shift
from vlmcal.posthoc.similar import agreed, similar_past, similar_right
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, FloatArray, as_ids, pick_ids
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.folds import fold_index

_OPEN = 1e-6


@dataclass(frozen=True)
class Outlook:
    """So many images in all, answered as these, would allow to rely on this share of the answers.

    Attributes:
        images: Groups, or rows where there are none.
        share: Of the answers.
    """

    images: int
    share: float


@dataclass(frozen=True, eq=False)
class Decisions:
    """One line of advice per answer.

    Attributes:
        rows: The answers with calibrated confidences, each inside the interval of its similar answers; no
            row's own image was fitted on.
        low, high: (N,) ends of the interval of the calibrated probability.
        similar: Share of right answers among similar past answers, with its interval.
        accepted: (N,) bool; the other answers are for a human.
        thresholds: (N,) smallest calibrated probability that is accepted, the same for every row.
        target_risk: Share of wrong answers among the accepted that is asked for.
        notes: What the reader should know.
        outlook: How many images in all would allow to rely on noticeably more; None where no number would.
    """

    rows: Confidences
    low: FloatArray
    high: FloatArray
    similar: tuple[Estimate, ...]
    accepted: BoolArray
    thresholds: FloatArray
    target_risk: float
    notes: tuple[str, ...] = ()
    outlook: Outlook | None = None


def decide(
    rows: Confidences,
    calibrator: Calibrator,
    new: Confidences | None = None,
    *,
    target_risk: float = 0.1,
    folds: int = 5,
    per_kind: bool | None = None,
    resamples: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> Decisions:
    """Advice on each row, or on ``new`` ones: what is said about a row was learned from other images.

    - Calibrated probability: of ``calibrator`` fitted on the other folds, with maps per kind as far as
      cross-validation speaks for them (:func:`~vlmcal.posthoc.kind_maps.cross_fit_kinds`); folds keep groups
      together. Where the similar answers contradict it, it is drawn to the end of their interval.
    - Similar past answers: the 50 rows of other groups and of the same kind with the nearest calibrated
      probability; share of right ones with a Wilson interval.
    - Interval: of the share of right ones among answers of this kind and stated confidence. It joins the
      spread of the map, when the groups of its folds are drawn anew ``resamples`` times, and how far the kind
      may be off it (:func:`~vlmcal.posthoc.kind_spread.kind_shift`). It does not speak of the single
      answer, which is right or wrong.
    - Accepted: above one threshold, chosen on all rows so that with probability 0.9 at most
      ``target_risk`` of the answers to come above it are wrong (see
      :class:`~vlmcal.conformal.abstain.Abstain`; rows of one group count as fewer).

    For new rows the maps are fitted on all ``rows``, and similar past answers are among these (of any kind
    where none has the kind of the new one). That this map differs a little from those of the folds, by which
    the threshold was chosen, is left out of account.

    Args:
        rows: Confidence and correctness with groups and kinds.
        calibrator: Not changed.
        new: Answers about other groups, to be told about instead; their verdicts are not read.
        target_risk: In (0, 1).
        folds: Of the cross-fitting.
        per_kind: None lets cross-validation choose, True fits a map for each kind of row, False one for all;
            the threshold is the same for all kinds.
        resamples: For the intervals; 0 for none.
        level: Of the intervals.
        seed: Of every random choice.

    Raises:
        DataError: Fewer groups than folds.
        SpecError: ``target_risk`` or ``folds`` is out of range.
        SplitError: The rows are test data, or a new row was fitted on.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rng = np.random.default_rng(0)
        >>> c = rng.uniform(0.5, 1, 400)
        >>> rows = Confidences(confidence=c, correct=rng.random(400) < c - 0.2)
        >>> advice = decide(rows, Platt(), resamples=20)
        >>> bool(abs(advice.rows.confidence.mean() - rows.correct.mean()) < 0.02)
        True
        >>> new = Confidences(confidence=[0.9], correct=[False], ids=["new"])
        >>> advice = decide(rows, Platt(), new, resamples=20)
        >>> bool(0.5 < advice.low[0] < advice.rows.confidence[0] < advice.high[0] < 0.8)
        True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        warnings.simplefilter("ignore", UserWarning)
        choice = cross_fit_kinds(calibrator, rows, per_kind=per_kind, folds=folds, seed=seed)
        past = similar_right(choice.rows, level=level)
        chosen = _Chosen.on(choice.rows, past, target_risk)
        if new is None:
            made, common = choice.rows, choice.common.confidence
            drawn = _cross_drawn(rows, calibrator, folds, resamples, seed)
        else:
            maps = KindMaps.fit(calibrator, rows, choice.pull)
            made, common = maps.transform(new), maps.common.transform(new).confidence
            drawn = _drawn(rows, calibrator, new, resamples, seed, 0)
    similar = past if new is None else similar_past(made, choice.rows, level=level)
    shown, changed = agreed(made.confidence, similar)
    low, high = _interval(common, drawn, kind_shift(choice.common, new), shown, level)
    return Decisions(
        rows=replace(made, confidence=shown),
        low=low,
        high=high,
        similar=similar,
        accepted=shown >= chosen.threshold,
        thresholds=np.full(len(made), chosen.threshold),
        target_risk=target_risk,
        notes=_notes(choice.told(), changed, chosen),
        outlook=chosen.outlook,
    )


def _cross_drawn(
    rows: Confidences, calibrator: Calibrator, folds: int, resamples: int, seed: int
) -> FloatArray:
    """Probabilities (R, N) under maps for all kinds, fitted on groups of the other folds drawn anew."""
    index = fold_index(rows, folds=folds, seed=seed)
    drawn = np.empty((resamples, len(rows)))
    for fold in range(folds):
        inside, others = np.flatnonzero(index == fold), rows.subset(index != fold)
        held = rows.subset(inside)
        drawn[:, inside] = _drawn(others, calibrator, held, resamples, seed, fold)
    return drawn


def _drawn(
    fitting: Confidences,
    calibrator: Calibrator,
    rows: Confidences,
    resamples: int,
    seed: int,
    fold: int,
) -> FloatArray:
    """Probabilities (R, N) of rows under maps that are fitted on the groups of others, drawn anew."""
    drawn = np.empty((resamples, len(rows)))
    for r, sample in enumerate(_resampled(fitting, resamples, seed, fold) if resamples else ()):
        drawn[r] = calibrator.fresh().fit(sample, identify=False).transform(rows).confidence
    return drawn


def _interval(
    common: FloatArray, drawn: FloatArray, shift: Shift, shown: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Ends around the map for all kinds, moved and widened by what is known of the kind; NaN without draws.

    Half-widths add as independent ones do, in log-odds; the probability that is shown is always inside.
    """
    if not len(drawn):
        return np.full(common.size, np.nan), np.full(common.size, np.nan)
    tail = (1 - level) / 2
    ends = np.quantile(drawn, [tail, 1 - tail], axis=0)
    middle, low, high = (logit(np.clip(p, _OPEN, 1 - _OPEN)) for p in (common, *ends))
    kind = float(ndtri(1 - tail)) * shift.deviation
    below, above = (np.hypot(np.maximum(gap, 0), kind) for gap in (middle - low, high - middle))
    centre = middle + shift.mean
    return np.minimum(expit(centre - below), shown), np.maximum(expit(centre + above), shown)


@dataclass(frozen=True)
class _Chosen:
    """The threshold, what the method says about it, and what more images would give."""

    threshold: float
    messages: tuple[str, ...]
    outlook: Outlook | None

    @classmethod
    def on(cls, rows: Confidences, similar: tuple[Estimate, ...], target_risk: float) -> "_Chosen":
        shown = replace(rows, confidence=agreed(rows.confidence, similar)[0])
        fitted = Abstain().fit_confidences(shown, target_risk)
        more = Abstain().more_rows(shown, target_risk)
        outlook = None
        if more is not None:
            groups = len(rows) if rows.groups is None else np.unique(rows.groups).size
            outlook = Outlook(int(np.ceil(more.rows * groups / len(rows))), more.share)
        return cls(fitted.threshold_, tuple(fitted.messages_), outlook)


def _notes(told: str, changed: BoolArray, chosen: _Chosen) -> tuple[str, ...]:
    notes = [f"Probabilities are made by {told}."] if told else []
    if changed.any():
        notes.append(
            f"{int(changed.sum()):,} of {changed.size:,} probabilities were drawn to the interval of their "
            "similar answers, which the map did not follow."
        )
    return (*notes, *chosen.messages)


def _resampled(rows: Confidences, resamples: int, seed: int, fold: int) -> Iterator[Confidences]:
    """The rows with their groups drawn with replacement."""
    member = np.unique(rows.units, return_inverse=True)[1]
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
