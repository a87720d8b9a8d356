"""The table: presets, intervals, floors, definitions, notes, groups, comparison."""

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from metrics.worlds import binary, classes
from vlmcal.errors import DataError, SpecError
from vlmcal.experiment.evaluate import check_evaluation
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.metrics import METRICS, Evaluation, compare, evaluate
from vlmcal.metrics.presets import PRESETS
from vlmcal.options import parameters
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

HEADLINE = {
    "accuracy",
    "macro_f1",
    "ece",
    "ace",
    "mce",
    "classwise_ece",
    "brier",
    "nll",
    "auroc",
    "aurc",
}


@pytest.fixture(scope="module")
def table():
    return evaluate(classes(400, scale=1.5), resamples=200)


def test_default_table_has_the_headline_metrics_with_intervals(table):
    assert set(table.estimates) >= HEADLINE
    for name, estimate in table.estimates.items():
        assert estimate.n == 400
        assert estimate.low <= estimate.value <= estimate.high, name
        assert estimate.method
    for name in ("ece", "ace", "mce", "classwise_ece"):
        assert 0 < table[name].floor < 1
    assert "15 equal-width bins" in table.definitions["ece"]
    assert "(lo, hi]" in table.definitions["ece"]


def test_same_seed_same_numbers(table):
    again = evaluate(classes(400, scale=1.5), resamples=200)
    assert again.to_dict() == table.to_dict()
    other = evaluate(classes(400, scale=1.5), resamples=200, seed=1)
    assert other["brier"].low != table["brier"].low
    assert other["brier"].value == table["brier"].value


def test_round_trip_through_json(table):
    again = Evaluation.from_dict(json.loads(json.dumps(table.to_dict())))
    assert again == table


def test_a_metric_does_not_change_because_others_are_measured(table):
    alone = evaluate(classes(400, scale=1.5), ["ece"], resamples=200)
    assert alone["ece"] == table["ece"]


def test_options_reach_the_metric_and_its_definition():
    data = classes(300)
    found = evaluate(data, ["ece"], options={"ece": {"bins": 7, "edges": "left"}}, intervals=False)
    assert "7 equal-width" in found.definitions["ece"]
    assert "[lo, hi)" in found.definitions["ece"]
    assert found.edge_mass.bins == 7
    assert found.edge_mass.other_rule == "right"
    assert found["ece"].low is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "defalt"}, 'did you mean "default"'),
        ({"metrics": ["eec"]}, 'did you mean "ece"'),
        ({"metrics": ["ece"], "options": {"ece": {"bin": 3}}}, 'no option "bin"'),
        ({"metrics": ["ece"], "options": {"mce": {"bins": 3}}}, "not measured"),
        ({"metrics": ["ece"], "level": 95}, "between 0 and 1"),
    ],
)
def test_wrong_requests_say_what_is_right(arguments, message):
    with pytest.raises(SpecError, match=message):
        evaluate(classes(20), **arguments)


def test_a_named_metric_that_cannot_be_measured_is_an_error_and_a_preset_leaves_it_out():
    rows = Confidences(confidence=[0.9, 0.8], correct=[1, 0])
    with pytest.raises(DataError, match="probabilities"):
        evaluate(rows, ["classwise_ece"])
    with pytest.raises(DataError, match="image_features"):
        evaluate(classes(20), ["piece"])
    found = evaluate(rows, intervals=False)
    assert "top_label_brier" in found.estimates
    assert any("class-wise" in note for note in found.notes)


def test_edge_mass_tells_what_the_other_rule_gives():
    confidence = np.tile([0.6, 0.8], 50)
    correct = np.concatenate([np.tile([1, 0], 25), np.tile([1, 1], 25)])
    found = evaluate(
        Confidences(confidence=confidence, correct=correct),
        ["ece"],
        options={"ece": {"bins": 10}},
    )
    assert found.edge_mass.share == 1.0
    assert any("distinct" in note for note in found.notes)


def test_no_resamples_are_no_intervals():
    assert evaluate(classes(50), resamples=0) == evaluate(classes(50), intervals=False)
    found = evaluate(classes(50), ["accuracy", "ece", "brier"], resamples=0)
    assert {(each.low, each.high) for each in found.estimates.values()} == {(None, None)}


def test_notes_on_few_rows():
    assert any("Only 30 rows" in note for note in evaluate(classes(30), intervals=False).notes)


def test_one_row_is_measured_without_intervals_that_cannot_be():
    found = evaluate(classes(1), resamples=50)
    assert found["accuracy"].low is not None  # Wilson is honest with one row
    assert found["brier"].low is None
    assert any("auroc is undefined" in note for note in found.notes)


