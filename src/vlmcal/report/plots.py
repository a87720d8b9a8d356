"""Pictures for notebooks and papers: each function draws into one matplotlib axes and returns it.

The figures of :mod:`vlmcal.report.figures` are whole pictures with panels underneath, as reports show them.
These draw what belongs into a single axes, one's own (``ax=``) or a new one.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.metrics.clinical.decisions import clinical_decision_curve
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.metrics.prompt_analysis import margins as label_margins
from vlmcal.metrics.smooth_ece import smooth_reliability_curve
from vlmcal.report.figures.decision_curve import draw_decision_curve
from vlmcal.report.figures.histogram import draw_histogram
from vlmcal.report.figures.margins import draw_margins
from vlmcal.report.figures.overlay import draw_points
from vlmcal.report.figures.reliability import draw_reliability, top_bins
from vlmcal.report.figures.risk import draw_risk_coverage
from vlmcal.report.figures.set_sizes import draw_set_sizes
from vlmcal.report.figures.smooth import draw_smooth, picture_width
from vlmcal.report.figures.style import diagonal, heading, themed, unit_axes
from vlmcal.report.theme import BLUE, GREEN, ORANGE, PURPLE
from vlmcal.types.arrays import Numbers
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Measurable, Scores, from_arrays
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

Strategy = Literal["uniform", "quantile"]
_NO_SETS = 'scores: "sets" have no confidence to draw'
_LOWEST = -700.0  # of log-probabilities that were rounded to minus infinity
_LOOKS = (
    {"color": BLUE.light, "marker": "o", "linestyle": "-"},
    {"color": ORANGE.light, "marker": "s", "linestyle": "--"},
    {"color": GREEN.light, "marker": "^", "linestyle": "-."},
    {"color": PURPLE.light, "marker": "D", "linestyle": ":"},
)


@themed
def reliability(
    data: Measurable | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    bins: int = 15,
    strategy: Strategy = "uniform",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Accuracy of each confidence bin against its mean confidence, with intervals and consistency band.

    Args:
        data: Predictions or Confidences; or scores (N, K), or confidences (N,) of the answers.
        labels: With arrays: (N,) true classes for scores, right or wrong for confidences.
        scores: What an (N, K) array holds: "probs", "logits" or "log_probs".
        bins: Number of bins.
        strategy: "uniform" (equal width) or "quantile" (equal mass).
        ax: Axes to draw into; None for a new figure.
        title: Line above the picture.

    Raises:
        DataError: The rows cannot be read.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> reliability([0.9, 0.6], [True, False], bins=10, ax=ax) is ax
        True
    """
    axes = ax or _new_axes()
    draw_reliability(axes, top_bins(_rows(data, labels, scores), bins=bins, strategy=strategy))
    return _finish(axes, title, "confidence", "accuracy", legend="lower right")


