"""Thresholds per class, stratum and cluster."""

import numpy as np
import pytest

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import CONFORMAL, ConformalWarning
from vlmcal.conformal.class_conditional import ClassConditional
from vlmcal.conformal.clustered import Clustered, plan
from vlmcal.conformal.group_conditional import GroupConditional
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.errors import DataError, SpecError
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import row_uniforms


def test_class_thresholds_are_those_of_each_class_alone():
    calibration, _ = split_rows(simulate(300, k=3), 250)
    together = ClassConditional().fit(calibration, 0.1).thresholds_
    alone = [
        LAC().fit(calibration.subset(calibration.labels == k), 0.1).threshold_ for k in range(3)
    ]
    assert together.tolist() == alone


def test_absent_class_is_in_every_set():
    calibration, test = split_rows(simulate(300, k=3), 250)
    without = calibration.subset(calibration.labels != 0)
    with pytest.warns(ConformalWarning, match=r"1 of 3 classes .* \(0 0\)"):
        method = ClassConditional().fit(without, 0.1)
    sets = method.predict(test).sets
    assert sets[:, 0].all()
    assert not sets[:, 1].all()


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_one_stratum_is_the_plain_method(score):
    calibration, test = split_rows(simulate(300, k=5), 200)
    plain = CONFORMAL.get(score)(seed=4) if score == "aps" else LAC()
    parameters = {"seed": 4} if score == "aps" else {}
    grouped = GroupConditional(score=score, score_parameters=parameters)
    grouped.fit(calibration, 0.1, strata=["all"] * 200)
    expected = plain.fit(calibration, 0.1).predict(test).sets
    assert (grouped.predict(test, strata=["all"] * 100).sets == expected).all()


def test_strata_are_fitted_apart():
    calibration, test = split_rows(simulate(400, k=4), 300)
    method = GroupConditional().fit(calibration, 0.1)
    assert method.strata_.tolist() == ["scanner 0", "scanner 1"]
    for name, threshold in zip(method.strata_, method.thresholds_, strict=True):
        alone = LAC().fit(calibration.subset(calibration.groups == name), 0.1)
        assert threshold == alone.threshold_
        part = test.subset(test.groups == name)
        assert (method.predict(part).sets == alone.predict(part).sets).all()
    assert method.thresholds_[0] != method.thresholds_[1]


def test_new_stratum_gets_full_sets_and_a_message():
    calibration, test = split_rows(simulate(100), 80)
    method = GroupConditional().fit(calibration, 0.2)
    with pytest.warns(ConformalWarning, match="20 rows are of 1 strata .* 'mobile unit'"):
        sets = method.predict(test, strata=["mobile unit"] * 20)
    assert sets.sets.all()


def test_strata_by_predicted_class():
    calibration, test = split_rows(simulate(500, k=3), 400)
    method = GroupConditional(by="predicted").fit(calibration, 0.1)
    assert method.strata_.tolist() == ["0", "1", "2"]
    given = GroupConditional().fit(calibration, 0.1, strata=calibration.predicted())
    assert (method.predict(test).sets == given.predict(test, strata=test.predicted()).sets).all()


def test_missing_strata():
    rows = Predictions(logits=np.eye(3), labels=[0, 1, 2])
    with pytest.raises(DataError, match="no groups"):
        GroupConditional().fit(rows, 0.1)


def test_clusters_join_classes_with_alike_scores():
    # Classes 0-3 are easy (high p of the label), classes 4-7 are hard.
    generator = np.random.default_rng(0)
    labels = generator.integers(8, size=4000)
    p = np.where(labels < 4, generator.beta(20, 2, 4000), generator.beta(4, 4, 4000))
    probabilities = np.repeat(((1 - p) / 7)[:, None], 8, axis=1)
    probabilities[np.arange(4000), labels] = p
    rows = Predictions(
        logits=np.log(probabilities), labels=labels, ids=[f"r{i}" for i in range(4000)]
    )
    calibration, test = split_rows(rows, 3000)
    method = Clustered(clusters=2, fraction=0.3).fit(calibration, 0.1)
    assert len(set(method.clusters_[:4])) == len(set(method.clusters_[4:])) == 1
    assert method.clusters_[0] != method.clusters_[7]
    assert len(set(method.thresholds_)) == 2
    covered = method.predict(test).covered()
    for part in (test.labels < 4, test.labels >= 4):
        assert covered[part].mean() == pytest.approx(0.9, abs=0.05)
    plain = LAC().fit(calibration, 0.1).predict(test).covered()
    assert plain[test.labels >= 4].mean() < 0.85


