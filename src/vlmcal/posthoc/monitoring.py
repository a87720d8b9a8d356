"""Watching calibration as outcomes come in: a test that may be looked at after every one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_expit, logit, logsumexp

from vlmcal.errors import SpecError
from vlmcal.posthoc.kind_maps import kind_places
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

# Alternatives that are bet on: log-odds = intercept + slope * stated log-odds.
INTERCEPTS = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0)
SLOPES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)
Bet = tuple[float, float]
_OPEN = 1e-6
_MISSED = "label sets hold the truth less often than promised; make them anew on recent outcomes"


@dataclass(frozen=True, eq=False)
class Watch:
    """Evidence against calibration after each outcome.

    Attributes:
        log_e: (N,) logarithm of the e-value; at most alpha of calibrated streams ever reach 1 / alpha.
        alarm: Place of the outcome at which it first reached 1 / alpha, counted from 1; None if it never did.
        alpha: Allowed share of false alarms, over the whole stream however often it is looked at.
        intercept, slope: What the evidence so far speaks for most; 0 and 1 are "as stated".
        fault: What an alarm means; "" where intercept and slope say it.
    """

    log_e: FloatArray
    alarm: int | None
    alpha: float
    intercept: float
    slope: float
    fault: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "outcomes": int(self.log_e.size),
            "alarm": self.alarm,
            "alpha": self.alpha,
            "log_e": self.log_e.tolist(),
            "intercept": self.intercept,
            "slope": self.slope,
        }

    def sentence(self) -> str:
        """What a person on duty reads."""
        n = self.log_e.size
        if self.alarm is None:
            most = float(np.exp(self.log_e.max(initial=0.0)))
            return f"no alarm after {n:,} outcomes (evidence {most:.2g}, alarm at {1 / self.alpha:.3g})"
        way = "confidences are too high" if self.intercept < 0 else "confidences are too low"
        if self.intercept == 0:
            way = "confidences are too extreme" if self.slope < 1 else "confidences are too timid"
        told = self.fault or f"{way}; calibrate anew"
        return f"alarm at outcome {self.alarm:,} of {n:,}: {told}, nothing changes by itself"


def watch(rows: Confidences, *, alpha: float = 0.05) -> Watch:
    r"""Anytime-valid test of "each answer is right with the probability that was stated".

    The e-value after t outcomes is the mixture of likelihood ratios
    :math:`\sum_j w_j \prod_{s \le t} q_j(y_s) / p_s(y_s)`, with
    :math:`\operatorname{logit} q_j = a_j + b_j \operatorname{logit} p` over a fixed grid of intercepts and
    slopes, equal weights, and :math:`p(y)` the stated probability of what happened. If every stated
    probability is right given all that came before, this is a martingale with mean 1, so by Ville's
    inequality it reaches :math:`1 / \alpha` in at most a share alpha of all streams, however often one looks.

    Args:
        rows: In the order in which the outcomes came in. Confidences of exactly 0 and 1 are read as 1e-6 from
            there: one that fails is strong evidence, but not proof.
        alpha: In (0, 1).

    Raises:
        SpecError: alpha is out of range.

    Source: Ville, Etude critique de la notion de collectif, 1939; Ramdas, Gruenwald, Vovk and Shafer,
    Game-theoretic statistics and safe anytime-valid inference, Statistical Science 2023, arXiv 2210.01948.

    Example:
        >>> rows = Confidences(confidence=[0.9] * 40, correct=[True, False] * 20)
        >>> watch(rows).alarm
        10
    """
    if not 0 < alpha < 1:
        raise SpecError(f"alpha: expected a number between 0 and 1, got {alpha}")
    bets = _grid()
    ratios = _log_ratios(rows.confidence, rows.correct, bets)
    return _watched(ratios, bets, alpha, bets[len(bets) // 2])


def watch_kinds(rows: Confidences, *, alpha: float = 0.05) -> Mapping[str, Watch]:
    """The same for each kind (site, modality) of row, each at its share of alpha.

    Raises:
        DataError: The rows carry no kinds.
    """
    places = kind_places(rows)
    return {k: watch(rows.subset(p), alpha=alpha / len(places)) for k, p in places.items()}


def watch_rows(
    rows: Predictions | Confidences,
    *,
    strata: Mapping[str, StrArray] | None = None,
    alpha: float = 0.05,
) -> dict[str, Watch]:
    """All rows, and the parts of each division; with divisions each of these gets an equal share of alpha.

    Args:
        rows: In the order in which the outcomes came in; of class scores, the top class.
        strata: Part of each row, (N,), by the name of the division.
        alpha: Allowed share of false alarms, over everything that is watched.

    Returns:
        By "all rows" and "DIVISION = PART".

    Example:
        >>> rows = Confidences(confidence=[0.9] * 40, correct=[True, False] * 20)
        >>> [(k, w.alarm) for k, w in watch_rows(rows, strata={"site": np.repeat(["a", "b"], 20)}).items()]
        [('all rows', 12), ('site = a', 14), ('site = b', 14)]
    """
    top = rows.top_label() if isinstance(rows, Predictions) else rows
    share = alpha / (1 + len(strata or {}))
    found = {"all rows": watch(top, alpha=share)}
    for name, parts in (strata or {}).items():
        own = replace(top, kinds=np.asarray(parts).astype(str))
        found |= {f"{name} = {k}": w for k, w in watch_kinds(own, alpha=share).items()}
    return found


def watch_coverage(covered: BoolArray, target: float, *, alpha: float = 0.05) -> Watch:
    """Anytime-valid test of "label sets hold the truth at least as often as promised".

    The same mixture over lower coverages only: covering more often than promised is no fault.

    Args:
        covered: (N,) bool, in the order in which the outcomes came in.
        target: Promised coverage, in (0, 1).
        alpha: In (0, 1).

    Raises:
        SpecError: ``alpha`` or ``target`` is out of range.

    Example:
        >>> watch_coverage(np.array([True, False] * 20), 0.9).alarm
        10
        >>> watch_coverage(np.ones(1000, dtype=bool), 0.9).alarm is None
        True
    """
    if not 0 < target < 1 or not 0 < alpha < 1:
        raise SpecError(
            f"target and alpha: expected numbers between 0 and 1, got {target}, {alpha}"
        )
    lower = [(a, b) for a, b in _grid() if a < 0 and b == 1.0]
    ratios = _log_ratios(np.full(len(covered), target), covered, lower)
    return replace(_watched(ratios, lower, alpha, lower[0]), fault=_MISSED)


def _watched(ratios: FloatArray, bets: list[Bet], alpha: float, at_first: Bet) -> Watch:
    """The mean of what all bets win; the best of them says what is wrong, ``at_first`` before any row."""
    paths = np.cumsum(ratios, axis=1)
    log_e: FloatArray = logsumexp(paths, axis=0) - np.log(len(paths))
    reached = np.flatnonzero(log_e >= -np.log(alpha))
    best = bets[int(paths[:, -1].argmax())] if paths.shape[1] else at_first
    return Watch(log_e, int(reached[0]) + 1 if reached.size else None, alpha, *best)


def _grid() -> list[Bet]:
    return [(a, b) for a in INTERCEPTS for b in SLOPES]


def _log_ratios(confidence: FloatArray, correct: BoolArray, bets: list[Bet]) -> FloatArray:
    """Log q_j(y) / p(y), (J, N)."""
    stated = logit(np.clip(confidence, _OPEN, 1 - _OPEN))
    sign = np.where(correct, 1.0, -1.0)
    intercepts, slopes = np.array(bets).T
    other = intercepts[:, None] + slopes[:, None] * stated
    found: FloatArray = log_expit(sign * other) - log_expit(sign * stated)
    return found
