"""The pictures of a report on one set of predictions."""

import numpy as np

from vlmcal.metrics import Evaluation, reliability_bins
from vlmcal.metrics.class_bins import class_bins
from vlmcal.metrics.class_probabilities import ClassProbabilities
from vlmcal.report.figures.grid import classwise_reliability, weighted_gap
from vlmcal.report.figures.histogram import confidence_histogram
from vlmcal.report.figures.reliability import describe_bins, reliability_diagram
from vlmcal.report.figures.risk_coverage import risk_coverage
from vlmcal.report.formats import number, percent_range
from vlmcal.report.html import Picture, Section
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

BINS = 15
MAX_CLASSES = 12


def pictures(rows: Confidences, evaluation: Evaluation) -> list[Picture]:
    """Reliability diagram, confidence histogram and risk-coverage curve of the top label."""
    bins_used = evaluation.edge_mass.bins if evaluation.edge_mass else BINS
    bins = reliability_bins(
        rows.confidence,
        rows.correct,
        bins=bins_used,
        level=evaluation.level,
        resolution=rows.resolution,
    )
    accuracy, confidence = float(rows.correct.mean()), float(rows.confidence.mean())
    aurc = evaluation.estimates.get("aurc")
    area = "" if aurc is None else f"AURC {percent_range(aurc, digits=2)}"
    return [
        Picture(
            reliability_diagram(bins, ece=evaluation.estimates.get("ece")),
            "Reliability diagram",
            describe_bins(bins),
            "Accuracy against confidence. Below the dashed line the model is too sure of itself. Grey: "
            "where a calibrated model's bins would lie.",
        ),
        Picture(
            confidence_histogram(rows.confidence, rows.correct),
            "Confidence of right and wrong answers",
            f"Mean confidence {number(confidence, percent=False, digits=2)}, accuracy "
            f"{number(accuracy, percent=False, digits=2)}.",
            "Each half in percent of its own rows; dotted: its mean.",
        ),
        Picture(
            risk_coverage(rows.confidence, rows.correct, subtitle=area),
            "Error against coverage",
            f"Error is {number(1 - accuracy, percent=True, digits=1)} % when all rows are kept. {area}",
            "How the error falls when the least confident rows are left to a human.",
        ),
    ]


def classwise_section(data: Predictions) -> list[Section]:
    """Small reliability diagrams of the classes with the largest gaps."""
    if data.n_classes < 2:
        return []
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
    worst, bins = panels[0]
    picture = Picture(
        classwise_reliability(panels, max_panels=MAX_CLASSES),
        "Reliability per class",
        f"Largest share-weighted gap: {worst}, {number(weighted_gap(bins), percent=True, digits=1)} %.",
    )
    note = f"The {len(panels)} classes with the largest gaps of {data.n_classes}."
    return [
        Section(
            heading="Classes",
            prose=[
                "For each class: how often it is the answer, against the probability it was given."
            ],
            pictures=[picture],
            notes=[note] if left_out else [],
        )
    ]


def class_columns(data: Predictions, classes: IntArray) -> FloatArray:
    """Probabilities (N, C) of some classes, without holding those of all."""
    columns = np.empty((len(data), classes.size))
    for rows, chunk in ClassProbabilities.of(data).chunks():
        columns[rows] = chunk[:, classes]
    return columns
