"""Sets that miss few of the findings that are there: conformal risk control of the false-negative rate."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.findings.base import FINDING_METHODS, FindingMethod
from vlmcal.state_rules import array, number
from vlmcal.types.arrays import FloatArray
from vlmcal.types.finding_sets import FindingSets
from vlmcal.types.multi_label import MultiLabel

# Guards sums such as 0.3 (n + 1) - 1 against rounding; far below the smallest step 1 / L of a loss.
_TOLERANCE = 1e-9


@dataclass
class FindingSetMethod(FindingMethod):
    """Learns from which probability on a finding belongs to the set.

    Attributes:
        guarantee: What holds, in words.
        alpha_: Target share of missed findings.
    """

    guarantee: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alpha_ = float("nan")

    def fit(self, rows: MultiLabel, alpha: float = 0.1) -> Self:
        """Learn thresholds from held-out rows.

        Args:
            rows: With truths.
            alpha: Target, between 0 and 1.

        Raises:
            SplitError: The rows are test data.
            SpecError: A target outside (0, 1).
            DataError: No finding is present in any row.
        """
        if not 0 < alpha < 1:
            raise SpecError(f"alpha: expected a number between 0 and 1, got {alpha}")
        self._require_fittable(rows.split)
        if not (rows.labels == 1).any():
            raise DataError("no row has a finding, so nothing can be missed and nothing learned")
        unknown = int((~rows.known).sum())
        if unknown:
            self._tell(
                f"{unknown:,} of {rows.known.size:,} truths are unknown; findings that are there without "
                "being known are not among those whose misses are controlled"
            )
        if rows.groups is not None and np.unique(rows.groups).size < len(rows):
            self._tell(
                f"the {len(rows)} rows belong to {np.unique(rows.groups).size} groups (patients), which are "
                "what is independent: the rate of new groups may be higher and varies more"
            )
        self.alpha_ = float(alpha)
        self._learn(rows, float(alpha))
        self._remember(rows.as_scores())
        return self

    def predict(self, rows: MultiLabel) -> FindingSets:
        """The findings of each row whose probability is at least the threshold.

        Raises:
            SpecError: Called before :meth:`fit`.
            SplitError: Rows that were used for fitting.
            DataError: Other findings than it was fitted on.
        """
        self._require_applicable(rows)
        return FindingSets(
            sets=rows.probabilities >= self.thresholds(),
            labels=rows.labels,
            names=rows.names,
            alpha=self.alpha_,
            ids=rows.ids,
            groups=rows.groups,
            provenance={**rows.provenance, "method": self.name, "guarantee": self.guarantee},
        )

    @abstractmethod
    def thresholds(self) -> FloatArray:
        """(L,) or (1,) smallest probability of a finding in the set."""

    @abstractmethod
    def _learn(self, rows: MultiLabel, alpha: float) -> None: ...


@FINDING_METHODS.register("false_negative_rate")
class FalseNegativeRate(FindingSetMethod):
    """One threshold whose sets miss at most a share alpha of a row's findings on average.

    The loss of a row is the share of its findings with a probability below lambda, L_i(lambda) =
    sum_l y_il [p_il < lambda] / sum_l y_il, at most B = 1 and falling as lambda falls. lambda is the largest
    one with

        n / (n + 1) mean_i L_i(lambda) + 1 / (n + 1) <= alpha,

    so that E[L] <= alpha for a new exchangeable row. With fewer than 1 / alpha - 1 rows no threshold does,
    and every set holds all findings (lambda = 0).

    Attributes:
        empty: Rows without a finding, which can miss none: "left out" (the rate is among rows with one)
            or "zero" (their loss is 0, so the rate among rows with a finding may be larger than alpha).
        threshold_: lambda.

    Source: Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal risk control", ICLR 2024, arXiv
    2208.02814, theorem 1.

    Example:
        >>> cal = MultiLabel(
        ...     probabilities=[[p, 0.5] for p in (0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.55, 0.65, 0.75)],
        ...     labels=[[1, 0]] * 9)
        >>> FalseNegativeRate().fit(cal, alpha=0.2).threshold_       # 0.2 (9 + 1) - 1 = 1 row may be missed
        0.3
    """

    guarantee: ClassVar[str] = "share of a row's findings that are missed, on average"
    state: ClassVar = {
        "alpha_": number(above=0, high=1),
        "threshold_": number(low=0, infinite=True),
    }

    empty: Literal["left out", "zero"] = "left out"

    def thresholds(self) -> FloatArray:
        """The same for all findings, (1,)."""
        return np.array([self.threshold_])

    def _learn(self, rows: MultiLabel, alpha: float) -> None:
        present = rows.labels == 1
        count = present.sum(axis=1)
        n = len(rows) if self.empty == "zero" else int((count > 0).sum())
        row, column = np.nonzero(present)
        p = rows.probabilities[row, column]
        order = np.argsort(p, kind="stable")
        p, loss = p[order], (1.0 / count[row])[order]
        allowed = alpha * (n + 1) - 1.0
        if allowed < -_TOLERANCE:
            self.threshold_ = 0.0
            self._tell(
                f"{n} rows are too few for alpha = {alpha:g}: at least {int(np.ceil(1 / alpha - 1))} are "
                "needed, so every set holds all findings"
            )
            return
        first = np.flatnonzero(np.diff(p, prepend=-1.0))  # of each run of equal probabilities
        missed = (np.cumsum(loss) - loss)[first]  # summed loss with the threshold there
        if loss.sum() <= allowed + _TOLERANCE:
            self.threshold_ = float("inf")
            self._tell(
                "even empty sets miss no more than that, so every set is empty; choose a smaller alpha"
            )
            return
        self.threshold_ = float(p[first[np.flatnonzero(missed <= allowed + _TOLERANCE)[-1]]])


@FINDING_METHODS.register("false_negative_rate_per_finding")
class FalseNegativeRatePerFinding(FindingSetMethod):
    """A threshold for each finding, which a row with that finding falls below with probability at most alpha.

    lambda_l is the k-th smallest probability among the n_l rows with finding l, k = floor(alpha (n_l + 1));
    0 where k = 0. This is class-conditional conformal prediction, a finding at a time.

    Attributes:
        thresholds_: (L,) lambda.

    Source: Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 2013.

    Example:
        >>> cal = MultiLabel(probabilities=np.arange(1, 20)[:, None] / 20, labels=np.ones((19, 1)))
        >>> FalseNegativeRatePerFinding().fit(cal, alpha=0.1).thresholds_.tolist()   # floor(0.1 x 20) = 2
        [0.1]
    """

    guarantee: ClassVar[str] = "missed rows of each finding"
    state: ClassVar = {"alpha_": number(above=0, high=1), "thresholds_": array("K", low=0, high=1)}

    def thresholds(self) -> FloatArray:
        """One for each finding, (L,)."""
        return self.thresholds_

    def _learn(self, rows: MultiLabel, alpha: float) -> None:
        thresholds, full = np.zeros(len(rows.names)), []
        for at, name in enumerate(rows.names):
            p = np.sort(rows.probabilities[rows.labels[:, at] == 1, at])
            k = int(np.floor(alpha * (p.size + 1) + _TOLERANCE))
            if k:
                thresholds[at] = p[k - 1]
            else:
                full.append(name)
        self.thresholds_ = thresholds
        if full:
            self._tell(
                f"fewer than {int(np.ceil(1 / alpha - 1))} rows with them, so these are in every set: "
                f"{', '.join(full)}"
            )
