"""One page for everything in a store: leaderboard, statistics over data sets, pictures of every method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.errors import DataError
from vlmcal.metrics.across_sets import average_of_harmonics, harmonic_of_averages, rank_methods
from vlmcal.metrics.aurc import risk_coverage_curve
from vlmcal.report.cells import Cell, Column, Spread
from vlmcal.report.display import metric_column, metric_name
from vlmcal.report.figures.mini import Point, bars_and_diagonal, curve, scatter
from vlmcal.report.figures.rank_diagram import rank_diagram
from vlmcal.report.html import TEMPLATES, Report, Section
from vlmcal.report.pages.run_pictures import pooled_bins
from vlmcal.report.pages.run_rows import (
    AXES,
    AnyRow,
    RunRow,
    as_run_rows,
    common_settings,
    grouped,
    ordered_classes,
)
from vlmcal.report.pages.runs import harmonic
from vlmcal.report.pages.store_pairs import within_data_sets
from vlmcal.report.tables import Table
from vlmcal.types.shown import plural

LEADERBOARD = ("accuracy", "ece", "nll")
ANALYSIS = {
    "feature_divergence": "text-feature divergence",
    "margin_mean": "mean margin",
    "margin_variance": "variance of the margin",
}
_RANKED = 30  # methods in a table of ranks
_POINTS = 24
SINGLE = "1 seed: the spread between seeds is unknown."
HARMONICS = (
    "H of averages: 2 b n / (b + n) of the mean accuracies over data sets, as most papers print it. Average "
    "of H: the mean of the data sets' own harmonic means, never larger."
)
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
    within, more = within_data_sets(measured, _focus(measured), resamples)
    sections = [
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
    ]
    counts = f"{plural(len(runs) or len(measured), 'run')}, {plural(len(board.rows), 'line')}."
    return Report(
        title=title,
        lead=counts,
        summary=[*lines, *more],
        sections=[section for section in sections if section is not None],
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
    columns = [Column(axis, align="left") for axis in axes]
    columns += [Column("calibrator", align="left"), Column("seeds", digits=0)]
    known = [name for name in metrics if any(name in row.estimates for row in rows)]
    both = {"base", "new"} <= set(classes)
    for name in known:
        like = metric_column(name)
        columns += [_like(like, title) for title in classes]
        columns += [_like(like, "H")] if both and name == "accuracy" else []
    lines: list[list[Cell]] = []
    for (variant, calibrator), members in grouped(rows).items():
        at = dict(zip(AXES, variant, strict=True))
        seeds = {row.seed for row in members}
        line: list[Cell] = [*(at[axis] for axis in axes), calibrator, len(seeds)]
        for name in known:
            for title in classes:
                values = [
                    row.estimates[name].value
                    for row in members
                    if row.classes == title and name in row.estimates
                ]
                line.append(_pooled(values))
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


def _like(like: Column, title: str) -> Column:
    return Column(title, like.title, like.percent, like.digits, like.better)


def _focus(rows: Sequence[RunRow]) -> str:
    """The classes on which methods are judged: new ones where there are any."""
    classes = ordered_classes(rows)
    return "new" if "new" in classes else classes[-1]


def over_data_sets(rows: Sequence[RunRow]) -> tuple[Section | None, list[str]]:
    """Means, both harmonic means and ranks of the methods that have every data set; sentences for the top."""
    classes, focus = ordered_classes(rows), _focus(rows)
    names, values = _by_method(rows)
    sets = sorted({row.axes.get("data", "") for row in rows})
    tables, notes, lines, pictures = [], [], [], []
    complete = [key for key in names if all((key, d, focus, "accuracy") in values for d in sets)]
    if len(sets) < 2 or not complete:
        return None, []
    both = {"base", "new"} <= set(classes)
    columns = [Column("method", align="left")]
    for name in ("accuracy", "ece"):
        columns += [_like(metric_column(name), title) for title in classes]
        if both and name == "accuracy":
            columns += [
                Column("H of averages", "accuracy", True),
                Column("average of H", "accuracy", True),
            ]
    body: list[list[Cell]] = []
    for key in complete:
        line: list[Cell] = [names[key]]
        for name in ("accuracy", "ece"):
            found = {
                title: [
                    values[key, d, title, name] for d in sets if (key, d, title, name) in values
                ]
                for title in classes
            }
            line += [float(np.mean(v)) if len(v) == len(sets) else None for v in found.values()]
            if both and name == "accuracy":
                whole = len(found["base"]) == len(found["new"]) == len(sets)
                pair = found["base"], found["new"]
                line += (
                    [harmonic_of_averages(*pair), average_of_harmonics(*pair)]
                    if whole
                    else [None, None]
                )
        body.append(line)
    tables.append(
        Table(columns=columns, rows=body, caption=f"Means over {plural(len(sets), 'data set')}")
    )
    notes += [HARMONICS] if both else []
    plain = [key for key in complete if key[-1] == UNCALIBRATED]
    for name, which in (("accuracy", plain), ("ece", complete)):  # calibrators move few predictions
        ranked = which[:_RANKED]
        if len(ranked) < 2 or not all((k, d, focus, name) in values for k in ranked for d in sets):
            continue
        table = [[values[k, d, focus, name] for k in ranked] for d in sets]
        ranking = rank_methods(
            table, [names[k] for k in ranked], higher_is_better=name == "accuracy"
        )
        tables.append(
            Table(
                columns=[Column("method", align="left"), Column("mean rank", digits=2)],
                rows=[[n, r] for n, r in zip(ranking.names, ranking.ranks, strict=True)],
                caption=f"Ranks by {metric_name(name)} on {focus} classes, critical difference "
                f"{ranking.critical_difference:.2f} (Nemenyi, 5 %)",
            )
        )
        pictures.append(
            rank_diagram(ranking, f"Mean ranks by {metric_name(name)} on {focus} classes")
        )
        said = [
            f"On {focus} classes, by {metric_name(name)}: {line}" for line in ranking.sentences()
        ]
        notes += said
        lines += said[:1]
    if len(complete) > _RANKED:
        notes.append(f"Ranks of the first {_RANKED} of {len(complete)} methods.")
    section = Section(heading="Over data sets", tables=tables, notes=notes, html=_row(pictures))
    return section, lines


def _by_method(
    rows: Sequence[RunRow],
) -> tuple[dict[tuple[str, ...], str], dict[tuple[Any, ...], float]]:
    """Names of methods without their data set, and (method, data, classes, metric) -> mean over seeds."""
    parts: dict[tuple[Any, ...], list[float]] = {}
    keys: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        at = dict(zip(AXES, row.variant, strict=True))
        data = at.pop("data")
        key = (*at.values(), row.calibrator)
        keys[key] = {**at, "calibrator": "" if row.calibrator == UNCALIBRATED else row.calibrator}
        for name, estimate in row.estimates.items():
            parts.setdefault((key, data, row.classes, name), []).append(estimate.value)
    told = [
        axis for axis in next(iter(keys.values())) if len({at[axis] for at in keys.values()}) > 1
    ]
    names = {
        key: ", ".join(
            f"{at[a]} shots" if a == "shots" else at[a]
            for a in (["method", *[t for t in told if t != "method"]])
            if at[a]
        )
        for key, at in keys.items()
    }
    return names, {key: float(np.mean(values)) for key, values in parts.items()}


def _trade_off(rows: Sequence[RunRow]) -> Section | None:
    groups = list(dict.fromkeys(row.method for row in rows))
    pictures = []
    for name in ("accuracy", "ece"):
        points = []
        for (_, calibrator), members in grouped(rows).items():
            at = {
                title: [
                    r.estimates[name].value
                    for r in members
                    if r.classes == title and name in r.estimates
                ]
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
    return Section(heading="Base against new classes", html=_row(pictures)) if pictures else None


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
    for name, words in ANALYSIS.items():
        points = []
        for row in rows:
            found = analysis.get((str(row.provenance.get("run")), row.classes), {})
            if row.calibrator == UNCALIBRATED and name in found and "ece" in row.estimates:
                label = f"{row.axes.get('data', '')} {row.method} {row.objective} {row.classes}"
                point = (float(found[name]), row.estimates["ece"].value)
                if np.isfinite(point).all():
                    points.append(Point(*point, label, groups.index(row.method)))
        if points:
            pictures.append(scatter(points, words, "ECE", f"{words} against ECE"))
    if not pictures:
        return None
    return Section(heading="What goes with miscalibration", prose=[RELATION], html=_row(pictures))


def _row(pictures: Sequence[str]) -> str:
    return f'<div class="plots">{"".join(pictures)}</div>'


def _runs(runs: Sequence[Mapping[str, Any]]) -> Section | None:
    if not runs:
        return None
    columns = [
        Column(name, align="left") for name in ("run", "what", "made with", "data", "warnings")
    ]
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
