"""In plain words: are the probabilities of the classes as large as their shares, and could that be chance?"""

import math
from dataclasses import replace
from typing import NamedTuple

from vlmcal.metrics import Evaluation
from vlmcal.metrics.clinical.calibration import (
    Balance,
    balance,
    balances,
    observed_to_expected,
    spiegelhalter,
)
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.report.display import metric_name
from vlmcal.report.formats import number
from vlmcal.report.pages.clinical import p_text
from vlmcal.report.pages.verdict import FEW_ROWS, Verdict, calibration_verdict
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

_LEVEL = 0.05


class ClassVerdict(NamedTuple):
    """What a test of the class probabilities says.

    Attributes:
        rejected: Whether "calibrated" is rejected.
        sentence: For readers; "" where there is nothing to say.
    """

    rejected: bool
    sentence: str


def class_verdict(data: Predictions, evaluation: Evaluation | None = None) -> ClassVerdict:
    """Test whether each class is as frequent as its probabilities say.

    Two classes: O:E and Spiegelhalter's z of the positive one and, where it was measured, the null test of
    the class-wise ECE, at 5 % over all of them (Bonferroni). More: O:E of every class at 5 % over all of
    them, else the null test of the class-wise ECE where it was measured.

    Example:
        >>> import numpy as np
        >>> p = Predictions(logits=np.tile([0.0, 1.0], (200, 1)), labels=np.arange(200) % 2)
        >>> class_verdict(p).sentence
        'The probability of "1" is too high: 146.2 of 200 rows expected, 100 observed (O:E 0.68 ...'
    """
    if data.n_classes == 2:
        return _two(data, evaluation)
    found = data.kept("balances", lambda: balances(data))
    p = [math.nan if each.ratio.p_value is None else each.ratio.p_value for each in found]
    tested = [at for at, value in enumerate(p) if not math.isnan(value)]
    worst = min(tested, key=lambda at: p[at], default=None)
    if worst is not None and p[worst] * len(tested) < _LEVEL:
        sentence = _sentence(data, worst, found[worst], p[worst] * len(tested))
        return ClassVerdict(True, f"{sentence[:-2]} over {len(tested)} classes).")
    classwise = _classwise(evaluation)
    if classwise is not None and (classwise.p_value or 0.0) < _LEVEL:
        return _by_classwise(classwise)
    return ClassVerdict(False, "")


def _classwise(evaluation: Evaluation | None) -> Estimate | None:
    """The class-wise ECE with its test, where it was measured."""
    found = None if evaluation is None else evaluation.estimates.get("classwise_ece")
    return None if found is None or found.p_value is None else found


def _by_classwise(classwise: Estimate) -> ClassVerdict:
    value = number(classwise.value, percent=True, digits=1)
    return ClassVerdict(
        True,
        f"The probabilities of the classes differ from their shares by more than chance (classwise ECE "
        f"{value} %, p = {p_text(classwise.p_value or 0.0)}).",
    )


def _two(data: Predictions, evaluation: Evaluation | None) -> ClassVerdict:
    at = positive_class(data)
    classwise = _classwise(evaluation)
    level = _LEVEL / (2 if classwise is None else 3)
    risks = Risks.of_class(data, at)
    found, z = balance(risks), spiegelhalter(risks)
    name = data.class_names[at]
    if found.ratio.p_value is not None and found.ratio.p_value < level:
        return ClassVerdict(True, _sentence(data, at, found, found.ratio.p_value))
    said, seen = (
        number(float(v.mean()), percent=True, digits=1) for v in (risks.risk, risks.present)
    )
    means = f"it is {said} % on average, and {seen} % of rows are so"
    if z.p_value is not None and z.p_value < level:
        return ClassVerdict(
            True,
            f'The probability of "{name}" is right on average ({means}), but not at every level '
            f"(Spiegelhalter z {z.value:.2f}, p = {p_text(z.p_value)}).",
        )
    if classwise is not None and (classwise.p_value or 0.0) < level:
        return _by_classwise(classwise)
    if len(data) < FEW_ROWS:
        return ClassVerdict(False, f'Too few rows to tell ({len(data)}): "{name}": {means}.')
    return ClassVerdict(
        False, f'The probability of "{name}" agrees with its share within chance: {means}.'
    )


def _sentence(data: Predictions, at: int, found: Balance, p: float) -> str:
    observed, expected, ratio = found
    direction = "high" if ratio.value < 1 else "low"
    interval = "" if ratio.low is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    return (
        f'The probability of "{data.class_names[at]}" is too {direction}: {expected:,.1f} of {len(data):,} '
        f"rows expected, {observed:,} observed (O:E {ratio.value:.2f}{interval}, p = {p_text(p)})."
    )


def headline_verdict(data: Predictions | Confidences, evaluation: Evaluation) -> Verdict:
    """The verdict on the top label, led by that on the classes where they say more.

    With two classes the positive one leads, unless only the top label shows more than chance; with more
    classes it leads where its test rejects, in one sentence with the top label where that shows more than
    chance, too.
    """
    rows = data.top_label() if isinstance(data, Predictions) else data
    if evaluation.effective is not None:
        said = f"Rows are weighted ({evaluation.effective:,.0f} equal ones): no test of calibration is made."
        return Verdict("neither", float("nan"), None, (said,))
    verdict = calibration_verdict(rows, evaluation.estimates.get("ece"))
    classes = ClassVerdict(False, "")
    if isinstance(data, Predictions) and data.n_classes > 1:
        classes = class_verdict(data, evaluation)
    clear = verdict.direction != "neither" or bool(verdict.distinguishable)
    if not clear and not classes.rejected:
        classes, verdict = _with_doubts(data, evaluation, classes, verdict)
    if not classes.sentence:
        return verdict
    assert isinstance(data, Predictions)
    first, *rest = verdict.sentences
    lead = first[:1].lower() + first[1:]
    if classes.rejected and clear and data.n_classes > 2:
        second = classes.sentence[:1].lower() + classes.sentence[1:]
        sentences = (f"{first.removesuffix('.')}; {second}", *rest)
    elif classes.rejected or not clear:
        sentences = (classes.sentence, f"By the top label, {lead}", *rest)
    else:
        sentences = (*verdict.sentences, classes.sentence)
    return replace(verdict, sentences=sentences)


def _with_doubts(
    data: Predictions | Confidences, evaluation: Evaluation, classes: ClassVerdict, verdict: Verdict
) -> tuple[ClassVerdict, Verdict]:
    """The same, with what single tests say that reach 5 %, though not their share of it."""
    tests = {metric_name(name): found.p_value for name, found in evaluation.estimates.items()}
    if isinstance(data, Predictions) and data.n_classes == 2:
        risks = Risks.of_class(data, positive_class(data))
        tests |= {
            "O:E": observed_to_expected(risks).p_value,
            "Spiegelhalter z": spiegelhalter(risks).p_value,
        }
    doubts = {name: p for name, p in tests.items() if p is not None and p < _LEVEL}
    if not doubts:
        return classes, verdict
    name = min(doubts, key=lambda test: doubts[test])
    among = f" of {len([p for p in tests.values() if p is not None])}"
    tail = f"; one test{among} doubts it (p = {p_text(doubts[name])}, {name})."
    if len(doubts) > 1:
        tail = f"; {len(doubts)} tests{among} doubt it (p = {p_text(doubts[name])}, {name})."
    if classes.sentence:
        return classes._replace(sentence=classes.sentence.removesuffix(".") + tail), verdict
    first, *rest = verdict.sentences
    return classes, replace(verdict, sentences=(first.removesuffix(".") + tail, *rest))
