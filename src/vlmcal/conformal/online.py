"""Conformal prediction on a stream: sets that learn from every outcome, and a test of exchangeability."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.base import KeyedRows, require_calibration
from vlmcal.conformal.quantile import require_alpha
from vlmcal.conformal.score_based import make_scorer
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import BoolArray, FloatArray, given_ids
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

JUMP = 0.01
_BETS = np.array([-1.0, 0.0, 1.0])


def online_p_values(
    scores: ArrayLike, uniforms: ArrayLike, *, before: Iterable[float] = ()
) -> FloatArray:
    r"""Smoothed p-values (N,) of scores in the order of a stream, each among those that came before it.

    :math:`p_t = (\#\{i < t : s_i > s_t\} + u_t (\#\{i < t : s_i = s_t\} + 1)) / t`. If all scores are
    exchangeable, these are independent and uniform.

    Args:
        scores: (N,), larger means stranger.
        uniforms: (N,) random numbers in [0, 1].
        before: Scores that were there at the start (calibration rows).

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005. Oracle: crepes'
    ``semi_online_p_values``.

    Example:
        >>> online_p_values([0.2, 0.1, 0.2], [0.5, 0.5, 0.5]).round(4).tolist()
        [0.5, 0.75, 0.3333]
    """
    known = sorted(before)
    found = []
    for score, u in zip(np.ravel(scores).tolist(), np.ravel(uniforms).tolist(), strict=True):
        above = bisect_right(known, score)
        equal = above - bisect_left(known, score)
        found.append((len(known) - above + u * (equal + 1)) / (len(known) + 1))
        known.insert(above, score)
    return np.asarray(found)


def jumper_martingale(p_values: ArrayLike, *, jump: float = JUMP) -> FloatArray:
    r"""Log of the simple jumper martingale after each p-value, (N,).

    Capital is kept in three accounts that bet :math:`1 + \varepsilon (p - 1/2)` for :math:`\varepsilon` = -1,
    0 and 1, and before each bet a share ``jump`` of it is spread evenly again. On independent uniform
    p-values it is a martingale that starts at 1, so by Ville's inequality it ever reaches 1 / a with chance
    at most a.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, second edition, 2022,
    algorithm 8.1; Vovk et al., "Retrain or not retrain: conformal test martingales for change-point
    detection", 2021, arXiv 2102.10439. Oracle: crepes' ``SimpleJumper`` with epsilons -1, 0, 1.

    Raises:
        SpecError: ``jump`` is outside (0, 1].
        DataError: p-values outside [0, 1].

    Example:
        >>> np.exp(jumper_martingale([0.1, 0.1, 0.1])).round(4).tolist()
        [1.0, 1.1056, 1.3157]
    """
    if not 0 < jump <= 1:
        raise SpecError(f"jump: expected a number above 0 and up to 1, got {jump}")
    p = np.ravel(np.asarray(p_values, dtype=np.float64))
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values: expected numbers from 0 to 1")
    shares, log_capital, found = np.full(3, 1 / 3), 0.0, np.empty(len(p))
    for place, value in enumerate(p.tolist()):
        shares = (1 - jump) * shares + jump / 3
        shares = shares * (1 + _BETS * (value - 0.5))
        total = float(shares.sum())
        shares /= total
        log_capital += np.log(total)
        found[place] = log_capital
    return found


@dataclass(frozen=True, eq=False)
class Streamed:
    """What came of a stream.

    Attributes:
        sets: The set of each row, made before its outcome was known.
        levels: (N,) the miscoverage that each was made for.
        p_values: (N,) smoothed, of the true labels.
        log_evidence: (N,) log of the martingale that bets against exchangeability.
        alarm: Place, from 1, at which the evidence first reached 1 / ``false_alarms``; None if it never did.
        false_alarms: Chance that a stream like the calibration rows ever raises an alarm.
    """

    sets: PredictionSets
    levels: FloatArray
    p_values: FloatArray
    log_evidence: FloatArray
    alarm: int | None
    false_alarms: float

    def sentence(self) -> str:
        """What a person on duty reads."""
        n = len(self.sets)
        if self.alarm is None:
            most = float(np.exp(min(700.0, self.log_evidence.max(initial=0.0))))
            return (
                f"no alarm after {n:,} rows: they go with the calibration rows (evidence {most:.2g}, alarm "
                f"at {1 / self.false_alarms:.3g})"
            )
        return (
            f"alarm at row {self.alarm:,} of {n:,}: the stream is not exchangeable with the calibration "
            "rows; coverage is no longer promised, calibrate anew on recent rows"
        )


def stream_sets(
    calibration: Predictions,
    stream: Predictions,
    alpha: float = 0.1,
    *,
    score: str = "lac",
    score_parameters: dict[str, Any] | None = None,
    rate: float = 0.005,
    jump: float = JUMP,
    false_alarms: float = 0.01,
    seed: int = 0,
) -> Streamed:
    r"""Label sets of a stream: each row gets its set, then its outcome is learned.

    The threshold is the conformal quantile of all scores so far at the level :math:`\alpha_t`, and
    :math:`\alpha_{t+1} = \alpha_t + \gamma (\alpha - 1[y_t \notin C_t])` (adaptive conformal inference; a
    level at or below 0 gives all labels, one at or above 1 none). Beside it the p-values of the true labels
    feed :func:`jumper_martingale`.

    Assumption: none for the long run; exchangeability for the rest. Guarantee: whatever comes in, the share
    of rows that miss their label differs from alpha by at most
    :math:`(\max(\alpha, 1 - \alpha) + \gamma) / (T \gamma)` after T rows. With ``rate`` 0 and
    exchangeable rows each set holds its label with probability at least 1 - alpha, and an alarm is ever
    raised with probability at most ``false_alarms``.

    Args:
        calibration: Held-out labelled rows, from which it starts.
        stream: Labelled rows in the order in which they came in.
        alpha: Target miscoverage.
        score: A split conformal method ("lac", "aps", ...).
        score_parameters: Its hyper-parameters.
        rate: gamma; published 0.005. 0 leaves the level at alpha.
        jump: Of the martingale.
        false_alarms: Allowed chance of an alarm without a cause, over the whole stream.
        seed: Of the numbers that break ties of p-values.

    Raises:
        SplitError: The calibration rows are test data, or are in the stream.
        SpecError: A number out of range.
        DataError: Other classes, or rows without labels.

    Source: Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, arXiv
    2106.00170; the martingale: :func:`jumper_martingale`. Oracle: crepes (p-values, martingale).
    """
    require_alpha(alpha)
    if not 0 <= rate <= 1 or not 0 < false_alarms < 1:
        raise SpecError(f"rate and false alarms: expected shares, got {rate} and {false_alarms}")
    stream.require_labels("conformal prediction on a stream")
    require_calibration(calibration, stream, "conformal prediction on a stream")
    scorer = make_scorer(score, score_parameters or {})
    known = scorer.calibration_scores(KeyedRows(calibration)).tolist()
    new = KeyedRows(stream)
    scores = scorer.class_scores(new)
    own = scorer.calibration_scores(new)
    sets, levels = _adaptive_sets(known, scores, own, alpha, rate)
    p = online_p_values(own, new.drawn(seed, "stream"), before=known)
    log_evidence = jumper_martingale(p, jump=jump)
    reached = np.flatnonzero(log_evidence >= -np.log(false_alarms))
    made = PredictionSets(
        sets=sets,
        labels=stream.labels,
        alpha=alpha,
        ids=given_ids(stream),
        class_names=stream.class_names,
        groups=stream.groups,
        provenance={"conformal": "online", "score": score, "rate": rate, "messages": []},
    )
    alarm = int(reached[0]) + 1 if reached.size else None
    return Streamed(made, levels, p, log_evidence, alarm, false_alarms)


def _adaptive_sets(
    known: list[float], scores: FloatArray, own: FloatArray, alpha: float, rate: float
) -> tuple[BoolArray, FloatArray]:
    """Sets (N, K) and the levels (N,) that they were made for."""
    ordered, level = sorted(known), alpha
    sets, levels = np.empty(scores.shape, dtype=np.bool_), np.empty(len(own))
    for row, score in enumerate(own.tolist()):
        threshold = _quantile(ordered, level)
        sets[row] = scores[row] <= threshold
        levels[row] = level
        if rate:
            # at an infinite threshold no label is missed, whatever its score
            level = round(level + rate * (alpha - (score > threshold)), 12)
        insort(ordered, score)
    return sets, levels


def _quantile(ordered: list[float], level: float) -> float:
    """As :func:`~vlmcal.conformal.quantile.conformal_quantile`, of sorted scores and any level."""
    if level >= 1:
        return -np.inf
    n = len(ordered)
    # rounding, so that (n + 1)(1 - level) that is whole stays whole
    rank = int(np.ceil(round((n + 1) * (1 - level), 9)))
    return ordered[rank - 1] if 1 <= rank <= n else np.inf
