"""Pictures in one's own axes."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vlmcal
from vlmcal import plots
from vlmcal.errors import DataError, SpecError
from vlmcal.types.measurable import from_arrays

CONFIDENCE = np.repeat([0.95, 0.15], 10)
CORRECT = np.concatenate([np.arange(10) < 5, np.arange(10) < 9])
ROWS = vlmcal.Confidences(confidence=CONFIDENCE, correct=CORRECT)
EVERY = [
    plots.reliability,
    plots.smooth_reliability,
    plots.confidence_histogram,
    plots.risk_coverage,
]


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("agg")
    yield
    mpl.pyplot.close("all")


@pytest.mark.parametrize("draw", EVERY, ids=lambda draw: draw.__name__)
def test_a_picture_goes_into_the_given_axes_or_into_new_ones(draw):
    ax = Figure().subplots()
    assert draw(ROWS, ax=ax, title="mine") is ax
    assert ax.get_title(loc="left") == "mine"
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    new = draw(ROWS)
    assert isinstance(new, Axes)
    assert new is not ax


def test_arrays_and_types_give_the_same_picture():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 3))
    labels = generator.integers(0, 3, 50)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    typed = plots.reliability(vlmcal.Predictions(logits=logits, labels=labels))
    for given in (
        plots.reliability(logits, labels, scores="logits"),
        plots.reliability(np.log(probabilities), labels, scores="log_probs"),
        plots.reliability(probabilities, labels, scores="probs"),
        plots.reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels),
    ):
        for left, right in zip(typed.lines, given.lines, strict=True):
            np.testing.assert_allclose(left.get_xydata(), right.get_xydata(), atol=1e-9)


def test_settings_of_the_user_stay():
    mpl.rcParams["font.size"] = 31.0
    plots.reliability(ROWS)
    assert mpl.rcParams["font.size"] == 31.0
    mpl.rcdefaults()


def test_an_overlay_tells_its_groups_apart():
    ax = plots.overlay({"before": ROWS, "after": ROWS.subset(CORRECT)})
    assert len({line.get_color() for line in ax.lines}) == 3
    with pytest.raises(SpecError, match="1 to 4 groups of rows, got 5"):
        plots.overlay({str(i): ROWS for i in range(5)})


def test_every_picture_of_rows_takes_arrays():
    logits = np.random.default_rng(0).normal(size=(40, 3))
    labels = np.array(["a", "b", "c"])[(logits + np.array([0, 0.5, 1])).argmax(axis=1)]
    rows = from_arrays(logits, labels, "logits")
    for typed, given in (
        (plots.overlay({"m": rows}), plots.overlay({"m": logits}, labels, scores="logits")),
        (plots.margins(rows), plots.margins(logits.tolist(), labels, scores="logits")),
        (
            plots.decision_curve(rows, positive="b"),
            plots.decision_curve(logits, labels, scores="logits", positive="b"),
        ),
    ):
        for left, right in zip(typed.lines, given.lines, strict=True):
            np.testing.assert_array_equal(left.get_xydata(), right.get_xydata())
    with pytest.raises(DataError, match=r"scores \(N, K\)"):
        plots.margins(CONFIDENCE, CORRECT)


def test_scores_without_labels_are_refused():
    with pytest.raises(
        DataError, match="an array with labels as the second argument, got list alone"
    ):
        plots.reliability([[0.1, 0.9]])
