"""LATA against a dense computation with loops, and its edge cases."""

from dataclasses import replace

import numpy as np
import pytest

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import ConformalWarning
from vlmcal.conformal.graph import mutual_neighbours, smooth, unit_rows
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.lata import LATA
from vlmcal.errors import DataError, SpecError

FEATURE = "image_features"


def dense_graph(v, k):
    n = len(v)
    distance = np.array([[np.linalg.norm(v[i] - v[j]) for j in range(n)] for i in range(n)])
    near = [
        sorted((j for j in range(n) if j != i), key=lambda j: distance[i, j])[:k] for i in range(n)
    ]
    sigma = np.median([distance[i, j] for i in range(n) for j in near[i]])
    weights = np.zeros((n, n))
    for i in range(n):
        for j in near[i]:
            if i in near[j]:
                weights[i, j] = np.exp(-(distance[i, j] ** 2) / sigma**2)
    return weights


def dense_smooth(q, weights, gamma, steps):
    z = q.copy()
    for _ in range(steps):
        new = q * np.exp(gamma * weights @ z)
        z = new / new.sum(axis=1, keepdims=True)
    return z


def test_graph_against_loops():
    v = unit_rows(np.random.default_rng(0).normal(size=(40, 5)))
    got = mutual_neighbours(v, 6).toarray()
    assert got == pytest.approx(dense_graph(v, 6), abs=1e-9)
    assert (got == got.T).all()
    assert 0 < (got > 0).sum() < 40 * 6


def test_copies_of_one_image_are_fully_alike():
    v = unit_rows(np.ones((4, 3)))
    assert mutual_neighbours(v, 3).toarray() == pytest.approx(1 - np.eye(4))
    assert mutual_neighbours(v[:1], 3).toarray().tolist() == [[0.0]]


def test_whole_method_against_loops():
    calibration, test = split_rows(simulate(60, k=3, seed=9), 40)
    method = LATA(window=None, neighbours=5, gamma=0.5, iterations=4).fit(calibration, 0.2)
    q = np.concatenate([calibration.probabilities(), test.probabilities()])
    v = unit_rows(np.concatenate([calibration.extras[FEATURE], test.extras[FEATURE]]))
    z = dense_smooth(q, dense_graph(v, 5), 0.5, 4)
    scores = np.sort(1 - z[np.arange(40), calibration.labels])
    expected = 1 - z[40:] <= scores[32]  # the 33rd of 40, ceil(41 * 0.8)
    assert (method.predict(test).sets == expected).all()


def test_without_smoothing_it_is_the_base_method():
    calibration, test = split_rows(simulate(300, seed=10), 200)
    for kind in ({"gamma": 0.0}, {"iterations": 0}):
        sets = LATA(**kind).fit(calibration, 0.1).predict(test).sets
        assert (sets == LAC().fit(calibration, 0.1).predict(test).sets).all()
        sets = LATA(score="aps", **kind).fit(calibration, 0.1).predict(test).sets
        assert (sets == APS().fit(calibration, 0.1).predict(test).sets).all()


def test_smoothing_leaves_impossible_classes_impossible():
    q = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert smooth(q, mutual_neighbours(np.eye(2), 1), 1.0, 5)[0].tolist() == [1.0, 0.0]


def test_informative_neighbours_make_smaller_sets():
    generator = np.random.default_rng(3)
    rows = simulate(1200, k=5, seed=11, width=8)
    features = np.eye(8)[rows.labels] + 0.15 * generator.normal(size=(1200, 8))
    rows = replace(rows, extras={FEATURE: features})
    calibration, test = split_rows(rows, 600)
    lata = LATA().fit(calibration, 0.1).predict(test)
    plain = LAC().fit(calibration, 0.1).predict(test)
    assert lata.sizes().mean() < 0.8 * plain.sizes().mean()
    assert lata.covered().mean() > 0.86


def test_order_of_the_rows_does_not_matter():
    calibration, test = split_rows(simulate(400, seed=12), 300)
    method = LATA(window=50).fit(calibration, 0.1)
    backwards = np.arange(100)[::-1]
    assert (
        method.predict(test.subset(backwards)).sets == method.predict(test).sets[backwards]
    ).all()
    shuffled = LATA(window=50).fit(calibration.subset(np.arange(300)[::-1]), 0.1)
    assert (shuffled.predict(test).sets == method.predict(test).sets).all()


def test_prior_of_the_labels():
    calibration, test = split_rows(simulate(400, k=3, seed=13), 300)
    with pytest.warns(ConformalWarning, match="approximate"):
        counted = LATA(label_informed=True, beta=0.5, gamma=0.0).fit(calibration, 0.1)
    counts = np.bincount(calibration.labels, minlength=3)
    prior = (counts + 1) / (counts.sum() + 3)
    given = LATA(label_informed=True, beta=0.5, gamma=0.0, class_prior=prior.tolist())
    given.fit(calibration, 0.1)
    assert [m for m in given.messages_ if "calibration rows belong to" not in m] == []
    assert (given.predict(test).sets == counted.predict(test).sets).all()
    raised = test.probabilities() * prior**0.5
    raised /= raised.sum(axis=1, keepdims=True)
    assert given.refine(test) == pytest.approx(raised)
    with pytest.raises(SpecError, match="3 positive"):
        LATA(label_informed=True, class_prior=[1.0, 1.0]).fit(calibration, 0.1).predict(test)


def failure_extras(rows, seed):
    generator = np.random.default_rng(seed)
    return {
        **rows.extras,
        "failure_probability": generator.random(len(rows)),
        "label_attention": generator.random(rows.logits.shape),
    }


def test_failure_aware_score_by_hand():
    rows = simulate(90, k=3, seed=14)
    rows = replace(rows, extras=failure_extras(rows, 0))
    calibration, test = rows.subset(np.arange(60)), rows.subset(np.arange(60, 90))
    extras = (
        {n: a[:60] for n, a in rows.extras.items()},
        {n: a[60:] for n, a in rows.extras.items()},
    )
    calibration, test = replace(calibration, extras=extras[0]), replace(test, extras=extras[1])
    method = LATA(failure_aware=True, gamma=0.0).fit(calibration, 0.2)

    def score(part):
        s = 1 - part.probabilities()
        u, a = part.extras["failure_probability"], part.extras["label_attention"]
        return s * (1 + 0.5 * u[:, None]) - 0.25 * a

    own = np.sort(score(calibration)[np.arange(60), calibration.labels])
    assert (method.predict(test).sets == (score(test) <= own[48])).all()  # ceil(61 * 0.8) = 49


def test_bad_extras():
    calibration, test = split_rows(simulate(60), 40)
    with pytest.raises(DataError, match="image_features beside"):
        LATA().fit(replace(calibration, extras={}), 0.1)
    with pytest.raises(DataError, match="failure_probability"):
        LATA(failure_aware=True).fit(calibration, 0.1)
    zero = np.zeros((40, 3))
    with pytest.raises(DataError, match="zero or not finite"):
        LATA().fit(replace(calibration, extras={FEATURE: zero}), 0.1)
    with pytest.raises(DataError, match="expected shape"):
        LATA().fit(replace(calibration, extras={FEATURE: np.ones((39, 3))}), 0.1)
    narrow = replace(test, extras={FEATURE: np.ones((20, 3))})
    with pytest.raises(DataError, match="6 dimensions, got 3"):
        LATA().fit(calibration, 0.1).predict(narrow)
    with pytest.raises(SpecError, match="window"):
        LATA(window=1)