def test_kinds_are_measured_one_by_one():
    confidence, correct = binary(200)
    kinds = np.where(np.arange(200) < 80, "open", "yes/no")
    data = Confidences(confidence=confidence, correct=correct, kinds=kinds)
    found = evaluate(data, ["ece", "accuracy"], by_group=True, resamples=50)
    assert set(found.groups) == {"open", "yes/no"}
    assert found.groups["open"]["accuracy"].n == 80
    by_class = evaluate(classes(100), ["accuracy"], by_group=True, intervals=False)
    assert sum(part["accuracy"].n for part in by_class.groups.values()) == 100
    with pytest.raises(DataError, match="kinds"):
        evaluate(Confidences(confidence=[0.5], correct=[1]), ["ece"], by_group=True)


def test_copied_rows_do_not_narrow_intervals_when_they_are_grouped():
    data = classes(150, seed=3)
    rows = np.repeat(np.arange(150), 6)
    names = [f"patient {i}" for i in rows]
    copied = Predictions(logits=data.logits[rows], labels=data.labels[rows], groups=names)
    loose = Predictions(logits=data.logits[rows], labels=data.labels[rows])
    names = ["accuracy", "ece", "ace", "brier", "auroc", "classwise_ece", "smooth_ece", "ks_error"]
    honest, naive, single = (
        evaluate(x, names, resamples=300).estimates for x in (copied, loose, data)
    )
    for name in names:
        width = {
            key: table[name].high - table[name].low
            for key, table in (("honest", honest), ("naive", naive), ("single", single))
        }
        assert width["honest"] > width["naive"], name
        assert width["honest"] == pytest.approx(width["single"], rel=0.45), name


def test_every_metric_states_its_definition_and_source():
    for name, entry in METRICS.items():
        assert entry.name == name
        assert entry.definition.endswith((".", ";")) or entry.definition
        assert entry.reference
        assert entry.bounds[0] < entry.bounds[1]
        assert entry.__doc__
        if entry.infer or entry.resample:
            assert entry.interval, name
    for names in PRESETS.values():
        assert set(names) <= set(METRICS.names())
    assert set(PRESETS["default"]) >= HEADLINE


def test_every_metric_stays_within_its_bounds_on_random_data():
    generator = np.random.default_rng(0)
    data = classes(60, k=4, seed=2)
    text = generator.normal(size=(4, 8))
    rich = Predictions(
        logits=data.logits,
        labels=data.labels,
        extras={
            "image_features": generator.normal(size=(60, 8)),
            "text_features": text,
            "zero_shot_text_features": text + 0.1,
        },
    )
    sets = PredictionSets(sets=data.probabilities() > 0.2, labels=data.labels, alpha=0.1)
    for name, entry in METRICS.items():
        source = sets if entry.consumes == "sets" else rich
        if name in ("cost_matrix_loss", "groupwise_ece"):
            continue
        value = entry(source)
        assert entry.bounds[0] - 1e-9 <= value <= entry.bounds[1] + 1e-9, name


def test_metric_called_with_arrays_and_with_types_agrees():
    data = classes(80)
    top = data.top_label()
    for name in ("ece", "ace", "mce", "auroc", "aurc", "smooth_ece"):
        entry = METRICS.get(name)
        assert entry(data) == pytest.approx(entry(top.confidence, top.correct), abs=1e-12)
    assert METRICS.get("accuracy")(top) == METRICS.get("accuracy")(data)


def test_comparison_finds_the_better_model_and_matches_rows_by_id():
    good = classes(600, seed=1)
    bad = Predictions(logits=2.5 * good.logits, labels=good.labels, ids=good.ids)
    shuffled = bad.subset(np.random.default_rng(0).permutation(600))
    for name in ("ece", "brier", "classwise_ece"):
        found = compare(good, shuffled, name, resamples=200)
        assert found.better == "first"
        assert found.p_value < 0.02
        assert found.difference.high < 0
        assert found.difference.value == pytest.approx(found.first - found.second)
    same = compare(good, good, "ece", resamples=99)
    assert same.p_value == 1.0
    assert same.better == ""
    assert compare(good, good, "nll", resamples=50).p_value == 1.0


