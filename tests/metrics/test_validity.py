"""Level, coverage and sentences by simulation, in short; docs/results/validity.md is the long form."""

import importlib

import numpy as np
import pytest

from vlmcal.metrics import compare, evaluate
from vlmcal.metrics.debiased_ece import squared_ece
from vlmcal.metrics.kde_ece import kde_ece
from vlmcal.metrics.skce import skce_test
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets

long_form = importlib.import_module("write_validity_results")


def few_errors(n, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(60, 1, n)
    return Confidences(confidence=confidence, correct=rng.random(n) < confidence)


@pytest.mark.parametrize("name", ["ece", "ace", "ks_error"])
def test_two_calibrated_models_of_other_sharpness_are_not_told_apart(name):
    rejected = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sharp = rng.beta(4, 1, 300)
        right = rng.random(300) < sharp
        blunt = np.full(300, 0.8)
        rejected += compare(sharp, blunt, name, labels=right).p_value < 0.05
    assert rejected <= 6


def test_comparison_and_its_interval_agree_and_power_remains():
    seen = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sharp = rng.uniform(0.5, 1, 300)
        right = rng.random(300) < sharp
        for other in (np.clip(sharp + 0.2, 0, 1), np.clip(sharp + 0.03, 0, 1)):
            found = compare(sharp, other, "ece", labels=right)
            low, high = found.difference.low, found.difference.high
            assert low <= 0 <= high if found.p_value >= 0.05 else not low < 0 < high
            assert (found.squared.low <= 0 <= found.squared.high) == (found.p_value >= 0.05)
        seen += compare(sharp, np.clip(sharp + 0.2, 0, 1), "ece", labels=right).p_value < 0.05
    assert seen >= 6


def test_the_swap_test_keeps_its_own_name():
    rng = np.random.default_rng(0)
    sharp = rng.beta(4, 1, 300)
    right = rng.random(300) < sharp
    found = compare(sharp, np.full(300, 0.8), "ace", labels=right, test="swap", resamples=99)
    assert found.null == "the models are interchangeable"
    assert found.p_value < 0.05  # it asks whether they differ at all, and they do


def test_without_errors_there_is_a_reason_instead_of_an_interval():
    rows = few_errors(100, 1)
    found = evaluate(rows, ["top_label_brier", "top_label_nll", "auroc", "aurc", "skce"])
    assert all(estimate.low is None for estimate in found.estimates.values())
    assert any("wrong (at least 5 are needed)" in note for note in found.notes)


@pytest.mark.parametrize("name", ["ece", "ace", "debiased_ece", "ks_error", "smooth_ece"])
def test_few_errors_do_not_hide_a_calibration_error(name):
    covered = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        right = rng.random(150) < 0.985
        rows = Confidences(confidence=np.full(150, 0.999), correct=right)
        estimate = evaluate(rows, [name], seed=seed)[name]
        covered += estimate.low <= 0.014 <= estimate.high
    assert covered >= 26


def test_macro_f1_covers_with_groups():
    covered, truth = 0, long_form.population("grouped", 1.0)["macro_f1"]
    for seed in range(40):
        rows = long_form.draw("grouped", 400, 1.0, np.random.default_rng(seed))
        estimate = evaluate(rows, ["macro_f1"])["macro_f1"]
        covered += estimate.low <= truth <= estimate.high
        if seed == 0:
            assert estimate.method == "delta method"
            few = rows.subset(np.arange(12))
            assert evaluate(few, ["macro_f1"])["macro_f1"].low is None
    assert covered >= 34


def test_squared_error_of_unequal_groups_keeps_its_level():
    rejected = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(20), rng.integers(2, 40, 20))
        confidence = rng.uniform(0.5, 1, len(groups))
        luck = np.where(
            rng.random(len(groups)) < 0.5, rng.random(20)[groups], rng.random(len(groups))
        )
        found = squared_ece(confidence, luck < confidence, groups=groups)
        rejected += found.p_value < 0.05
    assert rejected <= 9


def test_lower_end_of_the_debiased_error_agrees_with_its_test():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.5, 1, 300)
        rows = Confidences(confidence=confidence, correct=rng.random(300) < confidence - 0.05)
        estimate = evaluate(rows, ["debiased_ece"])["debiased_ece"]
        assert (estimate.low > 0) == (estimate.p_value < 0.025)


def test_skce_keeps_its_level_with_few_errors():
    rejected = 0
    for seed in range(60):
        rows = few_errors(200, seed)
        rejected += skce_test(rows.confidence, rows.correct, draws=99, seed=seed).p_value < 0.05
    assert rejected <= 8


def test_kernel_error_of_a_calibrated_model_goes_to_zero():
    values = []
    for n in (500, 20_000):
        rng = np.random.default_rng(n)
        p = rng.dirichlet(np.ones(5) * 0.5, n)
        labels = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
        values.append(kde_ece(p, labels))
        if n == 20_000:
            assert values[-1] < 0.6 * kde_ece(p, labels, width="simplex")
    assert values[1] < 0.012 < values[0]


