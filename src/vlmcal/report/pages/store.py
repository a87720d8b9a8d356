"""One page for everything in a store: leaderboard, statistics over data sets, pictures of every method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.errors import DataError
from vlmcal.metrics.aurc import risk_coverage_curve
from vlmcal.report.cells import Cell, Column, Spread, words
from vlmcal.report.display import metric_column, metric_name, under
from vlmcal.report.figures.mini import Point, bars_and_diagonal, curve, scatter
from vlmcal.report.html import TEMPLATES, Report, Section, present
from vlmcal.report.pages.run_pictures import pooled_bins
from vlmcal.report.pages.run_rows import (
    AXES,
    AnyRow,
    RunRow,
    as_run_rows,
    common_settings,
    focus_of,
    found_on,
    grouped,
    ordered_classes,
)
from vlmcal.report.pages.runs import harmonic
from vlmcal.report.pages.store_pairs import within_data_sets
from vlmcal.report.pages.store_sets import in_a_row, over_data_sets
from vlmcal.report.tables import Table
from vlmcal.types.shown import plural

LEADERBOARD = ("accuracy", "ece", "nll")
ANALYSIS = {
    "feature_divergence": "text-feature divergence",
    "margin_mean": "mean margin",
    "margin_variance": "variance of the margin",
}
_POINTS = 24
SINGLE = "1 seed: the spread between seeds is unknown."
MULTIPLES = (
    "From left to right: reliability (stems from the diagonal to the accuracy of each bin) on each set of "
    "classes, error against the share of rows kept, and the training loss by epoch. Seeds are drawn together."
)
RELATION = "Each mark is a run without calibrator on one set of classes; the ECE is upwards."


def store_report(
    rows: Iterable[AnyRow],
    *,
    title: str,
    command: str = "",
    analysis: Mapping[tuple[str, str], Mapping[str, float]] | None = None,
    histories: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    resamples: int = 1000,
    metrics: Sequence[str] = LEADERBOARD,
) -> Report:
    """The page.

    Args:
        rows: Results as an experiment yields them, or plain mappings.
        title: Title of the page.
        command: The command that makes it.
        analysis: (run, classes) -> metrics of the text features and margins (:data:`ANALYSIS`).
        histories: Run -> one record per epoch, with "loss".
        runs: What the store says of every run: "id", "label", "seconds", ...
        resamples: Paired bootstrap resamples of the rows of a data set.
        metrics: Registry names of the metrics of the leaderboard.

    Raises:
        DataError: Nothing was measured.

    Example:
        >>> rows = [
        ...     {"method": m, "data": d, "metrics": {"accuracy": 0.5, "ece": e}}
        ...     for m, e in (("coop", 0.2), ("tcpt", 0.1)) for d in ("dtd", "ucf101")
        ... ]
        >>> [section.heading for section in store_report(rows, title="Runs").sections]
        ['Leaderboard', 'Over data sets']
    """
    measured = [row for row in as_run_rows(rows) if row.estimates and not row.conformal]
    if not measured:
        raise DataError("nothing was measured in this store")
    board = leaderboard(measured, metrics)
    over, lines = over_data_sets(measured)
    within, more = within_data_sets(measured, focus_of(measured), resamples)
    sections = present(
        Section(
            heading="Leaderboard",
            tables=[brief(board, measured)],
            interactive=True,
            prose=["Headings sort; the boxes above the table filter."],
        ),
        over,
        within,
        _trade_off(measured),
        _multiples(measured, histories or {}),
        _relations(measured, analysis or {}),
        _runs(runs),
    )
    counts = f"{plural(len(runs) or len(measured), 'run')}, {plural(len(board.rows), 'line')}."
    return Report(
        title=title,
        lead=counts,
        summary=[*lines, *more],
        sections=sections,
        command=command,
        script=(TEMPLATES / "leaderboard.js").read_text(encoding="utf-8"),
    )


def leaderboard(rows: Sequence[RunRow], metrics: Sequence[str] = LEADERBOARD) -> Table:
    """One line per method, data set and calibrator, pooled over seeds; one column per axis and metric."""
    classes = ordered_classes(rows)
    shown = [
        axis for axis in AXES if any({**row.axes, "method": row.method}.get(axis) for row in rows)
    ]
    shown += ["objective"] if "objective" not in shown else []
    axes = [axis for axis in AXES if axis in shown]
    columns = [words(axis) for axis in axes]
    columns += [words("calibrator"), Column("seeds", digits=0)]
    known = [name for name in metrics if any(name in row.estimates for row in rows)]
    both = {"base", "new"} <= set(classes)
    for name in known:
        like = metric_column(name)
        columns += [under(like, title) for title in classes]
        columns += [under(like, "H")] if both and name == "accuracy" else []
    lines: list[list[Cell]] = []
    for (variant, calibrator), members in grouped(rows).items():
        at = dict(zip(AXES, variant, strict=True))
        seeds = {row.seed for row in members}
        line: list[Cell] = [*(at[axis] for axis in axes), calibrator, len(seeds)]
        for name in known:
            values = ([e.value for e in found_on(title, name, members)] for title in classes)
            line += map(_pooled, values)
            line += [harmonic(members)] if both and name == "accuracy" else []
        lines.append(line)
    # A best value is one of its data set and backbone: other images are easier, not better predicted.
    told = [axes.index(axis) for axis in ("data", "backbone") if axis in axes]
    blocks = [" ".join(str(line[at]) for at in told) for line in lines]
    single = any(line[len(axes) + 1] == 1 for line in lines)
    notes = [SINGLE] if single else []
    return Table(columns=columns, rows=lines, notes=notes, blocks=blocks)


def brief(board: Table, rows: Sequence[RunRow]) -> Table:
    """A leaderboard for people: what all lines have in common stands below, once.

    Example:
        >>> from vlmcal.types.estimate import Estimate
        >>> shared = {"data": "dtd", "shots": "16"}
        >>> rows = [
        ...     RunRow(method=m, objective="ce", axes=shared, estimates={"ece": Estimate(0.1)})
        ...     for m in ("coop", "maple")
        ... ]
        >>> board = brief(leaderboard(rows), rows)
        >>> [column.title for column in board.columns], board.notes[0]
        (['method', 'objective', 'calibrator', 'seeds', 'all'], 'All rows: data dtd, 16 shots.')
    """
    own = [axis for axis in AXES if axis not in ("method", "objective")]
    same = [
        j
        for j, column in enumerate(board.columns)
        if column.title in own and len({str(row[j]) for row in board.rows}) == 1
    ]
    kept = [j for j in range(len(board.columns)) if j not in same]
    return replace(
        board,
        columns=[board.columns[j] for j in kept],
        rows=[[row[j] for j in kept] for row in board.rows],
        notes=[*filter(None, [common_settings(rows) if same else ""]), *board.notes],
    )


def _pooled(values: Sequence[float]) -> Cell:
    if not values:
        return None
    return values[0] if len(values) == 1 else Spread.of(values)


def _trade_off(rows: Sequence[RunRow]) -> Section | None:
    groups = list(dict.fromkeys(row.method for row in rows))
    pictures = []
    for name in ("accuracy", "ece"):
        points = []
        for (_, calibrator), members in grouped(rows).items():
            at = {
                title: [e.value for e in found_on(title, name, members)]
                for title in ("base", "new")
            }
            if all(at.values()):
                first = members[0]
                label = (
                    f"{first.axes.get('data', '')} {first.method} {first.objective} {calibrator}"
                )
                mean = {title: float(np.mean(values)) for title, values in at.items()}
                points.append(Point(mean["base"], mean["new"], label, groups.index(first.method)))
        if points:
            title = f"{metric_name(name)} on base and new classes"
            axes = (f"{metric_name(name)}, base", f"{metric_name(name)}, new")
            pictures.append(scatter(points, *axes, title, diagonal=True))
    return (
        Section(heading="Base against new classes", html=in_a_row(pictures)) if pictures else None
    )


def _multiples(
    rows: Sequence[RunRow], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Section | None:
    lines = []
    for (_, calibrator), members in grouped(rows).items():
        drawn = [row for row in members if row.confidences is not None]
        if not drawn or calibrator != UNCALIBRATED:
            continue
        first, cells = drawn[0], []
        for title in ordered_classes(drawn):
            part = [
                row.confidences
                for row in drawn
                if row.classes == title and row.confidences is not None
            ]
            bins = pooled_bins(part)
            cells.append(
                (title, bars_and_diagonal(bins.confidence, bins.accuracy, f"reliability, {title}"))
            )
            coverage, risk = risk_coverage_curve(
                np.concatenate([p.confidence for p in part]),
                np.concatenate([p.correct for p in part]),
            )
            keep = np.unique(np.linspace(0, len(coverage) - 1, _POINTS).astype(int))
            points = [(float(coverage[i]), float(risk[i])) for i in keep]
            cells.append((f"risk, {title}", curve(points, f"error against share kept, {title}")))
        losses = _losses([histories.get(str(row.provenance.get("run")), ()) for row in drawn])
        if losses:
            cells.append(("loss", curve(losses, "training loss by epoch")))
        name = " · ".join(part for part in (*first.variant,) if part)
        pictures = "".join(
            f"<figure>{svg}<figcaption>{escape(text)}</figcaption></figure>" for text, svg in cells
        )
        lines.append(f'<div class="multiples"><p>{escape(name)}</p>{pictures}</div>')
    if not lines:
        return None
    return Section(heading="Methods in small pictures", prose=[MULTIPLES], html="".join(lines))


def _losses(histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[float, float]]:
    known = [[float(e["loss"]) for e in h if "loss" in e] for h in histories]
    known = [losses for losses in known if len(losses) > 1]
    if not known:
        return []
    length = min(len(losses) for losses in known)
    keep = np.unique(np.linspace(0, length - 1, _POINTS).astype(int))
    return [(float(i + 1), float(np.mean([losses[i] for losses in known]))) for i in keep]


def _relations(
    rows: Sequence[RunRow], analysis: Mapping[tuple[str, str], Mapping[str, float]]
) -> Section | None:
    groups = list(dict.fromkeys(row.method for row in rows))
    pictures = []
    for name, text in ANALYSIS.items():
        points = []
        for row in rows:
            found = analysis.get((str(row.provenance.get("run")), row.classes), {})
            if row.calibrator == UNCALIBRATED and name in found and "ece" in row.estimates:
                label = f"{row.axes.get('data', '')} {row.method} {row.objective} {row.classes}"
                point = (float(found[name]), row.estimates["ece"].value)
                if np.isfinite(point).all():
                    points.append(Point(*point, label, groups.index(row.method)))
        if points:
            pictures.append(scatter(points, text, "ECE", f"{text} against ECE"))
    if not pictures:
        return None
    return Section(
        heading="What goes with miscalibration", prose=[RELATION], html=in_a_row(pictures)
    )


def _runs(runs: Sequence[Mapping[str, Any]]) -> Section | None:
    if not runs:
        return None
    columns = [words(name) for name in ("run", "what", "made with", "data", "warnings")]
    columns.insert(2, Column("seconds", digits=1))
    body: list[list[Cell]] = []
    for status in runs:
        about = status.get("provenance", {})
        versions = f"vlmcal {about.get('vlmcal', '')}, torch {about.get('torch', '')}"
        warned = "; ".join(map(str, status.get("warnings", ())))
        line: list[Cell] = [str(status["id"]), str(status.get("label", "")), status.get("seconds")]
        line += [versions, str(about.get("data_fingerprint", ""))[:12], warned[:200]]
        body.append(line)
    commands = [
        "vlmcal predict STORE/runs/RUN IMAGE ...  predicts with a run",
        "vlmcal export predictions STORE/runs/RUN -o rows.parquet  writes its scores",
        "vlmcal published compare STORE  puts published numbers beside all of them",
    ]
    return Section(
        heading="Runs", tables=[Table(columns=columns, rows=body)], notes=commands, interactive=True
    )