def test_comparison_keeps_its_level_for_equal_models():
    p_values = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        chance = generator.beta(5, 2, 200)
        models = [
            Confidences(
                confidence=np.clip(chance + generator.normal(0, 0.05, 200), 0, 1),
                correct=right,
            )
            for right in generator.random((2, 200)) < chance
        ]
        p_values.append(compare(*models, "ece", resamples=99).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.17


def test_comparison_refuses_different_rows():
    one = classes(30)
    with pytest.raises(DataError, match="different rows"):
        compare(one, classes(31))
    other = Predictions(logits=one.logits, labels=(one.labels + 1) % 5)
    with pytest.raises(DataError, match="labels"):
        compare(one, other)
    with pytest.raises(DataError, match="one kind"):
        compare(one, one.top_label())


def test_importing_the_table_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys, vlmcal.metrics as m; m.METRICS.names(); m.evaluate; "
        "print([x for x in ('torch', 'sklearn', 'matplotlib') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_one_group_of_many_rows_has_no_intervals_and_says_so():
    confidence, correct = binary(60)
    rows = Confidences(confidence=confidence, correct=correct, groups=["a"] * 60)
    found = evaluate(rows, ["ece", "accuracy", "auroc"], resamples=50)
    assert [e.low for e in found.estimates.values()] == [None] * 3
    assert any("one group" in note for note in found.notes)
    alone = evaluate(Confidences(confidence=[0.8], correct=[False]), ["ece"], resamples=50)
    assert alone["ece"].high <= 1


def test_subgroups_of_columns_are_what_their_rows_alone_give():
    generator = np.random.default_rng(0)
    rows = Confidences(confidence=generator.uniform(size=80), correct=generator.random(80) < 0.7)
    sex = np.where(np.arange(80) < 60, "f", "m")
    found = evaluate(rows, ["ece", "accuracy"], by={"sex": sex.tolist()}, resamples=50)
    assert set(found.groups) == {"sex = f", "sex = m"}
    alone = evaluate(rows.subset(sex == "m"), ["ece", "accuracy"], resamples=50)
    assert found.groups["sex = m"] == alone.estimates
    assert "Fewer than 30 rows: sex = m." in found.notes
    with pytest.raises(DataError, match="80 values of"):
        evaluate(rows, "ece", by={"sex": sex[:3]})
    with pytest.raises(DataError, match="more than 50 subgroups"):
        evaluate(rows, "ece", by={"patient": np.arange(80)})


@pytest.mark.parametrize(
    "written", ["ece(bins=7)", ["ece(bins=7)", "nll"], [{"name": "ece", "bins": 7}]]
)
def test_options_of_a_metric_stand_beside_its_name(written):
    scores, labels = np.random.default_rng(0).dirichlet([1, 1, 1], 83), np.arange(83) % 3
    found = evaluate(scores, labels, written, scores="probs", intervals=False)
    same = evaluate(
        scores, labels, "ece", scores="probs", options={"ece": {"bins": 7}}, intervals=False
    )
    assert found["ece"].value == same["ece"].value
    assert found.definitions["ece"] == same.definitions["ece"]
    assert found["ece"].value != evaluate(scores, labels, "ece", scores="probs")["ece"].value


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["ece(bin=7)"], 'metric "ece" has no option "bin"; did you mean "bins"'),
        (["nll(clip=small)"], 'metric "nll": clip must be a number'),
        ([{"name": "brier_reliability", "edges": "rigth"}], 'did you mean "right"'),
        (["ece", "ece(bins=7)"], 'metric "ece" is named twice'),
        (["ece(bins=7)", "ece(bins=8)"], 'metric "ece" is named twice'),
        (["ece(bins=7, bins=8)"], '"bins" is given twice'),
        (["default(bins=7)"], 'unknown metric "default"'),
    ],
)
def test_options_of_metrics_are_checked_by_name(written, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        evaluate([[0.9, 0.1], [0.4, 0.6]], [0, 1], written, scores="probs")


def test_metrics_of_experiments_take_options_by_name():
    check_evaluation(EvaluateSpec(metrics=["ece(bins=7)", {"name": "nll", "clip": 1e-6}]))
    for wrong, words in (
        ({"name": "ece", "bin": 7}, 'did you mean "bins"'),
        ("ece(bins=ten)", "bins must be a whole number, got 'ten'"),
        ({"name": "groupwise_ece", "reduce": "maxx"}, 'did you mean "max"'),
        ("ace(bins=0)", "bins: expected a whole number of at least 1"),
    ):
        with pytest.raises(SpecError, match=re.escape(words)):
            check_evaluation(EvaluateSpec(metrics=[wrong]))


def test_every_option_of_a_metric_that_is_no_array_has_a_type():
    for name, entry in METRICS.items():
        known = parameters(entry.function)
        # What rows carry, and costs of decisions, are arrays.
        untyped = {option for option in entry.options if known[option] is Any}
        assert not untyped & {"bins", "strategy", "edges", "norm", "k", "resolution", "reduce"}, (
            name
        )
