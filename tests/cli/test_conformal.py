"""``vlmcal conformal``: sets and coverage checked by hand, and what is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cli.posthoc_files import lac_sets, scores, without, write
from vlmcal.io.prediction_sets import load_prediction_sets


@pytest.mark.parametrize("ending", ["npz", "csv", "safetensors"])
def test_sets_coverage_and_size_by_hand(vlmcal, val, unseen, tmp_path, ending):
    conf, out = tmp_path / "conf.json", tmp_path / f"sets.{ending}"
    fitted = vlmcal("conformal", "fit", val, "-m", "lac", "--alpha", 0.2, "-o", conf)
    assert fitted.code == 0, fitted.err
    assert "marginal" in fitted.out
    numbers, page = tmp_path / "n.json", tmp_path / "r.html"
    call = ("conformal", "apply", conf, unseen, "-o", out, "--json", numbers, "--report", page)
    result = vlmcal(*call)
    assert result.code == 0, result.err
    given, new = scores(), scores(seed=1)
    right = lac_sets(given, new, 0.2)
    sets = load_prediction_sets(out)
    np.testing.assert_array_equal(sets.sets, right)
    assert sets.alpha == 0.2
    covered = right[np.arange(300), new["labels"]]
    found = json.loads(numbers.read_text())["methods"][0]["test"]["estimates"]
    assert found["coverage"]["value"] == pytest.approx(covered.mean())
    assert found["coverage"]["low"] < covered.mean() < found["coverage"]["high"]
    assert found["mean_set_size"]["value"] == pytest.approx(right.sum(axis=1).mean())
    gaps = [abs(covered[new["labels"] == c].mean() - 0.8) for c in range(3)]
    assert found["coverage_gap"]["value"] == pytest.approx(np.mean(gaps))
    assert found["empty_sets"]["value"] == pytest.approx((right.sum(axis=1) == 0).mean())
    assert f"{100 * covered.mean():.1f}" in result.out
    assert "Coverage by set size" in page.read_text()


def test_compare_shows_all_methods_and_why_others_are_left_out(vlmcal, val, unseen, tmp_path):
    numbers, page = tmp_path / "n.json", tmp_path / "r.html"
    result = vlmcal("conformal", "compare", val, unseen, "--json", numbers, "-o", page)
    assert result.code == 0, result.err
    rows = {row["method"]: row for row in json.loads(numbers.read_text())["methods"]}
    right = lac_sets(scores(), scores(seed=1), 0.1)
    covered = right[np.arange(300), scores(seed=1)["labels"]]
    assert rows["lac"]["test"]["estimates"]["coverage"]["value"] == pytest.approx(covered.mean())
    assert rows["lata"]["test"] is None
    assert "image_features" in rows["lata"]["notes"]
    assert "left out: group_conditional: " in result.out
    for name in ("aps", "raps", "saps", "class_conditional", "abstain"):
        assert rows[name]["test"]["estimates"]["coverage"]["high"] > 0.85
    assert "Left out" in page.read_text()


def test_group_conditional_takes_the_group_column(vlmcal, tmp_path):
    val = write(tmp_path / "val.npz", **scores(groups=3))
    unseen = write(tmp_path / "test.npz", **scores(seed=1, groups=3))
    call = ("conformal", "compare", val, unseen, "-m", "group_conditional", "--group", "groups")
    assert vlmcal(*call).code == 0


def test_too_few_rows_for_alpha(refused, unseen, tmp_path):
    val = write(tmp_path / "val.npz", **scores(n=8))
    words = ["8 calibration rows", "alpha = 0.1", "at least 9"]
    for method in ("lac", "class_conditional", "abstain"):
        call = ("conformal", "fit", val, "-m", method, "--allow-absent")
        refused(*call, "-o", tmp_path / "c.json", words=words)
    refused("conformal", "compare", val, unseen, words=words)
    refused(
        "conformal", "fit", val, "--alpha", 0.01, "-o", tmp_path / "c.json", words=["at least 99"]
    )
    assert not (tmp_path / "c.json").exists()


def test_too_few_rows_of_every_class(refused, vlmcal, tmp_path):
    out = tmp_path / "c.json"
    few = write(tmp_path / "few.npz", **scores(n=12))
    words = ["3 of 3 classes", "fewer than the 9"]
    refused("conformal", "fit", few, "-m", "class_conditional", "-o", out, words=words)
    arrays = scores(n=300)
    rows = np.concatenate(
        [np.flatnonzero(arrays["labels"] == c)[:n] for c, n in enumerate((5, 40, 40))]
    )
    one = write(tmp_path / "one.npz", **{name: a[rows] for name, a in arrays.items()})
    result = vlmcal("conformal", "fit", one, "-m", "class_conditional", "-o", out)
    assert result.code == 0
    assert "note: " in result.err
    assert "1 of 3 classes" in result.err


def test_risk_control_says_how_many_rows_it_needs(refused, tmp_path):
    val = write(tmp_path / "val.npz", **scores(n=30))
    call = ("conformal", "fit", val, "-m", "risk_control", "--option", "bound=5")
    refused(*call, "-o", tmp_path / "c.json", words=["30 calibration rows", "at least 49"])


def test_absent_classes(refused, vlmcal, tmp_path):
    val = write(tmp_path / "val.npz", **without(scores(), 1))
    fit = ("conformal", "fit", val, "-o", tmp_path / "c.json", "-m")
    refused(*fit, "class_conditional", words=["1 of 3 classes", '("1")', "--allow-absent"])
    assert vlmcal(*fit, "class_conditional", "--allow-absent").code == 0
    assert vlmcal(*fit, "lac").code == 0


def test_test_data_and_the_same_rows_are_refused(refused, vlmcal, val, unseen, tmp_path):
    conf = tmp_path / "c.json"
    tagged = write(tmp_path / "tagged.npz", **scores(), split="test")
    refused("conformal", "fit", tagged, "-o", conf, words=["tagged.npz", "test data"])
    refused("conformal", "compare", tagged, unseen, words=["test data"])
    copy = tmp_path / "copy.npz"
    shutil.copy(val, copy)
    refused("conformal", "compare", val, copy, words=["300 rows", "also used for fitting"])
    assert vlmcal("conformal", "fit", val, "-o", conf).code == 0
    assert json.loads(conf.read_text())["fitted_on"]["split"] == "calibration"
    refused("conformal", "apply", conf, copy, "-o", tmp_path / "s.npz", words=["very 300 rows"])


def test_another_class_list(refused, vlmcal, tmp_path):
    val = write(tmp_path / "val.npz", **scores(names=["cat", "dog", "owl"]))
    unseen = write(tmp_path / "test.npz", **scores(seed=1, names=["red", "green", "blue"]))
    conf, out = tmp_path / "c.json", tmp_path / "s.npz"
    assert vlmcal("conformal", "fit", val, "-m", "class_conditional", "-o", conf).code == 0
    refused(
        "conformal", "apply", conf, unseen, "-o", out, words=["'cat'", "'red'", "for each class"]
    )
    assert not out.exists()
    assert vlmcal("conformal", "fit", val, "-m", "lac", "-o", conf).code == 0
    result = vlmcal("conformal", "apply", conf, unseen, "-o", out)
    assert result.code == 0
    assert "does not carry over" in result.err


def test_wrong_names_options_and_numbers(refused, val, unseen, tmp_path):
    out = tmp_path / "c.json"
    fit = ("conformal", "fit", val, "-o", out)
    refused(*fit, "-m", "apss", words=['"aps"'])
    refused(*fit, "-m", "raps", "--option", "penality=1", words=['"penalty"'])
    refused(*fit, "-m", "raps", "--option", "k_reg=many", words=["k_reg", "whole number", "'many'"])
    refused(*fit, "-m", "lata", words=["image_features", "no extras"])
    refused(*fit, "--alpha", 1.5, words=["alpha", "1.5", "0.1 means 90 %"])
    refused("conformal", "compare", val, unseen, "-m", "lac,apss", words=['"aps"'])
    refused("conformal", "compare", val, unseen, "-m", "lata", words=["image_features"])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], ["not valid JSON"]),
        (lambda text: "{}", ["not a saved conformal method"]),
        (lambda text: text.replace('"format": 2', '"format": 7'), ["format 7", "update"]),
        (lambda text: text.replace('"threshold_"', '"other_"'), ["damaged", "threshold_"]),
        (lambda text: text.replace('"alpha": 0.1', '"alpha": "few"'), ["damaged"]),
    ],
)
def test_damaged_files(refused, vlmcal, val, unseen, tmp_path, damage, words):
    conf = tmp_path / "conf.json"
    assert vlmcal("conformal", "fit", val, "-o", conf).code == 0
    conf.write_text(damage(conf.read_text()))
    refused(
        "conformal", "apply", conf, unseen, "-o", tmp_path / "s.npz", words=["conf.json", *words]
    )


def test_a_state_that_cannot_be_applied_is_one_message(refused, vlmcal, val, unseen, tmp_path):
    conf = tmp_path / "conf.json"
    assert vlmcal("conformal", "fit", val, "-m", "class_conditional", "-o", conf).code == 0
    saved = json.loads(conf.read_text())
    saved["state"]["thresholds_"] = {"dtype": "float64", "shape": [2], "data": [0.5, 0.5]}
    conf.write_text(json.dumps(saved))
    words = ["conf.json", "cannot be applied", "fit it again"]
    refused("conformal", "apply", conf, unseen, "-o", tmp_path / "s.npz", words=words)
    saved["state"]["thresholds_"] = "high"
    conf.write_text(json.dumps(saved))
    refused("conformal", "apply", conf, unseen, "-o", tmp_path / "s.npz", words=words)
    assert not (tmp_path / "s.npz").exists()


def test_large_state_lies_beside_the_json(vlmcal, refused, tmp_path):
    rng = np.random.default_rng(5)
    rows = [
        write(
            tmp_path / f"{name}.npz",
            **scores(seed=seed),
            extra_image_features=rng.normal(size=(300, 8)),
        )
        for seed, name in enumerate(("val", "test"))
    ]
    conf = tmp_path / "conf.json"
    assert vlmcal("conformal", "fit", rows[0], "-m", "lata", "-o", conf).code == 0
    beside = conf.with_suffix(".safetensors")
    assert beside.exists()
    assert conf.stat().st_size < 60_000
    result = vlmcal("conformal", "apply", conf, rows[1], "-o", tmp_path / "s.npz")
    assert result.code == 0, result.err
    assert load_prediction_sets(tmp_path / "s.npz").covered().mean() > 0.8
    beside.unlink()
    words = ["conf.safetensors", "move both files"]
    refused("conformal", "apply", conf, rows[1], "-o", tmp_path / "s.npz", words=words)


def test_methods_may_be_repeated_or_stand_with_commas(vlmcal, val, unseen):
    for given in (("-m", "lac", "-m", "raps(penalty=0.1)"), ("-m", "lac, raps(penalty=0.1)")):
        shown = vlmcal("conformal", "compare", val, unseen, *given).out
        assert "lac " in shown
        assert "raps(penalty=0.1)" in shown


def test_p_values_credibility_and_confidence_are_in_the_table(
    vlmcal, refused, val, unseen, tmp_path
):
    out, numbers = tmp_path / "p.csv", tmp_path / "n.json"
    told = vlmcal("conformal", "p-values", val, unseen, "-o", out, "--json", numbers)
    assert told.code == 0, told.err
    table = pd.read_csv(out)
    p = table.filter(like="p_value ").to_numpy()
    assert table["credibility"].to_numpy() == pytest.approx(p.max(axis=1))
    assert table["confidence"].to_numpy() == pytest.approx(1 - np.sort(p, axis=1)[:, -2])
    assert json.loads(numbers.read_text())["n"] == len(table)
    refused("conformal", "p-values", val, val, "-o", out, words=["other rows"])
    refused("conformal", "p-values", val, unseen, "-o", out, "--score", "lacc", words=['"lac"'])


def test_a_stream_is_followed_row_by_row(vlmcal, refused, val, unseen, tmp_path):
    out = tmp_path / "s.csv"
    told = vlmcal("conformal", "stream", val, unseen, "--alpha", 0.2, "--rate", 0.1, "-o", out)
    assert told.code == 0, told.err
    table = pd.read_csv(out)
    steps = table["level"].diff().dropna().to_numpy()
    expected = 0.1 * (0.2 - (1 - table["covered"].to_numpy()[:-1]))
    assert steps == pytest.approx(expected)
    assert "alarm" in told.out
    refused("conformal", "stream", val, unseen, "--rate", 2, words=["shares", "2"])
