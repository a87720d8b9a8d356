"""Pictures for notebooks and papers: each function draws into one matplotlib axes and returns it.

The figures of :mod:`vlmcal.report.figures` are whole pictures with panels underneath, as reports show them.
These draw what belongs into a single axes, one's own (``ax=``) or a new one.
"""

from collections.abc import Mapping
from typing import Literal

from matplotlib.axes import Axes

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.kit.reliability import Bins, reliability_bins
from vlmcal.metrics.smooth_ece import smooth_reliability_curve
from vlmcal.report.figures.histogram import draw_histogram
from vlmcal.report.figures.overlay import draw_points
from vlmcal.report.figures.reliability import draw_reliability
from vlmcal.report.figures.risk import draw_risk_coverage
from vlmcal.report.figures.smooth import draw_smooth, picture_width
from vlmcal.report.figures.style import diagonal, heading, themed, unit_axes
from vlmcal.report.theme import BLUE, GREEN, ORANGE, PURPLE
from vlmcal.types.arrays import Numbers
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Measurable, Scores, from_arrays
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

Strategy = Literal["uniform", "quantile"]
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
    draw_reliability(axes, _bins(_rows(data, labels, scores), bins, strategy))
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
def overlay(
    named: Mapping[str, Predictions | Confidences],
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Reliability of up to four groups of rows in one picture: before and after, base and new classes.

    Args:
        named: Rows by the name that the legend gives them.
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
        draw_points(axes, _bins(_rows(data, None, None), bins, strategy), name, look)
    unit_axes(axes)
    return _finish(axes, title, "confidence", "accuracy", legend="lower right")


def _rows(data: Measurable | Numbers, labels: Numbers | None, scores: Scores | None) -> Confidences:
    if not isinstance(data, Confidences | Predictions):
        if isinstance(data, PredictionSets) or labels is None:
            raise DataError(
                "expected Predictions, Confidences, or an array with labels as the second argument, got "
                f"{type(data).__name__} alone"
            )
        data = from_arrays(data, labels, scores)
    if isinstance(data, Predictions):
        return data.top_label()
    if isinstance(data, PredictionSets):
        raise DataError('scores: "sets" have no confidence to draw')
    return data


def _bins(rows: Confidences, bins: int, strategy: Strategy) -> Bins:
    return reliability_bins(
        rows.confidence, rows.correct, bins=bins, strategy=strategy, resolution=rows.resolution
    )


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
