"""Pages on conformal prediction: what the label sets of one or several methods deliver."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from scipy.stats import betabinom, binom

from vlmcal.metrics.conformal_summaries import SIZE_STRATA
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.posthoc.label_sets import METRICS, SetRow
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.display import named_definitions
from vlmcal.report.figures.label_sets import coverage_and_size
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.report.html import Picture, Report, Section, present
from vlmcal.report.pages.posthoc import left_out_section
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.prediction_sets import PredictionSets

_COLUMNS = {
    "coverage": Column("coverage", percent=True),
    "mean_set_size": Column("mean size", digits=2),
    "coverage_gap": Column("CovGap", percent=True),
    "worst_class_coverage": Column("worst class", percent=True),
    "size_stratified_violation": Column("worst size stratum", percent=True),
    "singleton_sets": Column("one label", percent=True),
    "empty_sets": Column("empty", percent=True),
    "full_sets": Column("full", percent=True),
}
BY_SIZE = (
    "Coverage within sets of alike size; no method promises it. Where large sets fail more often than small "
    "ones, the rows that look hard are worse off than the average says."
)
_WITH_INTERVAL = ("coverage", "mean_set_size")


def sets_table(outcomes: Sequence[SetRow]) -> Table:
    """One line per method: coverage and mean size with intervals, and for whom the sets fail.

    Example:
        >>> from vlmcal.metrics.measured import Evaluation
        >>> measured = Evaluation({"coverage": Estimate(0.9, 0.85, 0.94)}, {}, n=99)
        >>> print(sets_table([SetRow("lac", "marginal", measured)]).to_text())
        method  guarantee         coverage %
        ------  ---------  -----------------
        lac     marginal   90.0 [85.0, 94.0]
        <BLANKLINE>
        Brackets: 95 % interval.
    """
    shown = [outcome for outcome in outcomes if outcome.evaluation is not None]
    present = [
        n for n in METRICS if any(n in o.evaluation.estimates for o in shown if o.evaluation)
    ]
    columns = [words("method"), words("guarantee")]
    rows: list[list[Cell]] = []
    for outcome in shown:
        assert outcome.evaluation is not None
        found = outcome.evaluation.estimates
        rows.append([outcome.name, outcome.guarantee, *(_cell(n, found.get(n)) for n in present)])
    return Table(
        columns=[*columns, *(_COLUMNS[name] for name in present)],
        rows=rows,
        level=next((o.evaluation.level for o in shown if o.evaluation), 0.95),
    )


def _cell(name: str, estimate: Estimate | None) -> Cell:
    if estimate is None or name in _WITH_INTERVAL:
        return estimate
    return estimate.value


def size_table(sets: PredictionSets, *, level: float = 0.95, caption: str = "") -> Table:
    """Coverage by set size, with Wilson intervals: are large sets right as often as small ones?

    Example:
        >>> s = PredictionSets(sets=[[True, False], [True, True]] * 50, labels=[0, 1] * 50, alpha=0.1)
        >>> print(size_table(s).to_text())
        labels in the set  rows           coverage %
        -----------------  ----  -------------------
        0 to 1               50  100.0 [92.9, 100.0]
        2 to 3               50  100.0 [92.9, 100.0]
        <BLANKLINE>
        Brackets: 95 % interval.
    """
    sizes, hit = sets.sizes(), sets.covered()
    rows: list[list[Cell]] = []
    top = SIZE_STRATA[-1][1]
    for low, high in [*SIZE_STRATA, (top + 1, sets.sets.shape[1])]:
        inside = (sizes >= low) & (sizes <= high)
        if inside.any():
            groups = None if sets.groups is None else sets.groups[inside]
            share = infer_proportion(hit[inside], level=level, groups=groups)
            rows.append([f"{low} to {high}", int(inside.sum()), share])
    return Table(
        columns=[words("labels in the set"), Column("rows"), Column("coverage", percent=True)],
        rows=rows,
        caption=caption,
        level=level,
    )


def sets_report(
    outcomes: Sequence[SetRow],
    alpha: float,
    *,
    command: str = "",
    title: str = "Conformal prediction sets",
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """A page on the label sets of one or several methods.

    Args:
        outcomes: The methods; those that were left out carry the reason in their notes.
        alpha: Target miscoverage.
        command: The command that made it.
        title: Title of the page.
        provenance: How the numbers came about.
    """
    shown = [o for o in outcomes if o.evaluation is not None and o.sets is not None]
    methods = Section(
        heading="Methods",
        prose=[
            "The guarantee is an average over calibration sets and new rows; coverage on these test "
            "rows varies around it. Prefer, among methods with the guarantee that you need, small sets "
            "that hold for every class and size; whichever is chosen by these numbers needs other rows "
            "to be reported on."
        ],
        tables=[sets_table(outcomes)],
        pictures=_picture(shown, alpha),
        notes=[f"{o.name}: {o.notes}" for o in shown if o.notes],
    )
    by_size = [
        size_table(o.sets, level=o.evaluation.level, caption=o.name)
        for o in shown
        if o.sets is not None and o.evaluation is not None
    ]
    definitions = shown[0].evaluation.definitions if shown and shown[0].evaluation else {}
    return Report(
        title=title,
        sections=present(
            methods,
            Section(heading="Coverage by set size", prose=[BY_SIZE], tables=by_size),
            left_out_section("method", [o for o in outcomes if o.evaluation is None]),
        ),
        summary=_summary(shown, alpha),
        definitions=named_definitions(definitions),
        provenance=provenance or {},
        command=command,
    )


def alarm(outcomes: Sequence[SetRow], alpha: float) -> str:
    """Which methods cover less than chance explains, in a sentence; "" if none does.

    Args:
        outcomes: The methods that are judged at once.
        alpha: Target miscoverage.

    Example:
        >>> alarm([], 0.1)
        ''
    """
    measured = [o for o in outcomes if o.evaluation is not None and o.sets is not None]
    held = [o for o in measured if o.guarantee not in ("risk", "selective risk")]
    below = [o.name for o in held if falls_short(o, alpha, len(held))]
    if not below:
        return ""
    return (
        f"Coverage is below the target by more than chance: {', '.join(below)}. The test rows differ from "
        "the calibration rows, or the method does not promise coverage."
    )


def falls_short(outcome: SetRow, alpha: float, methods: int = 1) -> bool:
    r"""Whether coverage is below the target by more than the draw of both sets of rows explains.

    With n calibration rows and l = floor((n + 1) alpha), the number of m test rows that are covered follows,
    at least, BetaBinomial(m, n + 1 - l, l) (Vovk, ACML 2012). It is alarming where its lower tail at what
    was found is below 2.5 % / ``methods``, and, for rows of groups, the interval of the coverage agrees.
    Where n is not known, the calibration draw is left out of account: Binomial(m, 1 - alpha).

    Args:
        outcome: A method that promises coverage.
        alpha: Target miscoverage.
        methods: How many methods are judged at once.

    Example:
        >>> given = {"labels": [0] * 100, "alpha": 0.1, "provenance": {"fitted_on": {"n": 100}}}
        >>> sets = PredictionSets(sets=[[True, False]] * 84 + [[False, True]] * 16, **given)
        >>> from vlmcal.metrics.measured import Evaluation
        >>> measured = Evaluation({"coverage": Estimate(0.84, 0.76, 0.90)}, {}, n=100)
        >>> falls_short(SetRow("lac", "marginal", measured, sets), 0.1)
        False
        >>> falls_short(SetRow("lac", "marginal", measured, sets), 0.02)
        True
    """
    sets = outcome.sets
    if sets is None or outcome.evaluation is None:
        return False
    n = int(sets.provenance.get("fitted_on", {}).get("n", 0))
    hit = sets.covered()
    left = floor((n + 1) * Fraction(repr(alpha)))
    if not n:
        tail = float(binom.cdf(int(hit.sum()), hit.size, 1 - alpha))
    elif left < 1:
        return not hit.all()
    else:
        tail = float(betabinom.cdf(int(hit.sum()), hit.size, n + 1 - left, left))
    if sets.groups is not None and np.unique(sets.groups).size < hit.size:
        high = outcome.evaluation["coverage"].high
        return tail < 0.025 / methods and high is not None and high < 1 - alpha
    return tail < 0.025 / methods


def selective_risk(outcome: SetRow, alpha: float) -> str:
    """What a method that abstains delivers, or "" for others: it promises no coverage.

    Example:
        >>> both = [[True, False]] * 60 + [[True, True]] * 40
        >>> sets = PredictionSets(sets=both, labels=[0] * 100, alpha=0.1)
        >>> print(selective_risk(SetRow("abstain", "selective risk", sets=sets), 0.1))
        “abstain” answers 60.0 % of the rows, and 0.0 % [0.0, 6.0] of these answers are wrong (promised: at
        most 10.0 %); coverage and mean size are not what it is made for.
    """
    if outcome.guarantee != "selective risk" or outcome.sets is None:
        return ""
    sets = outcome.sets
    answered = sets.sizes() == 1
    promised = number(alpha, percent=True, digits=1)
    share = number(float(answered.mean()), percent=True, digits=1)
    if not answered.any():
        return f"“{outcome.name}” answers none of the rows (promised: at most {promised} % of answers wrong)."
    groups = None if sets.groups is None else sets.groups[answered]
    wrong = infer_proportion(~sets.covered()[answered], level=0.95, groups=groups)
    return (
        f"“{outcome.name}” answers {share} % of the rows, and {percent_range(wrong)} of these answers are "
        f"wrong (promised: at most {promised} %); coverage and mean size are not what it is made for."
    )


def _picture(shown: Sequence[SetRow], alpha: float) -> list[Picture]:
    found = {
        o.name: o.evaluation.estimates
        for o in shown
        if o.evaluation
        and o.guarantee != "selective risk"
        and {"coverage", "mean_set_size"} <= set(o.evaluation.estimates)
    }
    if not found:
        return []
    coverage, size = (
        [estimates[name] for estimates in found.values()] for name in ("coverage", "mean_set_size")
    )
    told = "; ".join(
        f"{name}: coverage {percent_range(one)}, mean size {number(two.value, percent=False, digits=2)}"
        for name, one, two in zip(found, coverage, size, strict=True)
    )
    figure = coverage_and_size(list(found), coverage, size, target=1 - alpha)
    caption = (
        "Lines: intervals. To the left of the dashed line a method covers less than was asked for."
    )
    return [Picture(figure, "Coverage and size of the label sets", f"{told}.", caption)]


def _summary(shown: Sequence[SetRow], alpha: float) -> list[str]:
    target = number(1 - alpha, percent=True, digits=1)
    lines = [f"Target coverage {target} % (alpha = {alpha:g})."]
    if warning := alarm(shown, alpha):
        lines.insert(0, warning)
    lines += [line for o in shown if (line := selective_risk(o, alpha))]
    if shown and shown[0].sets is not None:
        sets = shown[0].sets
        sizes = [float(np.mean(o.sets.sizes())) for o in shown if o.sets is not None]
        least, most = (number(v, percent=False, digits=2) for v in (min(sizes), max(sizes)))
        rows = f"Measured on {plural(len(sets), 'row')} with {sets.sets.shape[1]:,} classes"
        lines.append(f"{rows}; mean set size from {least} to {most}.")
    return lines
