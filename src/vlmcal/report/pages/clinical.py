"""The clinical table: discrimination, decisions, calibration and net benefit of a risk, with a checklist."""

from collections.abc import Mapping, Sequence

import numpy as np

from vlmcal.metrics.clinical.decisions import clinical_decision_curve
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.metrics.clinical.summary import COMPARED, MEASURES, ClinicalSummary
from vlmcal.report.cells import Cell, Column, Formatted, words
from vlmcal.report.figures.decision_curve import decision_curve_figure
from vlmcal.report.formats import number
from vlmcal.report.html import Picture, Section
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

# Shown side by side where there are several classes or subgroups.
WIDE = ("prevalence", "auroc", "sensitivity", "specificity", "ppv", "npv", "oe")
WIDE_REST = ("average_precision", "intercept", "slope", "ici", "brier_skill", "spiegelhalter")
DEFINITIONS = {
    "AUROC (diagnostic)": "Probability that a case has a higher risk than another row; DeLong's interval.",
    "O:E": "Cases observed over cases expected (sum of risks); 1 is right, below 1 the risks are too high.",
    "calibration intercept": "Shift of the log-odds that makes the risks right on average; 0 is right.",
    "calibration slope": "Factor of the log-odds that fits best; below 1 the risks are too extreme.",
    "ICI": "Mean distance of the risks from a smooth calibration curve (local linear regression); E50 and "
    "E90 are its median and ninth decile.",
    "Brier skill": "1 - Brier score / that of the prevalence for everybody.",
    "Spiegelhalter z": "Test of calibration by the Brier score; standard normal for calibrated risks.",
    "net benefit": "TP / N - FP / N x t / (1 - t) of treating rows with a risk of at least t.",
}


def _column(name: str) -> Column:
    label, percent = MEASURES[name]
    return Column(label, percent=percent, digits=1 if percent else 3)


def clinical_tables(summary: ClinicalSummary, level: float = 0.95) -> list[Table]:
    """A line per measure for one condition, a line per class for several; then subgroups and their gaps.

    Example:
        >>> from vlmcal.metrics.clinical.summary import measure
        >>> found = measure(Risks.of([0.8, 0.7, 0.4, 0.1], [1, 0, 1, 0]))
        >>> table = clinical_tables(ClinicalSummary(0.5, {"ill": found}))[0]
        >>> table.to_text().splitlines()[0].split()
        ['measure', '"ill"', 'p']
    """
    tables = []
    if len(summary.measures) == 1:
        name, found = next(iter(summary.measures.items()))
        tables.append(_tall(name, found, summary.threshold, level))
    else:
        tables += _wide("class", summary.measures, level)
    if summary.subgroups:
        tables.append(_wide("subgroup", summary.subgroups, level)[0])
        for what, values in (
            ("largest - smallest", summary.gaps),
            ("smallest / largest", summary.ratios),
        ):
            columns = [words(what), *(_like(name, what) for name in COMPARED)]
            rows: list[list[Cell]] = [[c, *(v[n] for n in COMPARED)] for c, v in values.items()]
            tables.append(Table(columns=columns, rows=rows, level=level))
    return tables


def _like(name: str, what: str) -> Column:
    label, percent = MEASURES[name]
    return (
        Column(label, percent=percent, digits=1)
        if "-" in what and percent
        else Column(label, digits=2)
    )


def _tall(name: str, found: Mapping[str, Estimate], threshold: float, level: float) -> Table:
    rows: list[list[Cell]] = []
    for key, estimate in found.items():
        like = _column(key)
        at = f" at {threshold:.3g}" if key in ("sensitivity", "specificity", "ppv", "npv") else ""
        p = "" if estimate.p_value is None else p_text(estimate.p_value)
        rows.append(
            [
                like.label.replace(" %", "") + at + (" %" if like.percent else ""),
                Formatted(estimate, like),
                p,
            ]
        )
    columns = [words("measure"), Column(f'"{name}"'), Column("p")]
    return Table(columns=columns, rows=rows, level=level)


