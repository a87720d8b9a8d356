"""Tables on answers with confidences: how the questions ended, and how good the confidences are."""

from collections.abc import Sequence
from dataclasses import replace

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.costs import Cost
from vlmcal.metrics import Evaluation
from vlmcal.posthoc.answers import Measured, Repaired
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.display import metric_column
from vlmcal.report.tables import Table

FEWEST = 20
_STATES = ("answered", "unparsed", "refused", "empty", "failed")
_CUT = "cut"


def states_table(answers: Sequence[Answer], elicitors: Sequence[str]) -> Table:
    """How the questions of each elicitor ended, in percent of those asked, and what was right.

    Args:
        answers: Of all elicitors.
        elicitors: Labels, one line each.

    Example:
        >>> from vlmcal.types.reading import Reading
        >>> read = Reading(status="answered", answer="no", confidence=0.9, confidence_status="given")
        >>> print(states_table([Answer("1", "verbalized", read, correct=True)], ["verbalized"]).to_text())
        elicitor    asked  answered %  unparsed %  refused %  empty %  failed %  with confidence %  right %
        ----------  -----  ----------  ----------  ---------  -------  --------  -----------------  -------
        verbalized      1       100.0         0.0        0.0      0.0       0.0              100.0    100.0
    """
    rows: list[list[Cell]] = []
    # Replies that were cut are rare enough to have a column only where there are some.
    cut = any(a.reading.status == _CUT for a in answers if a.elicitor in elicitors)
    states = (*_STATES, _CUT) if cut else _STATES
    for label in elicitors:
        own = [a for a in answers if a.elicitor == label]
        count = max(len(own), 1)
        shares = [sum(a.reading.status == state for a in own) / count for state in states]
        stated = sum(a.reading.confidence is not None for a in own) / count
        verdicts = [a.correct for a in own if a.correct is not None]
        right = sum(verdicts) / len(verdicts) if verdicts else None
        rows.append([label, len(own), *shares, stated, right])
    return Table(
        columns=[
            words("elicitor"),
            Column("asked"),
            *(Column(state, percent=True) for state in states),
            Column("with confidence", percent=True),
            Column("right", percent=True),
        ],
        rows=rows,
    )


def costs_table(costs: Sequence[Cost]) -> Table:
    """What each elicitor costs, at each model; a call that several share is counted for each.

    Args:
        costs: As :func:`vlmcal.elicit.costs.spent` or :func:`vlmcal.elicit.costs.planned`.

    Example:
        >>> print(costs_table([Cost("verbalized", 2, 300, 40, 0, 1.5, 0.25, "EUR")]).to_text())
        elicitor    calls  tokens in  tokens out  of thoughts  seconds  price EUR
        ----------  -----  ---------  ----------  -----------  -------  ---------
        verbalized      2        300          40            0      1.5     0.2500
    """
    currencies = sorted({cost.currency for cost in costs if cost.currency})
    cached = any(cost.tokens_cached for cost in costs)
    rows: list[list[Cell]] = [
        [
            c.elicitor if c.speaker == "subject" else f"{c.elicitor}, {c.speaker}",
            c.calls,
            c.tokens_in,
            *([c.tokens_cached] if cached else []),
            c.tokens_out,
            c.tokens_thinking,
            c.seconds,
            c.price,
            *([c.currency] if len(currencies) > 1 else []),
        ]
        for c in costs
    ]
    return Table(
        columns=[
            words("elicitor"),
            Column("calls"),
            Column("tokens in"),
            *([Column("of these cached")] if cached else []),
            Column("tokens out"),
            Column("of thoughts"),
            Column("seconds"),
            Column(f"price {'' if len(currencies) > 1 else ''.join(currencies)}".strip(), digits=4),
            *([Column("currency")] if len(currencies) > 1 else []),
        ],
        rows=rows,
    )


def confidence_table(measured: Sequence[Measured], *, parsed: bool) -> Table:
    """One line per elicitor: metrics over its parsed rows, or over all rows.

    Args:
        measured: The elicitors.
        parsed: Which rows.
    """
    parts = [(m.rows.elicitor, m.parsed if parsed else m.everything) for m in measured]
    return _table("elicitor", [(label, e) for label, e in parts if e is not None])


def kind_table(measured: Measured, *, parsed: bool) -> Table:
    """One line per kind of question for one elicitor, the largest first; tiny kinds are left out.

    Args:
        measured: The elicitor.
        parsed: Which rows.
    """
    evaluation = measured.parsed if parsed else measured.everything
    lines = []
    if evaluation is not None:
        for kind, estimates in evaluation.groups.items():
            n = max((e.n for e in estimates.values()), default=0)
            lines.append((kind, Evaluation(estimates, {}, n=n, level=evaluation.level)))
    shown = [line for line in lines if line[1].n >= FEWEST]
    table = _table("kind of question", sorted(shown, key=lambda line: -line[1].n), better=False)
    if len(shown) == len(lines):
        return table
    left_out = f"{len(lines) - len(shown)} kinds with fewer than {FEWEST} rows are left out."
    return replace(table, notes=[left_out])


def repair_table(repaired: Sequence[Repaired]) -> Table:
    """One line per calibrator, none first, then by rising log-loss."""
    shown = [r for r in repaired if r.evaluation is not None]
    first = [r for r in shown if r.name == UNCALIBRATED]
    rest = sorted((r for r in shown if r.name != UNCALIBRATED), key=_loss)
    lines = [(r.name, r.evaluation) for r in [*first, *rest] if r.evaluation is not None]
    return _table("calibrator", lines)


def _loss(repaired: Repaired) -> float:
    assert repaired.evaluation is not None
    found = repaired.evaluation.estimates.get("top_label_nll")
    return found.value if found is not None else 0.0


def _table(first: str, lines: Sequence[tuple[str, Evaluation]], *, better: bool = True) -> Table:
    names = list(dict.fromkeys(name for _, e in lines for name in e.estimates))
    return Table(
        columns=[
            words(first),
            Column("rows"),
            *(metric_column(name, better=better and len(lines) > 1) for name in names),
        ],
        rows=[[label, e.n, *(e.estimates.get(name) for name in names)] for label, e in lines],
        level=lines[0][1].level if lines else 0.95,
    )
