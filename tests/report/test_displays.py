"""Reliability diagrams through the interface of scikit-learn's displays."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from vlmcal import ReliabilityDisplay
from vlmcal.errors import DataError, SpecError
from vlmcal.report.plots import reliability

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 2))
WORDS = np.array(["cat", "dog", "owl"])[
    (X + DRAW.normal(size=X.shape)).sum(axis=1).round().clip(0, 2).astype(int)
]


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("agg")
    yield
    mpl.pyplot.close("all")


def same(left, right):
    for one, two in zip(left.lines, right.lines, strict=True):
        np.testing.assert_allclose(one.get_xydata(), two.get_xydata())


def test_from_an_estimator_and_from_its_predictions():
    model = LogisticRegression().fit(X, WORDS)
    ax = Figure().subplots()
    display = ReliabilityDisplay.from_estimator(model, X, WORDS, bins=10, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_title(loc="left") == "LogisticRegression"
    assert repr(display) == "ReliabilityDisplay of LogisticRegression: 300 rows, 10 bins"
    probabilities = model.predict_proba(X)
    other = ReliabilityDisplay.from_predictions(WORDS, probabilities, bins=10)
    assert other.ax_ is not ax
    same(ax, other.ax_)
    again = display.plot(name="mine").ax_
    assert again is not ax
    assert again.get_title(loc="left") == "mine"


def test_classifiers_without_probabilities_give_logits():
    two = np.where(WORDS == "cat", 5, 9)
    model = LinearSVC().fit(X, two)
    margins = model.decision_function(X)
    logits = np.column_stack([np.zeros(300), margins])
    drawn = ReliabilityDisplay.from_estimator(model, X, two).ax_
    same(drawn, reliability(logits, two == 9, scores="logits"))
    with pytest.raises(DataError, match=r"7 is none of the classes of the estimator, \[5, 9\]"):
        ReliabilityDisplay.from_estimator(model, X[:1], [7])


@pytest.mark.parametrize(
    ("labels", "positive"), [((0, 1), None), (("ill", "well"), None), (("ill", "well"), "well")]
)
def test_one_column_is_the_positive_class(labels, positive):
    chance = DRAW.random(300)
    right = DRAW.random(300) < chance
    truth = np.where(right, labels[1], labels[0])
    drawn = ReliabilityDisplay.from_predictions(truth, chance, pos_label=positive).ax_
    same(drawn, reliability(chance, right))


@pytest.mark.parametrize(
    ("truth", "given", "options", "words"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], {}, "3 labels"),
        (["a", "a"], [0.1, 0.2], {}, "all labels are equal"),
        (["a", "b"], [0.1, 0.2], {"pos_label": "c"}, "'c' is none of the labels"),
        ([0, 1], [[0.1, 0.9], [0.5, 0.5]], {"scores": "sets"}, '"log_probs"'),
    ],
)
def test_what_cannot_be_drawn_is_said(truth, given, options, words):
    with pytest.raises((DataError, SpecError), match=words):
        ReliabilityDisplay.from_predictions(truth, given, **options)
