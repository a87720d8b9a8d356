"""Weights of rows: whole ones are repetition, those that are none are refused, what takes none says so."""

from dataclasses import replace

import numpy as np
import pytest

import vlmcal
from vlmcal.errors import DataError, SpecError
from vlmcal.io.weights import sampling_weights
from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.clinical.summary import measure
from vlmcal.metrics.evaluation import evaluate
from vlmcal.types.predictions import Predictions, from_probabilities

N = 160


def drawn(seed=0, n=N):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    risk = 1 / (1 + np.exp(-1.5 * z))
    ill = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    return from_probabilities(np.stack([1 - risk, risk], axis=1), labels=ill)


ROWS = drawn()
WHOLE = np.random.default_rng(1).integers(0, 4, N)
REPEATED = np.repeat(np.arange(N), WHOLE)


def repeated(rows=ROWS):
    p = rows.probabilities()[REPEATED]
    return from_probabilities(p, labels=rows.labels[REPEATED])


def test_whole_weights_are_repetition_in_the_default_metrics():
    weighted = evaluate(ROWS, weights=WHOLE, intervals=False)
    again = evaluate(repeated(), intervals=False)
    assert {"accuracy", "ece", "brier", "nll", "auroc", "mce"} <= set(weighted.estimates)
    for name, estimate in weighted.estimates.items():
        slack = 1 / N if name == "aurc" else 1e-9  # a row of weight w stands at one rank
        assert estimate.value == pytest.approx(again[name].value, abs=slack), name
    assert any("classwise_ece" in note for note in weighted.notes)
    assert weighted.effective == pytest.approx(WHOLE.sum() ** 2 / (WHOLE**2).sum())


def test_whole_weights_are_repetition_in_the_clinical_table():
    risks = Risks.of_class(ROWS, 1)
    found = measure(replace(risks, weights=WHOLE.astype(float)), 0.4)
    again = measure(Risks.of_class(repeated(), 1), 0.4)
    assert found.keys() == again.keys()
    for name, estimate in found.items():
        if name in ("ici", "e50", "e90", "spiegelhalter"):
            assert np.isnan(estimate.value)
        else:
            assert estimate.value == pytest.approx(again[name].value, abs=1e-7), name
            assert estimate.low < estimate.value < estimate.high


def test_equal_weights_change_nothing_but_their_scale():
    plain = evaluate(ROWS, ["ece", "brier", "accuracy"], resamples=200)
    same = evaluate(ROWS, ["ece", "brier", "accuracy"], resamples=200, weights=np.full(N, 0.5))
    for name in ("brier", "accuracy"):
        assert same[name].value == pytest.approx(plain[name].value)
    assert same["brier"].low == pytest.approx(plain["brier"].low)
    assert same["ece"].value == pytest.approx(plain["ece"].value)
    assert same["ece"].low is None
    assert same.effective == N


def test_intervals_of_weighted_rows_cover():
    inside, truth = 0, evaluate(drawn(99, 100_000), "brier", intervals=False)["brier"].value
    for seed in range(100, 140):
        rows = drawn(seed, 400)
        rng = np.random.default_rng(seed)
        kept = rng.random(400) < np.where(rows.labels == 1, 1.0, 0.3)
        sampled = rows.subset(kept)
        weights = np.where(sampled.labels == 1, 1.0, 1 / 0.3)
        found = evaluate(sampled, "brier", weights=weights, resamples=150)["brier"]
        inside += found.low <= truth <= found.high
    assert inside >= 33


def test_sampling_fractions_undo_sampling():
    rows = Predictions(logits=np.zeros((3, 2)), labels=[0, 1, 1], class_names=("no", "yes"))
    found = sampling_weights(rows, {"positive": 0.5, "negative": 0.1})
    assert found.values.tolist() == [10, 2, 2]
    assert sampling_weights(rows, {"no": 0.25}).values.tolist() == [4, 1, 1]
    with pytest.raises(SpecError, match="no class"):
        sampling_weights(rows, {"maybe": 0.5})
    with pytest.raises(SpecError, match=r"in \(0, 1\]"):
        sampling_weights(rows, {"yes": 0.0})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (-np.ones(N), "negative"),
        (np.full(N, np.nan), "NaN"),
        (np.zeros(N), "all are 0"),
        (np.ones(N - 1), "one per row"),
        (np.full(N, "a"), "expected numbers"),
    ],
)
def test_weights_that_are_none(weights, words):
    with pytest.raises(DataError, match=words):
        vlmcal.evaluate(ROWS, weights=weights)


def test_what_takes_no_weights_says_so():
    with pytest.raises(SpecError, match="smooth_ece take none"):
        evaluate(ROWS, ["ece", "smooth_ece"], weights=WHOLE)
    with pytest.raises(SpecError, match="equal mass"):
        evaluate(ROWS, "ece", weights=WHOLE, options={"ece": {"strategy": "quantile"}})
    part = evaluate(ROWS, "accuracy", weights=WHOLE, by={"half": np.arange(N) % 2}, intervals=False)
    odd = np.arange(N) % 2 == 1
    right = ROWS.top_label().correct
    wanted = WHOLE[odd] @ right[odd] / WHOLE[odd].sum()
    assert part.groups["half = 1"]["accuracy"].value == pytest.approx(wanted)
