"""The page of what is watched: one offline file, with a table of the windows and the evidence."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from vlmcal.posthoc.monitoring import Watch
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.figures.style import heading, legend_below, new_figure, themed
from vlmcal.report.html import Picture, Report, Section, present
from vlmcal.report.tables import Table
from vlmcal.report.theme import BLUE, GREEN, MUTED, ORANGE
from vlmcal.review.measures import Measures
from vlmcal.review.watching import Watched, Window
from vlmcal.review.weighting import Weighted
from vlmcal.review.workflow import NO_DEVICE
from vlmcal.types.estimate import Estimate

_COLORS = (BLUE, ORANGE, GREEN, MUTED)
_STYLES = ("-", "--", ":", "-.")
_SHOWN = 4


def watch_page(found: Watched, *, title: str, command: str = "") -> Report:
    """The page of :func:`~vlmcal.review.watching.watch_stream`.

    Args:
        found: What was found.
        title: Of the page.
        command: That made it.
    """
    alarmed = found.alarmed
    summary = alarmed or ["No alarm: nothing speaks against the stated confidences so far."]
    parts = Section(
        heading="Sites, modalities, kinds",
        prose=["Each part over all of its outcomes; its own alarm is in the table above."],
        tables=[_table(found.parts, "part")],
    )
    sections = present(
        _alarms(found),
        _windows(found) if found.windows else None,
        parts if found.parts else None,
        _drift(found),
        *([] if found.measures is None else _readers(found.measures, found.weighted)),
    )
    return Report(
        title=title,
        lead=NO_DEVICE,
        summary=[*summary, *filter(None, [found.suggestion])],
        sections=sections,
        command=command,
    )


def _alarms(found: Watched) -> Section:
    rows: list[list[Cell]] = [
        [
            name,
            each.log_e.size,
            float(np.exp(min(each.log_e[-1], 700.0))) if each.log_e.size else 1.0,
            1 / each.alpha,
            "no" if each.alarm is None else f"at outcome {each.alarm:,}",
        ]
        for name, each in found.alarms.items()
    ]
    columns = [
        words("test"),
        Column("outcomes", digits=0),
        Column("evidence", digits=2),
        Column("alarm at", digits=0),
        words("alarm"),
    ]
    pictures = [
        Picture(
            evidence_figure(found.alarms),
            title="Evidence over outcomes",
            desc="Evidence of each test after each outcome: " + "; ".join(found.lines()[:_SHOWN]),
            caption="Logarithmic; an alarm is on once a curve has reached its dotted line.",
        )
    ]
    return Section(
        heading="Alarms",
        prose=[
            "Each test may be looked at after every outcome: the share of false alarms over all tests and "
            "all looks together stays within what was asked for. Nothing is changed by an alarm."
        ],
        warnings=found.alarmed,
        tables=[Table(columns=columns, rows=rows)],
        pictures=pictures if any(w.log_e.size for w in found.alarms.values()) else [],
        notes=list(found.notes),
    )


@themed
def evidence_figure(alarms: Mapping[str, Watch]) -> Figure:
    """Evidence after each outcome, of the tests that speak most.

    Args:
        alarms: By name.

    Example:
        >>> from vlmcal.posthoc.monitoring import watch
        >>> from vlmcal.types.confidences import Confidences
        >>> rows = Confidences(confidence=[0.9] * 4, correct=[True, False] * 2)
        >>> evidence_figure({"all rows": watch(rows)}).axes[0].get_xlabel()
        'outcomes'
    """
    figure = new_figure(6.4, 3.0)
    axes = figure.subplots()
    first = sorted(alarms, key=lambda n: -float(alarms[n].log_e.max(initial=-np.inf)))[:_SHOWN]
    for i, name in enumerate(n for n in alarms if n in first):
        each, color = alarms[name], _COLORS[i].light
        at = np.arange(1, each.log_e.size + 1)
        keep = np.unique(np.linspace(0, at.size - 1, 400).astype(np.int64)) if at.size else at
        axes.plot(
            at[keep], each.log_e[keep] / np.log(10), color=color, linestyle=_STYLES[i], label=name
        )
        axes.axhline(-np.log10(each.alpha), color=color, linestyle=":", linewidth=0.8)
    axes.set_xlabel("outcomes")
    axes.set_ylabel("log10 of the evidence")
    heading(axes, "Evidence against the stated confidences", "")
    legend_below(figure, axes)
    return figure


def _windows(found: Watched) -> Section:
    names = {
        (f"{w.since[:10]} to {w.until[:10]}" if w.since else f"{w.first:,} to {w.last:,}")
        + (f" ({w.first:,} to {w.last:,})" if w.since else ""): w
        for w in found.windows
    }
    prose = ["Outcomes in the order in which they came in."]
    if found.target_risk is not None:
        prose.append(f"Target of the selective risk: {100 * found.target_risk:g} %.")
    if found.target_coverage is not None:
        prose.append(f"Target of the coverage: {100 * found.target_coverage:g} %.")
    return Section(heading="Over time", prose=prose, tables=[_table(names, "outcomes")])


def _table(windows: Mapping[str, Window], first: str) -> Table:
    columns = [
        words(first),
        Column("n", digits=0),
        Column("mean confidence", percent=True),
        Column("right", percent=True),
        Column("confidence - right", percent=True),
        Column("ECE, equal mass", percent=True),
        Column("selective risk", percent=True),
        Column("coverage", percent=True),
        Column("set size", digits=2),
    ]
    rows: list[list[Cell]] = [
        [name, w.n, w.confidence, w.accuracy, w.gap, w.ece, w.risk, w.coverage, w.set_size]
        for name, w in windows.items()
    ]
    return Table(columns=columns, rows=rows)


def _drift(found: Watched) -> Section:
    told = [] if found.shift is None else [f"{found.shift.sentence()}."]
    if found.deferral_rate is not None:
        told.append(f"Deferred to a person: {_share(found.deferral_rate)}.")
    if found.deferral is not None:
        alarm = found.deferral.alarm
        told.append(
            "The CUSUM of the deferral rate has not alarmed."
            if alarm is None
            else f"The CUSUM of the deferral rate went {found.deferral.way} at case {alarm:,}."
        )
    return Section(heading="Drift without outcomes", prose=told or ["Too few cases to tell."])


def _readers(measures: Measures, weighted: Weighted | None) -> list[Section]:
    shares = {
        "overrides of the model, of decisions with it in view": measures.overrides,
        "right ones among these": measures.right_overrides,
        "automation bias: right first answers given up for a wrong model": measures.automation_bias,
        "cannot tell": measures.cannot_tell,
        "accuracy with the model minus accuracy blind": measures.gain,
    }
    rows: list[list[Cell]] = [
        [name, each.n, each] for name, each in shares.items() if each is not None
    ]
    columns = [words("share"), Column("n", digits=0), Column("value", percent=True)]
    arms: list[list[Cell]] = [
        [name, arm.n, arm.accuracy, arm.seconds] for name, arm in measures.arms.items()
    ]
    heads = [words("arm"), Column("n", digits=0), Column("right", percent=True)]
    known: list[list[Cell]] = [
        [name, n, k, k / n if n else None] for name, (k, n) in measures.verified.items()
    ]
    tops = [words("cases"), Column("n", digits=0), Column("with outcome", digits=0)]
    notes = [
        f"{name}: {pair.only_first} against {pair.only_second}, McNemar's mid-p {pair.p_value:.3g}"
        for name, pair in (
            ("right only in the first answer against only in the decision", measures.before_after),
            ("right only blind against only with the model, same cases", measures.across),
        )
        if pair is not None
    ]
    tables = [Table(columns=columns, rows=rows)] if rows else []
    if arms:
        tables.append(Table(columns=[*heads, Column("median seconds")], rows=arms))
    return [
        Section(
            heading="Readers",
            prose=["Of decisions in force; whether they are right, where the truth is known."],
            tables=tables,
            notes=notes,
        ),
        Section(
            heading="Which cases have an outcome",
            prose=[
                "Outcomes mostly exist for cases that were treated or looked into: where the shares differ, "
                "numbers are about such cases. Weights are one over the stated chance of being looked into, "
                "or over the share with an outcome among the deferred and the other cases of each site."
            ],
            notes=[] if weighted is None else weighted.sentences(),
            tables=[Table(columns=[*tops, Column("share", percent=True)], rows=known)],
        ),
    ]


def _share(value: Estimate) -> str:
    if value.low is None or value.high is None:
        return f"{100 * value.value:.1f} %"
    ends = f"{100 * value.low:.1f} to {100 * value.high:.1f}"
    return f"{100 * value.value:.1f} % ({ends}; {value.n:,} cases)"
