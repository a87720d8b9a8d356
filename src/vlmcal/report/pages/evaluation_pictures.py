"""The pictures of a report on one set of predictions."""

from functools import partial

import numpy as np

from vlmcal.metrics import Evaluation, reliability_bins
from vlmcal.metrics.kit.class_bins import class_bins
from vlmcal.metrics.smooth_ece import SmoothCurve, smooth_reliability_curve
from vlmcal.report.figures.grid import are_rare, class_reliability, weighted_gap
from vlmcal.report.figures.histogram import confidence_histogram
from vlmcal.report.figures.reliability import describe_bins, reliability_diagram, top_bins
from vlmcal.report.figures.risk import risk_coverage
from vlmcal.report.figures.smooth import picture_width, smooth_reliability
from vlmcal.report.formats import number, percent_range
from vlmcal.report.html import Picture, Section, Strip
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

BINS = 15
MAX_CLASSES = 12
CLASSES = (
    "For each class: the share of rows that are of it, against the probability it was given. The gap is the "
    "mean distance from the dashed line over all rows; most rows give most classes almost no probability."
)


def pictures(rows: Confidences, evaluation: Evaluation) -> list[Picture]:
    """Reliability diagram, confidence histogram and risk-coverage curve of the top label."""
    bins_used = evaluation.edge_mass.bins if evaluation.edge_mass else BINS
    bins = top_bins(rows, bins=bins_used, level=evaluation.level)
    curve = smooth_reliability_curve(
        rows.confidence, rows.correct, width=picture_width(rows.confidence)
    )
    accuracy, confidence = float(rows.correct.mean()), float(rows.confidence.mean())
    aurc = evaluation.estimates.get("aurc")
    area = "" if aurc is None else f"AURC {percent_range(aurc, digits=2)}"
    return [
        Picture(
            partial(reliability_diagram, bins, ece=evaluation.estimates.get("ece")),
            "Reliability diagram",
            describe_bins(bins),
            "Accuracy against confidence. Below the dashed line the model is too sure of itself. Grey: "
            "where a calibrated model's bins would lie.",
        ),
        Picture(
            partial(
                smooth_reliability,
                curve,
                len(rows),
                smooth_ece=evaluation.estimates.get("smooth_ece"),
            ),
            "Smooth reliability curve",
            f"Smoothed accuracy at confidence 0.25, 0.5, 0.75 and 1: {_readings(curve)}.",
            "The same without bins: a curve below the dashed line is too sure of itself.",
        ),
        Picture(
            partial(confidence_histogram, rows.confidence, rows.correct),
            "Confidence of right and wrong answers",
            f"Mean confidence {number(confidence, percent=False, digits=2)}, accuracy "
            f"{number(accuracy, percent=False, digits=2)}.",
            "Each half in percent of its own rows; dotted: its mean.",
        ),
        Picture(
            partial(risk_coverage, rows.confidence, rows.correct, subtitle=area),
            "Error against coverage",
            f"Error is {number(1 - accuracy, percent=True, digits=1)} % when all rows are kept. {area}",
            "How the error falls when the least confident rows are left to a human.",
        ),
    ]


def _readings(curve: SmoothCurve) -> str:
    accuracy = np.interp([0.25, 0.5, 0.75, 1.0], curve.confidence, curve.accuracy)
    return ", ".join(number(float(value), percent=False, digits=2) for value in accuracy)


def classwise_section(data: Predictions) -> Section | None:
    """Small reliability diagrams of the classes with the largest gaps."""
    if data.n_classes < 2:
        return None
    sums = class_bins(data, data.labels, bins=BINS)
    gaps = np.abs(sums.gaps).sum(axis=1)
    chosen = np.argsort(-gaps, kind="stable")[:MAX_CLASSES]
    columns = class_columns(data, chosen)
    panels = [
        (
            data.class_names[c],
            reliability_bins(
                columns[:, j], data.labels == c, bins=BINS, resolution=data.resolution
            ),
        )
        for j, c in enumerate(chosen)
    ]
    left_out = data.n_classes - len(panels)
    rare = are_rare([bins for _, bins in panels])
    small = [
        Picture(
            partial(class_reliability, "", bins, rare=rare),
            f"Reliability of the class {name}",
            f"{describe_bins(bins)} Gap {number(weighted_gap(bins), percent=True, digits=1)} %.",
            name,
        )
        for name, bins in panels
    ]
    label = "All classes" if not left_out else f"{len(panels)} of {data.n_classes:,} classes"
    return Section(
        heading="Classes",
        prose=[CLASSES],
        strips=[Strip(f"{label}, largest gap first", small, wrap=True)],
        notes=["Square-root axes, since each class is rare."] if rare else [],
    )


def class_columns(data: Predictions, classes: IntArray) -> FloatArray:
    """Probabilities (N, C) of some classes, without holding those of all."""
    columns = np.empty((len(data), classes.size))
    for rows, chunk in ClassProbabilities.of(data).chunks():
        columns[rows] = chunk[:, classes]
    return columns
