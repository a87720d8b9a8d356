"""Options of the split conformal methods, and the rules of other libraries."""

import numpy as np
import pytest

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.aps import APS
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.margin import Margin
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.conformal.raps import RAPS
from vlmcal.conformal.saps import SAPS
from vlmcal.conformal.topk import TopK
from vlmcal.errors import DataError, SpecError
from vlmcal.types.predictions import Predictions, from_probabilities


def with_threshold(method, threshold):
    """The method as if calibration had given this threshold (all rows alike, label alone)."""
    rows = from_probabilities(
        [[1.0, 0.0, 0.0, 0.0]] * 20, [0] * 20, ids=[f"c{i}" for i in range(20)]
    )
    method.fit(rows, 0.1)
    method.threshold_ = threshold
    return method


@pytest.mark.parametrize(
    ("include", "u", "expected"),
    [
        (True, None, [1, 1, 0, 0]),  # 0.5 + 0.3 crosses 0.7
        (False, None, [1, 0, 0, 0]),
        ("randomized", 0.2, [1, 0, 0, 0]),  # (0.8 - 0.7) / 0.3 = 1/3 > 0.2
        ("randomized", 0.4, [1, 1, 0, 0]),
    ],
)
def test_mapie_fills_the_set_up_to_the_threshold(include, u, expected):
    row = from_probabilities([[0.5, 0.3, 0.15, 0.05]], [0], ids=["t"])
    method = with_threshold(APS(rule="mapie", include_last_label=include), 0.7)
    assert method.predict(row, uniforms=None if u is None else [u]).sets[0].tolist() == expected


def test_mapie_without_the_last_label_keeps_at_least_one():
    row = from_probabilities([[0.9, 0.1, 0.0, 0.0]], [0], ids=["t"])
    method = with_threshold(APS(rule="mapie", include_last_label=False), 0.5)
    assert method.predict(row).sets.sum() == 1


def test_empty_sets_only_where_allowed():
    row = from_probabilities([[0.4, 0.3, 0.2, 0.1]], [0], ids=["t"])
    assert with_threshold(LAC(), 0.5).predict(row).sizes().tolist() == [0]
    assert with_threshold(LAC(allow_empty=False), 0.5).predict(row).sets[0].tolist() == [1, 0, 0, 0]


def test_raps_without_penalty_is_aps_and_large_penalty_is_topk():
    calibration, test = split_rows(simulate(300, k=6), 200)
    aps = APS(seed=3).fit(calibration, 0.2)
    raps = RAPS(penalty=0.0, seed=3).fit(calibration, 0.2, uniforms=None)
    u = np.random.default_rng(0).random(200)
    v = np.random.default_rng(1).random(100)
    aps.fit(calibration, 0.2, uniforms=u)
    raps.fit(calibration, 0.2, uniforms=u)
    assert (aps.predict(test, uniforms=v).sets == raps.predict(test, uniforms=v).sets).all()
    sizes = (
        RAPS(penalty=100.0, k_reg=0, randomised=False).fit(calibration, 0.2).predict(test).sizes()
    )
    k = TopK().fit(calibration, 0.2).predict(test).sizes()
    assert set(k) == {k[0]}
    assert set(sizes) <= {k[0] - 1, k[0]}


def test_seed_and_given_numbers():
    calibration, test = split_rows(simulate(300, k=6), 200)
    one, two = APS(seed=1), APS(seed=2)
    assert one.fit(calibration, 0.1).threshold_ == APS(seed=1).fit(calibration, 0.1).threshold_
    assert one.threshold_ != two.fit(calibration, 0.1).threshold_
    zero = APS().fit(calibration, 0.1, uniforms=np.ones(200))
    assert zero.threshold_ == APS(randomised=False).fit(calibration, 0.1).threshold_
    first = APS(rule="torchcp", seed=5).fit(calibration, 0.1).predict(test).sets
    assert (first == APS(rule="torchcp", seed=5).fit(calibration, 0.1).predict(test).sets).all()