@themed
def smooth_reliability(
    data: Measurable | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Kernel-smoothed accuracy over the confidence, without bins; arguments as in :func:`reliability`."""
    rows = _rows(data, labels, scores)
    axes = ax or _new_axes()
    width = picture_width(rows.confidence)
    draw_smooth(
        axes, smooth_reliability_curve(rows.confidence, rows.correct, width=width), len(rows)
    )
    return _finish(axes, title, "confidence", "accuracy", legend="lower right")


@themed
def confidence_histogram(
    data: Measurable | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    bins: int = 20,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Confidence of right answers (upwards) and wrong ones (downwards); arguments as in :func:`reliability`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = confidence_histogram([0.9, 0.6], [True, False], ax=Figure().subplots())
        >>> ax.texts[0].get_text()
        'right: 1 row, mean confidence 0.90'
    """
    rows = _rows(data, labels, scores)
    axes = ax or _new_axes()
    draw_histogram(axes, rows.confidence, rows.correct, bins=bins)
    heading(axes, title)
    return axes


@themed
def risk_coverage(
    data: Measurable | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Error rate of the most confident share of rows; arguments as in :func:`reliability`."""
    rows = _rows(data, labels, scores)
    axes = ax or _new_axes()
    draw_risk_coverage(axes, rows.confidence, rows.correct)
    return _finish(axes, title, axes.get_xlabel(), axes.get_ylabel(), legend="best")


@themed
def decision_curve(
    data: Predictions | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    positive: str | int | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Net benefit of acting on a risk above each threshold, beside treating all and none.

    Args:
        data: Predictions; scores (N, K) of the classes; or the risk (N,) of the condition.
        labels: With arrays: (N,) true classes for scores, whether the condition was there for risks.
        scores: What an (N, K) array holds: "probs", "logits" or "log_probs".
        positive: Name or number of the class that is the condition; of two classes the second by default.
        ax: Axes to draw into; None for a new figure.
        title: Line above the picture.

    Raises:
        DataError: Risks without labels, or one confidence per row.
        SpecError: No such class, or more than two and none is named.

    Example:
        >>> from matplotlib.figure import Figure
        >>> decision_curve([0.9, 0.2], [1, 0], ax=Figure().subplots()).get_ylabel()
        'net benefit'
    """
    if isinstance(data, Confidences | PredictionSets):
        raise DataError(
            f"a decision curve needs the risk of the condition, got {type(data).__name__}"
        )
    rows = _given(data, labels, scores)
    if isinstance(rows, Predictions):
        risks = Risks.of_class(rows, _condition(rows, positive))
    elif isinstance(rows, Confidences):
        risks = Risks.of(rows.confidence, rows.correct)
    else:
        raise DataError(_NO_SETS)
    axes = ax or _new_axes()
    draw_decision_curve(axes, clinical_decision_curve(risks))
    return _finish(axes, title, axes.get_xlabel(), axes.get_ylabel(), legend="best")


@themed
def sets(data: PredictionSets, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Share of each size of label sets and, where labels are known, the coverage at that size.

    Raises:
        DataError: No rows.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = PredictionSets(sets=[[True, False], [True, True]], labels=[0, 1], alpha=0.1)
        >>> sets(rows, ax=Figure().subplots()).get_xlabel()
        'labels in the set'
    """
    if not len(data):
        raise DataError("there are no label sets to draw")
    axes = ax or _new_axes()
    draw_set_sizes(axes, data)
    heading(axes, title)
    if data.labelled:
        axes.legend(loc="best")
    return axes


@themed
def margins(
    data: Predictions | Numbers,
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Logit of the label minus the largest other logit; differences of log-probabilities are the same.

    Arguments as in :func:`reliability`.

    Raises:
        DataError: No labels, or no scores of classes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = Predictions(logits=[[3.0, 1.0], [0.0, 2.0]], labels=[0, 0])
        >>> ax = margins(rows, ax=Figure().subplots())
        >>> ax.get_legend().get_texts()[0].get_text()
        'mean 0.00'
    """
    rows = _given(data, labels, scores)
    if not isinstance(rows, Predictions):
        raise DataError("a picture of margins needs scores (N, K) of the classes")
    rows.require_labels("a picture of margins")
    axes = ax or _new_axes()
    draw_margins(axes, label_margins(np.maximum(rows.log_probabilities(), _LOWEST), rows.labels))
    return _finish(axes, title, axes.get_xlabel(), axes.get_ylabel(), legend="best")


@themed
def overlay(
    named: Mapping[str, Predictions | Confidences | Numbers],
    labels: Numbers | None = None,
    *,
    scores: Scores | None = None,
    bins: int = 15,
    strategy: Strategy = "uniform",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Reliability of up to four groups of rows in one picture: before and after, base and new classes.

    Args:
        named: Rows, or arrays, by the name that the legend gives them.
        labels: With arrays, of all of them: as in :func:`reliability`.
        scores: What (N, K) arrays hold: "probs", "logits" or "log_probs".
        bins: Number of bins.
        strategy: "uniform" (equal width) or "quantile" (equal mass).
        ax: Axes to draw into; None for a new figure.
        title: Line above the picture.

    Raises:
        SpecError: No group, or more than can be told apart.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = Confidences(confidence=[0.9, 0.6], correct=[True, False])
        >>> ax = overlay({"before": rows, "after": rows}, ax=Figure().subplots())
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['before (2 rows)', 'after (2 rows)']
    """
    if not 1 <= len(named) <= len(_LOOKS):
        raise SpecError(f"overlay: expected 1 to {len(_LOOKS)} groups of rows, got {len(named)}")
    axes = ax or _new_axes()
    diagonal(axes)
    for (name, data), look in zip(named.items(), _LOOKS, strict=False):
        rows = _rows(data, labels, scores)
        draw_points(axes, top_bins(rows, bins=bins, strategy=strategy), name, look)
    unit_axes(axes)
    return _finish(axes, title, "confidence", "accuracy", legend="lower right")


def _given(data: Measurable | Numbers, labels: Numbers | None, scores: Scores | None) -> Measurable:
    if isinstance(data, Confidences | Predictions):
        return data
    if isinstance(data, PredictionSets) or labels is None:
        raise DataError(
            "expected Predictions, Confidences, or an array with labels as the second argument, got "
            f"{type(data).__name__} alone"
        )
    return from_arrays(data, labels, scores)


def _rows(data: Measurable | Numbers, labels: Numbers | None, scores: Scores | None) -> Confidences:
    rows = _given(data, labels, scores)
    if isinstance(rows, PredictionSets):
        raise DataError(_NO_SETS)
    return rows.top_label() if isinstance(rows, Predictions) else rows


def _condition(data: Predictions, positive: str | int | None) -> int:
    if positive is None:
        if data.n_classes == 2:
            return positive_class(data)
        raise SpecError(
            f"positive: the rows have {data.n_classes} classes; name the one that is the condition, one of "
            f"{', '.join(data.class_names)}"
        )
    names = list(data.class_names)
    if str(positive) in names:
        return names.index(str(positive))
    if isinstance(positive, int) and 0 <= positive < data.n_classes:
        return positive
    raise SpecError(f'positive: no class "{positive}"; {nearest(str(positive), names)}')


def _new_axes() -> Axes:
    from matplotlib import pyplot

    axes: Axes = pyplot.figure(layout="constrained").add_subplot()
    return axes


def _finish(axes: Axes, title: str, x: str, y: str, *, legend: str) -> Axes:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    heading(axes, title)
    axes.legend(loc=legend)
    return axes
