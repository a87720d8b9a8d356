"""Report on one set of predictions: how good, how calibrated, and how sure one can be of that."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vlmcal.metrics import Evaluation
from vlmcal.metrics.clinical.summary import ClinicalSummary
from vlmcal.metrics.facts import epistemic_facts
from vlmcal.report.cells import Cell, Column, Formatted, words
from vlmcal.report.display import metric_column, named_definitions
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.report.html import Report, Section, present
from vlmcal.report.pages.class_verdict import headline_verdict
from vlmcal.report.pages.clinical import DEFINITIONS, clinical_sections, clinical_tables
from vlmcal.report.pages.evaluation_pictures import classwise_section, pictures
from vlmcal.report.pages.reading import reading_section, without_reading
from vlmcal.report.pages.verdict import Verdict
from vlmcal.report.tables import Table
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

WORST_ROWS = 15
UNWEIGHTED = "Pictures, and what stands below them, count each row once, whatever its weight."
MAX_GROUPS = 40
GROUP_METRICS = ("accuracy", "ece", "ace", "brier", "nll")
FLOOR = (
    "What a perfectly calibrated model with these confidences would show on average at this size."
)


def evaluation_report(
    data: Predictions | Confidences,
    evaluation: Evaluation,
    *,
    command: str = "",
    title: str = "Calibration report",
    provenance: Mapping[str, Any] | None = None,
    clinical: ClinicalSummary | None = None,
) -> Report:
    """A page on one set of predictions.

    Args:
        data: The rows that were measured.
        evaluation: What :func:`vlmcal.metrics.evaluate` found.
        command: The command that made it.
        title: Title of the page.
        provenance: Added to what the data carry.
        clinical: What :func:`vlmcal.metrics.clinical.summary.clinical_summary` found.

    Example:
        >>> from vlmcal.metrics import evaluate
        >>> rows = Confidences(confidence=[0.9, 0.8, 0.6], correct=[True, False, True])
        >>> report = evaluation_report(rows, evaluate(rows, ["accuracy", "ece"]), title="Three rows")
        >>> [section.heading for section in report.sections]
        ['Measurements', 'Pictures', 'Confidently wrong']
    """
    rows = data.top_label() if isinstance(data, Predictions) else data
    verdict = headline_verdict(data, evaluation)
    clinical_parts: list[Section] = []
    if clinical is not None and isinstance(data, Predictions):
        clinical_parts = clinical_sections(data, clinical, level=evaluation.level)
    sections = present(
        reading_section(data.provenance),
        *clinical_parts,
        Section(
            heading="Measurements",
            warnings=evaluation.notes,
            tables=[evaluation_table(evaluation)],
            notes=[*_edge_note(evaluation), *epistemic_facts(data)],
        ),
        Section(
            heading="Pictures",
            pictures=pictures(rows, evaluation),
            notes=[] if evaluation.effective is None else [UNWEIGHTED],
        ),
        _group_section(evaluation),
        classwise_section(data) if isinstance(data, Predictions) else None,
        _worst_section(data, rows),
    )
    return Report(
        title=title,
        sections=sections,
        summary=_summary(data, rows, evaluation, verdict),
        definitions={
            **({} if clinical is None else DEFINITIONS),
            **named_definitions(evaluation.definitions),
            **_floor_entry(evaluation),
        },
        provenance={**_provenance(data), **without_reading(data.provenance), **(provenance or {})},
        command=command,
    )


def evaluation_text(
    data: Predictions | Confidences, evaluation: Evaluation, clinical: ClinicalSummary | None = None
) -> str:
    """The verdict, the tables and the notes in plain text, for a terminal.

    Args:
        data: The rows that were measured.
        evaluation: What was measured.
        clinical: As in :func:`evaluation_report`.
    """
    parts = [headline_verdict(data, evaluation).sentences[0]]
    if clinical is not None:
        parts += [table.to_text() for table in clinical_tables(clinical, evaluation.level)]
    parts.append(evaluation_table(evaluation).to_text())
    if evaluation.groups:
        parts.append(group_table(evaluation).to_text())
    parts += epistemic_facts(data)
    return "\n".join(["\n\n".join(parts), *(f"note: {text}" for text in evaluation.notes)])


def evaluation_table(evaluation: Evaluation) -> Table:
    """One line per metric: value, interval, and what a calibrated model of this size would show.

    Example:
        >>> from vlmcal.types.estimate import Estimate
        >>> result = Evaluation({"ece": Estimate(0.1, 0.05, 0.2, n=90, floor=0.04)}, {}, n=90)
        >>> print(evaluation_table(result).to_text())
        metric                 value  if calibrated
        -------  -------------------  -------------
        ECE % ↓  10.00 [5.00, 20.00]           4.00
        <BLANKLINE>
        Brackets: 95 % interval.
    """
    floors = any(estimate.floor is not None for estimate in evaluation.estimates.values())
    columns = [words("metric"), Column("value")]
    if floors:
        columns.append(Column("if calibrated"))
    rows: list[list[Cell]] = []
    for name, estimate in evaluation.estimates.items():
        like = metric_column(name)
        like = replace(like, digits=2 if like.percent else max(4, like.digits))
        line: list[Cell] = [like.label, Formatted(estimate, like)]
        rows.append([*line, Formatted(estimate.floor, like)] if floors else line)
    return Table(columns=columns, rows=rows, level=evaluation.level)


def _summary(
    data: Predictions | Confidences, rows: Confidences, evaluation: Evaluation, verdict: Verdict
) -> list[str]:
    accuracy = evaluation.estimates.get("accuracy")
    what = plural(len(rows), "row")
    if isinstance(data, Predictions):
        what += f", {data.n_classes:,} classes"
    lines = [*verdict.sentences, f"Measured on {what}, split “{data.split}”."]
    if accuracy is not None:
        lines.append(f"Accuracy {percent_range(accuracy)}.")
    wrong = ~rows.correct
    sure = int((wrong & (rows.confidence >= 0.9)).sum())
    if wrong.any():
        lines.append(
            f"{sure:,} of {plural(int(wrong.sum()), 'wrong answer')} were given with a confidence of "
            "0.9 or more."
        )
    return lines


def _edge_note(evaluation: Evaluation) -> list[str]:
    edge = evaluation.edge_mass
    if edge is None or edge.share == 0:
        return []
    here, other = (number(v, percent=True, digits=2) for v in (edge.ece, edge.other_ece))
    share = number(edge.share, percent=True, digits=1)
    rule = {"left": "[lo, hi)", "right": "(lo, hi]"}[edge.other_rule]
    effect = "no different" if here == other else f"{other} % instead of {here} %"
    return [
        f"{share} % of rows lie on an edge of the {edge.bins} bins. "
        f"With bins {rule} the ECE would be {effect}."
    ]


def _floor_entry(evaluation: Evaluation) -> dict[str, str]:
    has = any(estimate.floor is not None for estimate in evaluation.estimates.values())
    return {"if calibrated": FLOOR} if has else {}


def group_table(evaluation: Evaluation) -> Table:
    """One line per subgroup: its rows and the headline metrics, largest first."""
    names = [
        name
        for name in GROUP_METRICS
        if any(name in measured for measured in evaluation.groups.values())
    ]
    sizes = {key: max((e.n for e in m.values()), default=0) for key, m in evaluation.groups.items()}
    order = sorted(sizes, key=lambda key: -sizes[key])[:MAX_GROUPS]
    return Table(
        columns=[
            words("group"),
            Column("rows"),
            *(metric_column(name, better=False) for name in names),
        ],
        rows=[
            [key, sizes[key], *(evaluation.groups[key].get(name) for name in names)]
            for key in order
        ],
        level=evaluation.level,
    )


def _group_section(evaluation: Evaluation) -> Section | None:
    if not evaluation.groups:
        return None
    table = group_table(evaluation)
    left_out = len(evaluation.groups) - len(table.rows)
    notes = [f"{left_out} smaller groups are left out."] if left_out else []
    prose = "Small groups have wide intervals; compare those before comparing the values."
    return Section(heading="Groups", prose=[prose], tables=[table], notes=notes)


def _worst_section(data: Predictions | Confidences, rows: Confidences) -> Section | None:
    wrong = np.flatnonzero(~rows.correct)
    if wrong.size == 0:
        return None
    worst = wrong[np.argsort(-rows.confidence[wrong], kind="stable")][:WORST_ROWS]
    columns = [words("id"), Column("confidence", digits=3)]
    lines: list[list[Cell]] = [[str(rows.ids[i]), float(rows.confidence[i])] for i in worst]
    if isinstance(data, Predictions):
        columns += [words("predicted"), words("true class")]
        predicted, names = data.predicted(), data.class_names
        for line, i in zip(lines, worst, strict=True):
            line += [names[predicted[i]], names[data.labels[i]]]
    if rows.groups is not None:
        columns.append(words("group"))
        for line, i in zip(lines, worst, strict=True):
            line.append(str(rows.groups[i]))
    prose = "The wrong answers with the highest confidence: label errors and systematic mistakes show here."
    tied = int((rows.confidence[wrong] >= rows.confidence[worst[-1]]).sum())
    notes = [f"{tied:,} wrong answers are at least as confident as the last one shown."]
    return Section(
        heading="Confidently wrong",
        prose=[prose],
        tables=[Table(columns=columns, rows=lines)],
        notes=notes if tied > worst.size else [],
    )


def _provenance(data: Predictions | Confidences) -> dict[str, Any]:
    own: dict[str, Any] = {"rows": len(data), "split": data.split}
    if isinstance(data, Predictions):
        own |= {"classes": data.n_classes, "scores": data.kind.replace("_", "-")}
    if data.groups is not None:
        own["groups"] = int(np.unique(data.groups).size)
    return own