def test_randomised_sets_hold_the_likeliest_classes():
    calibration, test = split_rows(simulate(400, k=8), 200)
    for method in (APS(), RAPS(), SAPS(), TopK(randomised=True)):
        sets = method.fit(calibration, 0.1).predict(test).sets
        order = np.argsort(-test.logits, axis=1)
        ranked = np.take_along_axis(sets, order, axis=1)
        assert (ranked[:, 1:] <= ranked[:, :-1]).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LAC(rule="torchcp"), "no rule"),
        (lambda: SAPS(rule="mapie"), "no rule"),
        (lambda: APS(rule="txtbook"), 'did you mean "textbook"'),
        (lambda: APS(include_last_label=False), 'rule="mapie"'),
        (lambda: APS(rule="mapie", randomised=False), "always"),
        (lambda: RAPS(penalty=-1), "penalty"),
        (lambda: SAPS(weight=-0.1), "weight"),
    ],
)
def test_impossible_options(make, match):
    with pytest.raises(SpecError, match=match):
        make()


def test_wrong_numbers_are_refused():
    calibration, test = split_rows(simulate(60), 40)
    with pytest.raises(SpecError, match="not randomised"):
        LAC().fit(calibration, 0.1, uniforms=np.zeros(40))
    with pytest.raises(SpecError, match="not randomised"):
        APS(randomised=False).fit(calibration, 0.1, uniforms=np.zeros(40))
    with pytest.raises(SpecError, match="group_conditional"):
        Margin().fit(calibration, 0.1, strata=["a"] * 40)
    with pytest.raises(DataError, match="shape"):
        APS().fit(calibration, 0.1, uniforms=np.zeros(7))
    with pytest.raises(DataError, match="0 to 1"):
        APS().fit(calibration, 0.1, uniforms=np.full(40, 1.5))
    with pytest.raises(DataError, match="one number per row"):
        APS().fit(calibration, 0.1, uniforms=np.zeros((40, 4)))
    with pytest.raises(DataError, match="per class"):
        APS(rule="torchcp").fit(calibration, 0.1).predict(test, uniforms=np.zeros(20))


def saturated(p):
    with np.errstate(divide="ignore"):
        return Predictions(logits=np.log(p), labels=[0] * len(p), kind="log_probs", ids=["t"])


@pytest.mark.parametrize(
    ("method", "threshold", "row", "expected"),
    [
        # p - p_last >= -1e-8: the second class ties with the third and fourth
        (TopK(rule="mapie"), 1, [1.0, 1e-12, 0.0, 1e-9], [1, 1, 1, 1]),
        (TopK(rule="mapie"), 1, [0.4, 0.3, 0.3, 0.0], [1, 1, 1, 0]),
        (TopK(rule="mapie"), 0, [0.4, 0.3, 0.3, 0.0], [1, 0, 0, 0]),
        (LAC(rule="mapie"), 0.6, [0.4 - 5e-9, 0.6 + 5e-9, 0.0, 0.0], [1, 1, 0, 0]),
        # the mass of all classes is 1, so the first of them is the last class; it has no probability of
        # its own, and the smallest one above 1e-8 stands in for it
        (APS(rule="mapie"), 1.0, [0.0, 1.0, 0.0, 0.0], [0, 1, 0, 0]),
        (APS(rule="mapie"), 0.5 + 5e-9, [0.5, 0.25, 0.25, 0.0], [1, 0, 0, 0]),
    ],
)
def test_mapie_compares_with_its_tolerance(method, threshold, row, expected):
    assert with_threshold(method, threshold).predict(saturated([row])).sets[0].tolist() == expected


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (19, 0.05), (39, 0.025), (49, 0.02)])
def test_the_level_of_mapies_quantile_never_exceeds_one(n, alpha):
    scores = np.arange(float(n))
    assert conformal_quantile(scores, alpha, "mapie") == n - 1