def test_headline_and_ece_never_contradict_each_other():
    from vlmcal.report.pages.verdict import calibration_verdict

    called = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.5, 1, 400)
        shift = 0.0 if seed < 40 else 0.05
        rows = Confidences(confidence=confidence, correct=rng.random(400) < confidence - shift)
        verdict = calibration_verdict(rows, evaluate(rows, ["ece"], seed=seed)["ece"])
        says_chance = "by chance" in verdict.sentences[1]
        assert says_chance == (verdict.distinguishable is False)
        assert not (says_chance and verdict.direction != "neither")
        called += seed < 40 and verdict.distinguishable
    assert called <= 6


def test_groups_of_unequal_size_count_as_their_effective_number():
    """With twelve groups, some of them ten times as large, G - 1 degrees of freedom are too many."""
    worlds = [
        long_form.draw("unequal groups", 240, 1.0, np.random.default_rng(s)) for s in range(60)
    ]
    truth = long_form.population("iid", 1.0)
    names = ("accuracy", "brier", "nll", "ece", "ks_error")
    found = [evaluate(rows, names, resamples=20) for rows in worlds]
    assert (
        np.mean([r["accuracy"].low <= truth["accuracy"] <= r["accuracy"].high for r in found])
        > 0.85
    )
    for name in names[1:3]:  # skewed, so a dozen groups of which two weigh most are too few
        hidden = [r for r in found if r[name].low is None]
        assert len(hidden) > 30
        assert all("weigh as much as" in " ".join(r.notes) for r in hidden)
    for name in names[3:]:
        assert np.mean([r[name].p_value < 0.05 for r in found]) < 0.13
    one = worlds[0].groups == worlds[0].groups[-1]
    few = worlds[0].subset(np.flatnonzero(one | (worlds[0].groups == worlds[0].groups[0])))
    told = evaluate(few, ["brier"])
    assert told["brier"].low is None
    assert any("groups weigh as much as" in note for note in told.notes)


def test_six_groups_that_may_be_bad_are_covered_by_a_skewed_interval():
    truth = long_form.population("iid", 1.0)["nll"]
    covered = []
    for seed in range(60):
        rows = long_form.draw("few groups", 180, 1.0, np.random.default_rng(seed))
        estimate = evaluate(rows, ["nll"], resamples=20)["nll"]
        assert estimate.method == "jackknife of groups, t and skewness"
        covered.append(estimate.low <= truth <= estimate.high)
    assert np.mean(covered) > 0.85


def test_floors_of_errors_without_an_interval_hold_their_level():
    for name, draws in (("mce", 12), ("sweep_ece", 12), ("kde_ece", 20)):
        worlds = [long_form.draw("iid", 120, 1.0, np.random.default_rng(s)) for s in range(draws)]
        found = [evaluate(rows, [name])[name] for rows in worlds]
        assert np.mean([estimate.p_value < 0.05 for estimate in found]) <= 0.2
        ratio = np.mean([estimate.value / estimate.floor for estimate in found])
        assert ratio == pytest.approx(1, abs=0.3)


def test_floors_of_label_sets_hold_their_level():
    below, inside = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.integers(6, size=240)
        sets = rng.random((240, 6)) < 0.3
        sets[np.arange(240), labels] = rng.random(240) < 0.9
        found = evaluate(
            PredictionSets(sets=sets, labels=labels, alpha=0.1),
            ["coverage_gap", "worst_class_coverage"],
        )
        below.append(found["coverage_gap"].p_value < 0.05)
        worst = found["worst_class_coverage"]
        assert worst.low < worst.value < worst.high
        inside.append(worst.low < 0.9 < worst.high)
    assert np.mean(inside) > 0.88
    assert np.mean(below) <= 0.12


def test_headline_of_two_classes_speaks_of_the_same_rows_as_the_ece():
    from vlmcal.report.pages.verdict import calibration_verdict

    for seed in range(20):
        rows = long_form.draw("two classes", 300, 1.0 + (seed % 2), np.random.default_rng(seed))
        verdict = calibration_verdict(rows.top_label(), evaluate(rows, ["ece"], seed=seed)["ece"])
        says_chance = "by chance" in verdict.sentences[1]
        assert says_chance == (verdict.distinguishable is False)
        assert not (says_chance and verdict.direction != "neither")


def test_the_long_form_runs_and_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(long_form, "WORLDS", {"few errors": "rare"})
    monkeypatch.setattr(long_form, "SIZES", (60,))
    monkeypatch.setattr(long_form, "METHODS", ("none", "temperature"))
    monkeypatch.setattr(long_form, "CHOICES", {"few": (2, 40, 1.0)})
    monkeypatch.setattr(
        long_form, "population", lambda world, sharpness: dict.fromkeys(long_form.METRICS, 0.0)
    )
    store = tmp_path / "build" / "cells.jsonl"
    cells = list(long_form.cells(2, long_form.remembered(store)))
    text = "".join(long_form.page(2, "python scripts/write_validity_results.py", cells))
    assert "| `ece` |" in text
    assert "| few errors | 60 | `ace` |" in text
    monkeypatch.setattr(long_form, "evaluate", None)  # nothing is computed twice
    again = list(long_form.cells(2, long_form.remembered(store)))
    assert "".join(long_form.page(2, "python scripts/write_validity_results.py", again)) == text
