"""Set-mass calibration: give each conformal prediction set the probability it is promised to have."""

from collections.abc import Mapping
from fractions import Fraction as Rational
from math import ceil
from typing import ClassVar, Literal

import numpy as np
from scipy.special import logsumexp

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_log_probs, finite_scores
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Count, Fraction, Positive, Zero
from vlmcal.types.predictions import Predictions

SetScore = Literal["lac", "aps"]
_UNDERFLOW = 1e-290


@CALIBRATORS.register("set_mass")
class SetMass(Calibrator):
    """Make the classes of a split-conformal set C(x) carry probability 1 - alpha.

    The set: q is the ceil((n + 1)(1 - alpha))-th smallest fitting score; "lac" has score 1 - p_y and
    ``C = {c: p_c >= 1 - q}``, "aps" has the mass of all classes at least as likely as y and C the smallest
    top-k set of mass >= q.

    "normalisation" multiplies p inside C by (1 - alpha) / P(C) and outside by alpha / (1 - P(C)).
    "temperature" uses, for each row, the largest tau with P(C; softmax(z / tau)) >= 1 - alpha, by bisection,
    C being fixed at tau = 1; the order of the classes is kept. Empty and full sets are left alone.

    Attributes:
        form: "normalisation" or "temperature".
        score: "lac" or "aps".
        alpha: Miscoverage, in (0, 1).
        beyond: What to do when (n + 1)(1 - alpha) > n: "full" takes all classes (and warns), "largest" the
            largest fitting score, as the authors' code does.
        edge_sets: "keep" empty and full sets as they are; "reference" is the authors' code, where the
            temperature goes to tau_min for an empty set and past tau_max for a full one, and where an APS set
            whose mass never reaches q by rounding is the top class alone.
        tolerance: Relative width at which the bisection stops.
        max_iter: Most bisection steps.
        tau_min: Smallest temperature.
        tau_max: Bracket for the largest temperature.
        q_: The conformal threshold.

    Source: adaptive set-mass calibration with conformal prediction, 2025, arXiv 2505.15437.

    Example:
        >>> val = Predictions(logits=np.log([[0.6, 0.3, 0.1]] * 9), labels=[0] * 7 + [1] * 2)
        >>> test = Predictions(logits=np.log([[0.6, 0.3, 0.1]]), labels=[0], ids=["new"])
        >>> cal = SetMass(alpha=0.2).fit(val)          # q = 0.7: C = {0, 1} has mass 0.9
        >>> cal.transform(test).probabilities().round(4).tolist()
        [[0.5333, 0.2667, 0.2]]
    """

    label_free: ClassVar[bool] = True
    reads_labels: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {"q_": number(low=0, infinite=True)}

    form: Literal["normalisation", "temperature"] = "normalisation"
    score: SetScore = "lac"
    alpha: Fraction = 0.1
    beyond: Literal["full", "largest"] = "full"
    edge_sets: Literal["keep", "reference"] = "keep"
    tolerance: Positive = 1e-10
    max_iter: Count = 100
    tau_min: Positive = 1e-4
    tau_max: Positive = 1e6
    zero: Zero = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        probs = predictions.probabilities()
        rows = np.arange(len(probs))
        if self.score == "lac":
            scores = 1.0 - probs[rows, predictions.labels]
        else:
            order, mass = _cumulative(probs)
            rank = (order == predictions.labels[:, None]).argmax(axis=1)
            scores = mass[rows, rank]
        n = scores.size
        # alpha as the decimal it prints as: in doubles 50 * (1 - 0.42) is above 29
        wanted = ceil((n + 1) * (1 - Rational(repr(self.alpha))))
        if wanted > n and self.beyond == "full":
            self._tell(
                f"{n} fitting rows are too few for alpha = {self.alpha:g}: at least "
                f"{int(np.ceil(1 / self.alpha)) - 1} are needed; all sets are full and nothing changes"
            )
            self.q_ = float("inf")
            return
        self.q_ = float(np.sort(scores)[min(wanted, n) - 1])

    def sets(self, predictions: Predictions) -> BoolArray:
        """Which classes belong to C(x): (N, K)."""
        probs = predictions.probabilities()
        if self.q_ == float("inf"):
            return np.ones_like(probs, dtype=np.bool_)
        if self.score == "lac":
            # as the scores were formed: 1 - (1 - p) may be above p, whose class would be left out
            return np.asarray(1.0 - probs <= self.q_)
        order, mass = _cumulative(probs)
        reached = mass >= self.q_
        last = np.where(reached.any(axis=1), reached.argmax(axis=1), probs.shape[1] - 1)
        if self.edge_sets == "reference":
            last[~reached.any(axis=1)] = 0
        members = np.zeros_like(probs, dtype=np.bool_)
        np.put_along_axis(members, order, np.arange(probs.shape[1]) <= last[:, None], axis=1)
        return members

    def temperatures(self, predictions: Predictions) -> FloatArray:
        """Tau of each row (N,), 1 where the set is empty or full and left alone."""
        return self._temperatures(finite_scores(predictions, self.zero), self.sets(predictions))

    def _transform(self, predictions: Predictions) -> Scores:
        members = self.sets(predictions)
        if self.form == "temperature":
            scores = finite_scores(predictions, self.zero)
            return Scores(scores / self._temperatures(scores, members)[:, None], "logits")
        log_probs = finite_log_probs(predictions, self.zero)
        probs = np.exp(log_probs)
        inside = np.einsum("nk,nk->n", probs, members)
        outside = np.einsum("nk,nk->n", probs, ~members)
        edge = _edge(members)
        with np.errstate(divide="ignore"):
            gains = np.log1p(-self.alpha) - np.log(inside), np.log(self.alpha) - np.log(outside)
        lost = np.flatnonzero((np.minimum(inside, outside) < _UNDERFLOW) & ~edge)
        if lost.size:
            for gain, share, those in zip(
                gains, (np.log1p(-self.alpha), np.log(self.alpha)), (members, ~members), strict=True
            ):
                masses = np.where(those[lost], log_probs[lost], -np.inf)
                gain[lost] = share - logsumexp(masses, axis=1)
        for gain in gains:
            gain[edge] = 0.0
        log_probs += np.where(members, gains[0][:, None], gains[1][:, None])
        return Scores(log_probs, "log_probs")

    def _temperatures(self, scores: FloatArray, members: BoolArray) -> FloatArray:
        tau = np.ones(len(scores))
        edge = _edge(members)
        tau[~edge] = self._largest(scores[~edge], members[~edge])
        if self.edge_sets == "reference":
            tau[~members.any(axis=1)] = self.tau_min
            full = members.all(axis=1)
            tau[full] = 2.0 ** np.ceil(np.log2(self.tau_max))
        return tau

    def _largest(self, scores: FloatArray, members: BoolArray) -> FloatArray:
        """Bisection in log tau; the mass of a top-k set falls as tau grows."""
        low = np.full(len(scores), self.tau_min)
        high = np.ones(len(scores))
        open_ = self._mass(scores, members, high) >= 1 - self.alpha
        while open_.any() and high.max() < self.tau_max:
            low[open_] = high[open_]
            high[open_] *= 2
            open_ = self._mass(scores, members, high) >= 1 - self.alpha
        for _ in range(self.max_iter):
            if (high - low <= self.tolerance * high).all():
                break
            middle = np.sqrt(low * high)
            enough = self._mass(scores, members, middle) >= 1 - self.alpha
            low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        return np.where(open_, high, low)

    def _mass(self, scores: FloatArray, members: BoolArray, tau: FloatArray) -> FloatArray:
        scaled = scores / tau[:, None]
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(np.where(members, shares, 0.0).sum(axis=1) / shares.sum(axis=1))


def _edge(members: BoolArray) -> BoolArray:
    return np.asarray(~members.any(axis=1) | members.all(axis=1))


def _cumulative(probs: FloatArray) -> tuple[IntArray, FloatArray]:
    order = np.argsort(-probs, axis=1, kind="stable")
    return order, np.cumsum(np.take_along_axis(probs, order, axis=1), axis=1)