def _wide(what: str, measures: Mapping[str, Mapping[str, Estimate]], level: float) -> list[Table]:
    tables = []
    for names in (WIDE, WIDE_REST):
        columns = [words(what), Column("rows", digits=0), *map(_column, names)]
        rows: list[list[Cell]] = [
            [key, float(found["prevalence"].n), *(found[name] for name in names)]
            for key, found in measures.items()
        ]
        tables.append(Table(columns=columns, rows=rows, level=level))
    return tables


def p_text(p: float) -> str:
    """A p-value for readers.

    Example:
        >>> p_text(0.0312), p_text(5e-9)
        ('0.031', '5e-09')
    """
    return f"{p:.2g}"


def clinical_sections(
    data: Predictions, summary: ClinicalSummary, *, level: float = 0.95
) -> list[Section]:
    """The tables, the decision curve and the checklist as sections of a page."""
    shown = [positive_class(data)] if data.n_classes == 2 else list(range(min(data.n_classes, 12)))
    return [
        Section(
            heading="Clinical measures",
            prose=[
                f"Decisions at a threshold of {summary.threshold:.3g}. AUROC here is that of the risk "
                "against the condition; AUROC (confidence) is that of the confidence against being right."
            ],
            tables=clinical_tables(summary, level),
        ),
        Section(heading="Decision curve", pictures=[_curve(data, at) for at in shown]),
        Section(heading="Checklist (TRIPOD+AI)", prose=checklist(data, summary)),
    ]


def _curve(data: Predictions, at: int) -> Picture:
    name = data.class_names[at]
    curve = clinical_decision_curve(Risks.of_class(data, at))
    gain = curve.model - np.maximum(curve.treat_all, curve.treat_none)
    useful = curve.threshold[gain > 1e-12]
    span = (
        f"better than treating all and none at thresholds from {useful[0]:.2f} to {useful[-1]:.2f}"
        if useful.size
        else "at no threshold better than treating all or none"
    )
    return Picture(
        decision_curve_figure(curve, title=name),
        f"Decision curve of {name}",
        f"Net benefit of acting on the probability of {name}: {span}.",
        f"{name}: {span}.",
    )


def checklist(data: Predictions, summary: ClinicalSummary) -> Sequence[str]:
    """What the items of TRIPOD+AI on evaluation need, filled in where these rows say it.

    Source: Collins et al., "TRIPOD+AI statement", BMJ 2024.
    """
    first = next(iter(summary.measures))
    found = summary.measures[first]
    cases = round(found["prevalence"].value * len(data))
    units = "" if data.groups is None else f" of {len(np.unique(data.groups)):,} units"
    parts = (
        ", ".join(dict.fromkeys(key.partition(" = ")[0] for key in summary.subgroups))
        or "none measured"
    )
    slope = found["slope"]
    return [
        f"Participants and outcome (items 6, 8, 20): {len(data):,} rows{units}, {cases:,} with “{first}” "
        f"({number(found['prevalence'].value, percent=True, digits=1)} %), split “{data.split}”. State where "
        "and when they were collected, and who set the reference standard, blind to the score or not.",
        "Sample size (item 10): intervals are given; vlmcal evaluate --width says how many rows a narrower "
        "one would need.",
        "Missing data (item 11): rows without a score or label are refused; say how many were left out "
        "before.",
        f"Performance (items 12, 23): discrimination with intervals, calibration intercept and slope "
        f"({slope.value:.2f}), calibration curve, net benefit; threshold {summary.threshold:.3g}, to be "
        "justified by the costs of both errors and chosen before looking at these rows.",
        f"Heterogeneity and fairness (items 13, 14, 23b): subgroups {parts}.",
        "Updating (item 12f): a recalibrated model (vlmcal calibrate) must be measured on rows it was not "
        "fitted on.",
    ]
