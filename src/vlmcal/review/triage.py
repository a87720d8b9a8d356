"""Which cases need a person, why, and in which order."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from vlmcal.conformal.abstain import Abstain
from vlmcal.conformal.base import ConformalWarning
from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.hashing import digest
from vlmcal.posthoc.ood_scores import energy, max_logit
from vlmcal.review.case import Case
from vlmcal.review.evidence import Evidence
from vlmcal.review.policy import OodScore, Policy
from vlmcal.types.arrays import FloatArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

DEFAULT_RISK = 0.1
FOLDS = 5  # where labelled rows are both fitted on and measured
CRITICAL, FAR = "critical", "out-of-distribution"


@dataclass(frozen=True)
class Thresholds:
    """What a policy became on the held-out rows.

    Attributes:
        confidence: A person is asked below it (r1); infinite where no threshold keeps the target risk,
            None for no threshold.
        ood: Out-of-distribution scores above it are flagged (r5); None for none.
        told: How the first was chosen, in a sentence.
    """

    confidence: float | None = None
    ood: float | None = None
    told: str = ""


@dataclass(frozen=True, eq=False)
class Source:
    """Cases to be reviewed, with what is known of the model that made them.

    Attributes:
        cases: In the order of the file.
        classes: Names that can be answered.
        root: Folder that images are under, or None.
        model_id, calibrator_id: What made the answers and their confidences.
        evidence: Of local cases.
        thresholds: Of the policy.
        title: For the head of a page.
        notes: What the reader of the review should know.
        alpha: Target of the label sets; None without these.
    """

    cases: Sequence[Case]
    classes: tuple[str, ...] = ()
    root: Path | None = None
    model_id: str = ""
    calibrator_id: str = "none"
    evidence: Evidence = field(default_factory=Evidence)
    thresholds: Thresholds = field(default_factory=Thresholds)
    title: str = ""
    notes: tuple[str, ...] = ()
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not self.cases:
            raise DataError("there is no case to review")
        names = [case.id for case in self.cases]
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise DataError(f'two cases have the id "{twice}"')

    def queue(self) -> list[Case]:
        """Cases in the order in which they need a person.

        First those with a critical class in their set, then those out of distribution, then by the expected
        cost of acting on the model; ties by id. Labels have no part in it.
        """
        return sorted(
            self.cases, key=lambda c: (CRITICAL not in c.flags, FAR not in c.flags, -c.need, c.id)
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of cases, model and calibrator: the same source gives the same."""
        cases = [case.to_json() for case in self.cases]
        return digest([cases, list(self.classes), self.model_id, self.calibrator_id])


def thresholds(policy: Policy, held_out: Confidences | None, ood: FloatArray | None) -> Thresholds:
    """What a policy becomes on held-out rows.

    A stated threshold is taken as it is. A target risk chooses the smallest confidence above which, with
    probability 1 - delta, at most that share of answers is wrong
    (:class:`~vlmcal.conformal.abstain.Abstain`); without either the target is 10 % where there are
    held-out rows.

    Args:
        policy: The policy.
        held_out: Rows whose confidences did not see their outcomes, or None.
        ood: (N,) their out-of-distribution scores, or None.

    Raises:
        SpecError: A target risk or an out-of-distribution score is asked for, but there are no held-out rows.

    Example:
        >>> thresholds(Policy(threshold=0.8), None, None).confidence
        0.8
    """
    if policy.ood is not None and ood is None:
        raise SpecError(
            f"policy: ood: {policy.ood} needs held-out rows with class scores: their quantile is the limit"
        )
    limit = None if ood is None else float(np.quantile(ood, policy.ood_quantile))
    if policy.threshold is not None:
        told = f"a person is asked below the stated confidence {policy.threshold:g}"
        return Thresholds(policy.threshold, limit, told)
    if held_out is None:
        if policy.target_risk is not None:
            raise SpecError(
                "policy: target_risk needs held-out rows with labels, on which its threshold is chosen; "
                "state a threshold, or name the rows with --held-out"
            )
        return Thresholds(None, limit, "no threshold: there are no held-out rows to choose one on")
    risk = DEFAULT_RISK if policy.target_risk is None else policy.target_risk
    with warnings.catch_warnings():  # what it says goes into the sentence
        warnings.simplefilter("ignore", ConformalWarning)
        fitted = Abstain(delta=policy.delta).fit_confidences(held_out, risk)
    tau = fitted.threshold_
    bound = f"at most {100 * risk:g} % wrong above it, with probability {1 - policy.delta:g}"
    if np.isinf(tau):
        return Thresholds(tau, limit, f"every case is for a person: {fitted.messages_[-1]}")
    return Thresholds(
        tau, limit, f"a person is asked below {tau:.4f}: {bound} (chosen on {len(held_out):,} rows)"
    )


