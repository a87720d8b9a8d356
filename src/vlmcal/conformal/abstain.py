"""Abstaining: answer only above a confidence at which the risk is known to be low."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from vlmcal.conformal.base import CONFORMAL, ConformalPredictor, Guarantee, KeyedRows
from vlmcal.conformal.fixed_sequence import (
    Path,
    Test,
    affordable,
    binomial_p_values,
    descend,
    hoeffding_bentkus_p_values,
    passed,
)
from vlmcal.conformal.quantile import require_alpha
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.limits import Fraction, Share
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import Shown, plural

Bound = Literal["binomial", "hoeffding_bentkus"]
_RETIRED = ("starts", "tuning_fraction", "seed")
# How many times as many rows are imagined at most, in how many steps, and what is noticeably more.
_MOST_TIMES, _TRIES, _STEP = 64, 61, 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Shown):
    """Which rows are answered.

    Attributes:
        accepted: (N,) bool; the others are left to a human.
        threshold: Smallest confidence that is answered; infinite if none is.
        target_risk: Share of wrong answers among the answered rows that is not exceeded.
        delta: Chance, over the draw of the calibration rows, that it is exceeded after all.
    """

    accepted: BoolArray
    threshold: float
    target_risk: float
    delta: float

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        rows = plural(len(self.accepted), "row")
        return (
            f"Selection: {int(self.accepted.sum()):,} of {rows} answered, from {self.threshold:.4f}",
            [],
        )


class Outlook(NamedTuple):
    """So many rows in all would allow to answer this share of them."""

    rows: int
    share: float


@CONFORMAL.register("abstain")
class Abstain(ConformalPredictor):
    r"""Answers the rows whose confidence is at least :math:`\hat\lambda`, and abstains on the others.

    The hypotheses "among rows with confidence at least :math:`\lambda`, more than the share r is wrong"
    are tested for falling :math:`\lambda`, each at level delta, until the first that is not rejected
    (fixed-sequence testing); :math:`\hat\lambda` is the last :math:`\lambda` rejected. Tested is only where
    one error more becomes affordable: for r = delta = 0.1 at 22 rows, where none may be wrong, at 38 (one),
    52 (two), ..., and at last all rows, because between two of these the test is only harder to pass. Where
    rows have equal confidences it waits for the last of them. The first test is the last of these places
    within the share ``start`` of the rows, or the very first: the few surest rows would stop the
    sequence by one unlucky error. All rows are tested; no label is read before its test.

    Assumption: calibration rows and new rows are independent draws from one distribution (stronger than
    exchangeable). Guarantee: with probability at least 1 - delta over the calibration rows,
    :math:`P(\text{wrong} \mid \text{confidence} \ge \hat\lambda) \le r`. Nothing is assumed about the
    confidence; if it is useless, everything is left to a human.

    With groups (several rows of one patient), counts are divided by the design effect
    :math:`1 + (m - 1) \rho`, with m the mean number of rows that share a row's group, among those tested, and
    :math:`\rho` the intraclass correlation of the errors (one standard error above its estimate), and the
    binomial tail is taken of these effective counts; the guarantee is then approximate. Fewer than 10 groups
    (scanners) are taken as given: the guarantee is about new rows of the same groups.

    As a conformal method, r is ``alpha``; an answered row gets the set of its predicted class alone and
    every other row the set of all classes.

    Angelopoulos, Bates, Candes, Jordan and Lei, Learn then test, arXiv 2110.01052 (fixed sequence testing,
    Hoeffding-Bentkus); Geifman and El-Yaniv, Selective classification for deep neural networks, NeurIPS
    2017, arXiv 1705.08500; Kish, Survey Sampling, 1965 (design effect).

    Attributes:
        delta: Allowed chance of failure.
        bound: "binomial" (exact, Clopper-Pearson) or "hoeffding_bentkus".
        start: Share of the surest rows within which the first test lies.
        signal: What rows are ranked by: "confidence", or an extra such as "mutual_information", which
        counts as
            a confidence of exp(-signal).
        threshold_: :math:`\hat\lambda`; infinite when nothing can be answered.

    Example:
        >>> rows = Confidences(confidence=np.linspace(0, 1, 200), correct=np.arange(200) >= 100)
        >>> fitted = Abstain().fit_confidences(rows, target_risk=0.2)
        >>> round(fitted.threshold_, 2)
        0.43
    """

    name: ClassVar[str] = "abstain"
    guarantee: ClassVar[Guarantee] = "selective risk"
    state: ClassVar[Mapping[str, StateRule]] = {"threshold_": number(low=0, infinite=True)}
    any_classes: ClassVar[bool] = True
    tells_shift: ClassVar[bool] = False

    delta: Fraction = 0.1
    bound: Bound = "binomial"
    start: Share = 0.25
    signal: str = "confidence"

    def fit_confidences(self, calibration: Confidences, target_risk: float) -> Self:
        """Choose the threshold from held-out confidences and whether they were right.

        Raises:
            SplitError: The rows are test data.
            SpecError: ``target_risk`` is outside (0, 1).
        """
        self._require_fittable(calibration.split)
        risk = require_alpha(target_risk)
        self._choose(calibration, risk)
        self.alpha_ = risk
        self._remember(as_binary(calibration), rows="confidences")
        return self

    def select(self, rows: Confidences) -> Selection:
        """Which rows are answered.

        Raises:
            SpecError: Called before fitting.
            SplitError: KeyedRows that were used for fitting.
        """
        for note in self._shared(as_binary(rows)):
            self._warn(note, stacklevel=3)
        accepted: BoolArray = rows.confidence >= self.threshold_
        return Selection(accepted, self.threshold_, self.alpha_, self.delta)

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        answers = rows.predictions.top_label()
        self._choose(replace(answers, confidence=self._ranked(rows.predictions)), alpha)

    def _ranked(self, predictions: Predictions) -> FloatArray:
        """What the rows are ranked by, in [0, 1]."""
        if self.signal == "confidence":
            return _confidence(predictions)
        self._require_extras(predictions, (self.signal,))
        return np.exp(-np.maximum(predictions.extras[self.signal], 0.0))

    def minds_groups(self) -> bool:
        """What is wrong with groups is told in its own words."""
        return True

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        predictions = rows.predictions
        sets = np.ones(predictions.logits.shape, dtype=np.bool_)
        answered = np.flatnonzero(self._ranked(predictions) >= self.threshold_)
        sets[answered] = False
        sets[answered, predictions.predicted()[answered]] = True
        return sets

    @classmethod
    def _known(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Files of earlier versions name what chose their list of thresholds; it is not needed any more."""
        return super()._known({k: v for k, v in parameters.items() if k not in _RETIRED})

    def _choose(self, rows: Confidences, risk: float) -> None:
        path, test = descend(rows), self._test()
        groups = len(rows) if rows.groups is None else np.unique(rows.groups).size
        if path.correlation is not None:
            self._tell(
                f"several calibration rows belong to one group: {len(rows)} count as {path.total[-1]:.0f} "
                f"(intraclass correlation {path.correlation:.2f}), and the guarantee is approximate; keep "
                "one row of each group for an exact one"
            )
        elif groups < len(rows):
            self._tell(
                f"several calibration rows belong to one group, and {groups} groups are too few to learn "
                "how groups differ: the guarantee is about new rows of these groups; for new groups keep "
                "one row of each group"
            )
        last = passed(path, test, risk, self.delta, self.start)
        self.threshold_ = float(path.values[last]) if last >= 0 else float("inf")
        if last < 0:
            least = float(affordable(test, risk, self.delta, 0)[0])  # infinite for a risk of 1e-320
            need = f"{least:.0f}" if least < 1e12 else f"{least:.0e}"
            self._tell(
                f"no threshold on the confidence keeps the risk below {risk:g} with the {len(rows)} "
                f"calibration rows (at least {need} answered rows without an error are needed to show "
                "it), so every row is left to a human"
            )

    def _test(self) -> Test:
        return binomial_p_values if self.bound == "binomial" else hoeffding_bentkus_p_values

    def more_rows(self, calibration: Confidences, target_risk: float) -> Outlook | None:
        """How many rows like these, in all, would allow to answer noticeably more (a tenth of the rows).

        The rows are imagined several times over, with the same errors at each confidence, until the test
        passes that far; about half of the draws of so many rows will do better.

        Returns:
            None where no number would do: the errors themselves are too many.

        Example:
            >>> rows = Confidences(confidence=np.linspace(0, 1, 60), correct=np.arange(60) % 20 != 7)
            >>> Abstain().more_rows(rows, 0.1)
            Outlook(rows=112, share=0.2)
        """
        path, test = descend(calibration), self._test()
        tried = np.exp(np.linspace(0, np.log(_MOST_TIMES), _TRIES))
        shares = [_reach(path, test, target_risk, self, times) for times in tried]
        better = [i for i, share in enumerate(shares) if share >= min(1.0, shares[0] + _STEP)]
        if not better or shares[0] == 1:
            return None
        first = better[0]
        return Outlook(int(np.ceil(len(calibration) * tried[first])), float(shares[first]))


def _confidence(predictions: Predictions) -> FloatArray:
    """To the last bit what the threshold was chosen from, whether or not labels are known."""
    unread = np.zeros(len(predictions), dtype=np.int64)
    return replace(predictions, labels=unread).top_label().confidence


def _reach(path: Path, test: Test, risk: float, by: Abstain, times: float) -> float:
    """Share of the rows that would be answered if there were so many times as many of the same."""
    more = path._replace(total=path.total * times, errors=path.errors * times)
    last = passed(more, test, risk, by.delta, by.start)
    return float(path.kept[last] / path.kept[-1]) if last >= 0 else 0.0