def test_rows_that_find_the_clusters_set_no_threshold():
    calibration = simulate(1500, k=4, seed=2)
    method = Clustered(clusters=2, fraction=0.3, seed=5).fit(calibration, 0.1)
    finding = row_uniforms(calibration.ids, 5, "conformal", "clusters") < 0.3
    assert finding.mean() == pytest.approx(0.3, abs=0.05)
    scores, member = LAC().label_scores(calibration), method.clusters_[calibration.labels]
    for cluster in (0, 1):
        expected = conformal_quantile(scores[~finding & (member == cluster)], 0.1)
        assert set(method.thresholds_[method.clusters_ == cluster]) == {expected}


def test_with_rows_for_as_many_clusters_as_classes_each_is_its_own():
    calibration, test = split_rows(simulate(2100, k=3, seed=3), 2000)
    method = Clustered().fit(calibration, 0.1)
    assert method.clusters_.tolist() == [0, 1, 2]
    assert [m for m in method.messages_ if "calibration rows belong to" not in m] == []
    expected = ClassConditional().fit(calibration, 0.1)
    assert method.thresholds_.tolist() == expected.thresholds_.tolist()
    assert (method.predict(test).sets == expected.predict(test).sets).all()


def test_too_few_rows_for_two_clusters_give_one_threshold():
    calibration, _ = split_rows(simulate(300, k=8, seed=4), 200)
    with pytest.warns(ConformalWarning, match="too few to tell clusters apart"):
        method = Clustered().fit(calibration, 0.1)
    assert set(method.thresholds_) == {LAC().fit(calibration, 0.1).threshold_}


def test_rare_classes_take_the_common_threshold():
    rows = simulate(2000, k=4, seed=1)
    keep = (rows.labels != 0) | (np.cumsum(rows.labels == 0) <= 5)
    calibration = rows.subset(keep)
    method = Clustered(clusters=2, fraction=0.3).fit(calibration, 0.1)
    assert method.clusters_[0] == -1
    assert (method.clusters_[1:] >= 0).all()


@pytest.mark.parametrize(
    ("per_class", "k", "expected"),
    # floor(m K / (75 + K)) rows per class, half as many clusters.
    [
        (50, 100, (14, 28 / 50)),
        (10, 100, (2, 5 / 10)),
        (150, 25, (18, 37 / 150)),
        (50, 2, (0, 1 / 50)),
    ],
)
def test_heuristic_of_the_paper(per_class, k, expected):
    assert plan(np.full(k, per_class), 0.1) == pytest.approx(expected)


def test_options_that_cannot_be():
    with pytest.raises(SpecError, match="clusters"):
        Clustered(clusters=1)
    with pytest.raises(SpecError, match="fraction"):
        Clustered(fraction=1.0)
    with pytest.raises(SpecError, match="no score per class"):
        ClassConditional(score="clustered")
    with pytest.raises(SpecError, match='did you mean "lac"'):
        ClassConditional(score="lacc")
    with pytest.raises(SpecError, match="cannot be built upon"):
        GroupConditional(score="aps", score_parameters={"rule": "torchcp"})
    with pytest.raises(SpecError, match="no option"):
        GroupConditional(score="raps", score_parameters={"penalti": 1.0})


def test_numbers_reach_the_score_below():
    calibration, _ = split_rows(simulate(300, k=3), 250)
    u = np.random.default_rng(0).random(250)
    method = GroupConditional(score="aps").fit(calibration, 0.1, uniforms=u, strata=["a"] * 250)
    assert method.thresholds_[0] == APS().fit(calibration, 0.1, uniforms=u).threshold_
    with pytest.raises(SpecError, match="not randomised"):
        GroupConditional().fit(calibration, 0.1, uniforms=u)
