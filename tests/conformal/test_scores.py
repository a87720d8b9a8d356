"""Scores worked out by hand and by definitions in loops."""

import numpy as np
import pytest

from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import KeyedRows
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.margin import Margin
from vlmcal.conformal.raps import RAPS
from vlmcal.conformal.saps import SAPS
from vlmcal.conformal.topk import TopK
from vlmcal.types.predictions import Predictions, from_probabilities
from vlmcal.types.scores import ClassProbabilities

P = [[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]]
U = [0.25, 0.75]


@pytest.fixture
def rows():
    return from_probabilities(P, [1, 2], ids=["a", "b"])


# rank 2 of the first row: 0.5 comes before; rank 2 of the second row: 0.4 comes before.
HAND = [
    (LAC(), None, [0.7, 0.7]),
    (Margin(), None, [0.2, 0.1]),
    (APS(randomised=False), None, [0.8, 0.7]),
    (APS(), U, [0.5 + 0.25 * 0.3, 0.4 + 0.75 * 0.3]),
    (APS(rule="torchcp"), U, [0.8 - 0.25 * 0.3, 0.7 - 0.75 * 0.3]),
    (RAPS(penalty=0.1, k_reg=1, randomised=False), None, [0.9, 0.8]),
    (RAPS(penalty=0.1, k_reg=2), U, [0.575, 0.625]),
    (SAPS(weight=0.2, randomised=False), None, [0.7, 0.6]),
    (SAPS(weight=0.2), U, [0.5 + 0.2 * 0.25, 0.4 + 0.2 * 0.75]),
    (SAPS(weight=0.2, rule="torchcp"), U, [0.5 + 0.2 * 0.75, 0.4 + 0.2 * 0.25]),
    (TopK(), None, [2, 2]),
    (TopK(randomised=True), U, [1.25, 1.75]),
    (TopK(randomised=True, rule="torchcp"), U, [1.75, 1.25]),
    (TopK(rule="mapie"), None, [1, 1]),
]


@pytest.mark.parametrize(("method", "uniforms", "expected"), HAND)
def test_score_of_the_label_by_hand(rows, method, uniforms, expected):
    assert method.label_scores(rows, uniforms) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (LAC(), [0.5, 0.7, 0.85, 0.95]),
        (Margin(), [-0.2, 0.2, 0.35, 0.45]),
        (APS(randomised=False), [0.5, 0.8, 0.95, 1.0]),
        (RAPS(penalty=0.1, k_reg=1, randomised=False), [0.5, 0.9, 1.15, 1.3]),
        (SAPS(weight=0.2, randomised=False), [0.5, 0.7, 0.9, 1.1]),
        (TopK(), [1, 2, 3, 4]),
    ],
)
def test_scores_of_all_classes_by_hand(rows, method, expected):
    assert method.scores(rows)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", [APS(), RAPS(), SAPS(), TopK(randomised=True), LAC(), Margin()])
def test_calibration_and_prediction_use_one_score(rows, method):
    labels = rows.labels
    assert (method.label_scores(rows) == method.scores(rows)[[0, 1], labels]).all()


def test_torchcp_numbers_belong_to_sorted_places(rows):
    u = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    second = APS(rule="torchcp").scores(rows, u)[1]
    # Classes 3, 2, 1, 0 of the second row stand at places 1 to 4.
    expected = [1.0 - 0.8 * 0.1, 0.9 - 0.7 * 0.2, 0.7 - 0.6 * 0.3, 0.4 - 0.5 * 0.4]
    assert second == pytest.approx(expected, abs=1e-12)


def test_torchcp_saps_scores_the_likeliest_class_two_ways():
    rows = from_probabilities([[0.6, 0.4]], [0])
    method = SAPS(rule="torchcp", randomised=False)
    assert method.label_scores(rows).tolist() == [0.0]
    assert method.scores(rows)[0] == pytest.approx([0.6, 0.8])


def test_tied_classes_share_a_score():
    rows = from_probabilities([[0.4, 0.3, 0.3], [1 / 3] * 3], [0, 0])
    assert APS(randomised=False).scores(rows)[0] == pytest.approx([0.4, 0.7, 0.7])
    assert TopK().scores(rows).tolist() == [[1, 2, 2], [1, 1, 1]]
    assert Margin().scores(rows)[1] == pytest.approx([0, 0, 0])
    assert TopK(rule="torchcp").scores(rows).tolist() == [[1, 2, 3], [1, 2, 3]]


def test_aps_against_a_loop_over_classes():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 7)) * 3
    rows = Predictions(logits=logits, labels=np.zeros(50, dtype=int))
    u = generator.random(50)
    p = rows.probabilities()
    expected = [
        [sum(q for q in p[i] if q > p[i, k]) + u[i] * p[i, k] for k in range(7)] for i in range(50)
    ]
    assert APS().scores(rows, u) == pytest.approx(np.array(expected), abs=1e-12)


def test_saturated_rows_never_exceed_one():
    logits = np.zeros((200, 30))
    logits[:, 0] = np.linspace(0, 800, 200)
    rows = Predictions(logits=logits, labels=np.zeros(200, dtype=int))
    scores = APS(randomised=False).scores(rows)
    assert scores.max() <= 1.0
    assert np.isfinite(scores).all()


def test_blocks_make_no_difference(monkeypatch, rows):
    whole = APS().scores(rows)
    monkeypatch.setattr("vlmcal.types.scores.CHUNK", 4)
    assert len(list(ClassProbabilities.of(rows).chunks())) == 2
    assert (APS().scores(rows) == whole).all()


def test_float32_logits_are_scored_in_double_precision():
    logits = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    single = Predictions(logits=logits, labels=[0] * 5)
    double = Predictions(logits=logits.astype(np.float64), labels=[0] * 5)
    assert (LAC().scores(single) == LAC().scores(double)).all()


@pytest.mark.parametrize("scale", [0.1, 3.0, 80.0])
@pytest.mark.parametrize("k", [2, 33, 90])
def test_single_precision_gives_the_thresholds_and_sets_of_double(k, scale):
    rng = np.random.default_rng(k)
    single = np.float32(rng.normal(size=(200, k)) * scale)
    single[::3] = single[0]  # ties
    double, labels = single.astype(np.float64), (single + rng.gumbel(size=(200, k))).argmax(axis=1)
    for alpha in (0.02, 0.1, 0.5):
        one, two = (LAC().fit(z, labels, alpha) for z in (single, double))
        assert one.threshold_ == two.threshold_
        assert one.messages_ == two.messages_
    rows, same = (KeyedRows(Predictions(logits=z, labels=labels)) for z in (single, double))
    own = LAC().calibration_scores(rows)
    np.testing.assert_array_equal(own, LAC().calibration_scores(same))
    for threshold in (*own[:20].tolist(), 0.0, 1.0, np.inf, np.resize(own, k), np.full(k, np.inf)):
        sets = LAC().sets_at(rows, threshold)
        np.testing.assert_array_equal(sets, LAC().sets_at(same, threshold))
        np.testing.assert_array_equal(sets, LAC().class_scores(same) <= threshold)