def expected_costs(p: FloatArray, classes: Sequence[str], policy: Policy) -> FloatArray:
    r"""Expected cost of acting on the model, (N,): :math:`\min_a \sum_c p_c \, cost(a, c)`.

    Raises:
        SpecError: The costs name an unknown class.

    Example:
        >>> costs = Policy(costs={"benign": {"malignant": 10}})
        >>> expected_costs(np.array([[0.9, 0.1]]), ["benign", "malignant"], costs).round(3).tolist()
        [0.9]
    """
    place = {name: i for i, name in enumerate(classes)}
    cost = 1.0 - np.eye(len(classes))
    for action, row in policy.costs.items():
        for truth, value in row.items():
            cost[_known(action, place, "costs"), _known(truth, place, "costs")] = value
    found: FloatArray = (p @ cost.T).min(axis=1)
    return found


def ood_scores(rows: Predictions, score: OodScore) -> FloatArray:
    """Out-of-distribution score of each row, (N,); larger is stranger.

    Raises:
        SpecError: The score needs logits, and these are probabilities.
    """
    if score == "max_probability":
        best: FloatArray = -rows.probabilities().max(axis=1)
        return best
    if rows.kind != "logits":
        raise SpecError(f"policy: ood: {score} needs logits; use max_probability for probabilities")
    return -(energy(rows.logits) if score == "energy" else max_logit(rows.logits))


def judged(
    case: Case, policy: Policy, limits: Thresholds, evidence: Evidence, ood: float | None = None
) -> Case:
    """A case with the interval of its confidence, its flags and the reasons why a person is asked.

    Args:
        case: With answer, confidence, set and site.
        policy: In force.
        limits: What it became on the held-out rows.
        evidence: Of local cases.
        ood: Its out-of-distribution score, or None.

    Example:
        >>> case = Case(id="1", classes=("a", "b"), predicted="a", confidence=0.6, set=("a", "b"))
        >>> judged(case, Policy(critical=("b",)), Thresholds(0.8), Evidence()).reasons
        ('r1', 'r2', 'r3')
    """
    local = evidence.near(case.confidence)
    known = local.n > 0
    low, high = (local.low, local.high) if known else (case.low, case.high)
    inside = case.set if case.set is not None else tuple(filter(None, (case.predicted,)))
    critical = set(policy.critical).intersection(inside)
    far = ood is not None and limits.ood is not None and ood > limits.ood
    tau = limits.confidence
    told = {
        "r1": case.confidence is None or (tau is not None and case.confidence < tau),
        "r2": case.set is not None and len(case.set) != 1,
        "r3": bool(critical) and len(critical) < len(inside),
        "r4": policy.width is not None and low is not None and high - low > policy.width,  # type: ignore[operator]
        "r5": far,
        "r6": bool(case.site) and bool(evidence.n) and not evidence.subgroups.get(case.site, False),
    }
    flags = ((CRITICAL,) if critical else ()) + ((FAR,) if far else ())
    reasons = tuple(code for code, holds in told.items() if holds)
    return replace(case, low=low, high=high, flags=flags, reasons=reasons)


def check_classes(policy: Policy, classes: Sequence[str]) -> None:
    """Refuse a policy that names an unknown class.

    Raises:
        SpecError: With the nearest class.
    """
    place = {name: i for i, name in enumerate(classes)}
    for name in policy.critical if classes else ():
        _known(name, place, "critical")


def _known(name: str, place: dict[str, int], where: str) -> int:
    require_known(name, place, f"policy: {where}: no class")
    return place[name]
