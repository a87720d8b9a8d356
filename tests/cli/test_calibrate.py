"""``vlmcal calibrate``: numbers checked by hand, and what is refused."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from cli.posthoc_files import best_temperature, nll, scores, without, write
from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.cli.arguments import made
from vlmcal.conformal.base import CONFORMAL
from vlmcal.io import atomic
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.types.predictions import Predictions


@pytest.fixture
def cal(vlmcal, val, tmp_path):
    path = tmp_path / "cal.json"
    assert vlmcal("calibrate", "fit", val, "-o", path).code == 0
    return path


def test_fit_finds_the_temperature_and_apply_divides_by_it(vlmcal, cal, val, unseen, tmp_path):
    given = scores()
    right = best_temperature(given["logits"], given["labels"])
    assert json.loads(cal.read_text())["state"]["temperature_"] == pytest.approx(right, rel=1e-4)
    out, numbers, page = tmp_path / "out.npz", tmp_path / "n.json", tmp_path / "r.html"
    result = vlmcal(
        "calibrate", "apply", cal, unseen, "-o", out, "--json", numbers, "--report", page
    )
    assert result.code == 0, result.err
    new = scores(seed=1)
    with np.load(out) as after:
        np.testing.assert_allclose(after["logits"], new["logits"] / right, rtol=1e-3)
        assert str(after["split"]) == "test"
    data = json.loads(numbers.read_text())
    before, after = (data[side]["estimates"]["nll"]["value"] for side in ("before", "after"))
    assert before == pytest.approx(nll(new["logits"], new["labels"]), rel=1e-9)
    assert after == pytest.approx(nll(new["logits"] / right, new["labels"]), rel=1e-4)
    assert data["change"]["nll"]["value"] == pytest.approx(after - before)
    assert data["change"]["nll"]["high"] < 0
    assert data["change"]["accuracy"]["value"] == 0
    assert f"{before:.4f}" in result.out
    assert page.read_text().count("<svg") == 1


def test_calibrated_test_rows_and_test_files_are_not_fitted_on(
    refused, vlmcal, cal, unseen, tmp_path
):
    out = tmp_path / "out.npz"
    assert vlmcal("calibrate", "apply", cal, unseen, "-o", out).code == 0
    words = ["out.npz", "test data", "held-out"]
    refused("calibrate", "fit", out, "-o", tmp_path / "c.json", words=words)
    refused("calibrate", "cross-fit", out, "-o", tmp_path / "c.npz", words=words)
    refused("calibrate", "compare", out, unseen, words=words)
    refused(
        "calibrate",
        "fit",
        unseen,
        "--split",
        "test",
        "-o",
        tmp_path / "c.json",
        words=["test data"],
    )
    refused(
        "calibrate", "fit", unseen, "--split", "vall", "-o", tmp_path / "c.json", words=['"val"']
    )
    assert not (tmp_path / "c.json").exists()


def test_a_stated_split_is_kept_and_must_not_be_contradicted(refused, vlmcal, tmp_path):
    rows = write(tmp_path / "rows.npz", **scores(), split="calibration")
    cal = tmp_path / "cal.json"
    assert vlmcal("calibrate", "fit", rows, "-o", cal).code == 0
    assert json.loads(cal.read_text())["fitted_on"]["split"] == "calibration"
    refused("calibrate", "fit", rows, "--split", "train", "-o", cal, words=["calibration", "train"])


def test_training_rows_are_noted(vlmcal, val, tmp_path):
    result = vlmcal("calibrate", "fit", val, "--split", "train", "-o", tmp_path / "c.json")
    assert result.code == 0
    assert "val.npz holds training rows" in result.err


def test_the_same_rows_on_both_sides_are_refused(refused, vlmcal, cal, val, unseen, tmp_path):
    copy = tmp_path / "other_name.npz"
    shutil.copy(val, copy)
    refused("calibrate", "compare", val, copy, words=["300 rows", "also used for fitting"])
    refused("calibrate", "apply", cal, copy, "-o", tmp_path / "o.npz", words=["very 300 rows"])
    assert vlmcal("calibrate", "apply", cal, unseen, "-o", tmp_path / "o.npz").code == 0


def test_default_ids_tell_files_apart_and_stay_the_same(vlmcal, val, unseen, tmp_path):
    ids = []
    for path in (val, unseen, shutil.copy(val, tmp_path / "copy.npz")):
        assert vlmcal("calibrate", "cross-fit", path, "-o", tmp_path / "out.npz").code == 0
        with np.load(tmp_path / "out.npz") as after:
            ids.append(set(after["ids"].tolist()))
    assert len(ids[0]) == 300
    assert not ids[0] & ids[1]
    assert ids[0] == ids[2]


def test_one_shared_id_is_refused(refused, tmp_path):
    ids = np.array([f"scan{i}" for i in range(300)])
    val = write(tmp_path / "a.npz", **scores(), ids=ids)
    ids = np.array([f"other{i}" for i in range(299)] + ["scan7"])
    unseen = write(tmp_path / "b.npz", **scores(seed=1), ids=ids)
    refused("calibrate", "compare", val, unseen, "-m", "platt", words=["1 rows", "'scan7'"])


def test_rows_of_equal_content_without_ids_are_noted(vlmcal, tmp_path):
    first, second = scores(), scores(seed=1)
    mixed = {name: np.concatenate([a[:250], first[name][:50]]) for name, a in second.items()}
    val, unseen = write(tmp_path / "a.npz", **first), write(tmp_path / "b.npz", **mixed)
    result = vlmcal("calibrate", "compare", val, unseen, "-m", "temperature")
    assert result.code == 0
    assert "50 of the 300 rows of b.npz" in result.err


def test_compare_chooses_on_val_alone(vlmcal, val, unseen, tmp_path):
    numbers, page = tmp_path / "n.json", tmp_path / "r.html"
    names = "temperature,platt,vector"
    call = ("calibrate", "compare", val, unseen, "-m", names, "--json", numbers, "-o", page)
    result = vlmcal(*call)
    assert result.code == 0, result.err
    data = json.loads(numbers.read_text())
    rows = {row["calibrator"]: row for row in data["calibrators"]}
    given, new = scores(), scores(seed=1)
    assert rows["none"]["cv_nll"] == pytest.approx(nll(given["logits"], given["labels"]))
    losses = {name: row["cv_nll"] for name, row in rows.items()}
    assert data["chosen"] == min(losses, key=losses.get) != "none"
    right = best_temperature(given["logits"], given["labels"])
    measured = rows["temperature"]["test"]["estimates"]
    assert measured["nll"]["value"] == pytest.approx(
        nll(new["logits"] / right, new["labels"]), rel=1e-4
    )
    assert measured["ece"]["floor"] > 0
    assert measured["ece"]["low"] <= measured["ece"]["value"] <= measured["ece"]["high"]
    assert f"{data['chosen']} (chosen)" in result.out
    assert "\nnone " in result.out
    assert "(chosen)" in page.read_text()
    labels = np.random.default_rng(3).permutation(new["labels"])
    shuffled = write(tmp_path / "shuffled.npz", logits=new["logits"], labels=labels)
    assert vlmcal("calibrate", "compare", val, shuffled, *call[4:]).code == 0
    other = json.loads(numbers.read_text())
    assert other["chosen"] == data["chosen"]
    assert {r["calibrator"]: r["cv_nll"] for r in other["calibrators"]} == losses


def test_compare_lists_what_does_not_fit_with_the_reason(vlmcal, tmp_path):
    val = write(tmp_path / "val.npz", **scores(n=60))
    unseen = write(tmp_path / "test.npz", **scores(n=60, seed=1))
    result = vlmcal("calibrate", "compare", val, unseen, "--folds", 2, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert "left out: sals:" in result.out
    assert "zero_shot_logits" in result.out
    assert "Left out" in (tmp_path / "r.html").read_text()
    fitted = {name for name, kind in CALIBRATORS.items() if not kind.needs and not kind.fit_needs}
    assert {"temperature", "isotonic", "venn_abers"} <= fitted
    shown = {line.split()[0] for line in result.out.splitlines() if line}
    assert fitted - {"none", "procal_bin", "procal_density"} <= shown


def test_cross_fit_never_fits_a_group_on_itself(vlmcal, tmp_path):
    arrays = scores(n=200, groups=20)
    val = write(tmp_path / "val.npz", **arrays)
    out = tmp_path / "out.npz"
    result = vlmcal("calibrate", "cross-fit", val, "--group", "groups", "--folds", 4, "-o", out)
    assert result.code == 0, result.err
    with np.load(out) as after:
        ratio = arrays["logits"][:, 0] / after["logits"][:, 0]
        assert str(after["split"]) == "val"
    folds = np.unique(ratio.round(9))
    assert folds.size == 4
    for temperature in folds:
        inside = np.isclose(ratio, temperature, rtol=1e-6)
        assert not set(arrays["groups"][inside]) & set(arrays["groups"][~inside])
        right = best_temperature(arrays["logits"][~inside], arrays["labels"][~inside])
        assert temperature == pytest.approx(right, rel=1e-3)


def test_cross_fit_with_too_few_groups(refused, tmp_path):
    val = write(tmp_path / "val.npz", **scores(n=60, groups=3))
    call = ("calibrate", "cross-fit", val, "--group", "groups", "-o", tmp_path / "o.npz")
    refused(*call, words=["5 folds", "5 groups", "got 3"])


def test_csv_with_names_and_own_format(vlmcal, refused, tmp_path):
    arrays = scores(names=["cat", "dog", "owl"])
    lines = ["cat,dog,owl,truth"]
    for row, label in zip(arrays["logits"], arrays["labels"], strict=True):
        lines.append(",".join(map(repr, row.tolist())) + f",{arrays['class_names'][label]}")
    table = tmp_path / "val.csv"
    table.write_text("\n".join(lines) + "\n")
    cal = tmp_path / "cal.json"
    refused(
        "calibrate", "fit", table, "--labels", "truth", "-o", cal, words=["--logits", "--probs"]
    )
    assert vlmcal("calibrate", "fit", table, "--logits", "--labels", "truth", "-o", cal).code == 0
    state = json.loads(cal.read_text())["state"]
    right = best_temperature(arrays["logits"], arrays["labels"])
    assert state["temperature_"] == pytest.approx(right, rel=1e-4)
    own = tmp_path / "test.safetensors"
    new = scores(seed=1)
    rows = Predictions(**new, class_names=("cat", "dog", "owl"), split="test")
    save_predictions(rows, own)
    out = tmp_path / "out.safetensors"
    assert vlmcal("calibrate", "apply", cal, own, "-o", out).code == 0
    steps = load_predictions(out).provenance["steps"]
    assert steps[-1]["calibrator"] == "temperature"
    assert steps[-1]["fitted_on"] == {"split": "val", "n": 300}
    refused("calibrate", "fit", own, "-o", cal, words=["test data"])


def test_another_class_list(refused, vlmcal, tmp_path):
    val = write(tmp_path / "val.npz", **scores(names=["cat", "dog", "owl"]))
    unseen = write(tmp_path / "test.npz", **scores(seed=1, names=["red", "green", "blue"]))
    for name, code in (("temperature", 0), ("vector", 2)):
        cal = tmp_path / f"{name}.json"
        assert vlmcal("calibrate", "fit", val, "-m", name, "-o", cal).code == 0
        assert vlmcal("calibrate", "apply", cal, unseen, "-o", tmp_path / "o.npz").code == code
    words = ["'cat'", "'red'", "for each class"]
    refused(
        "calibrate",
        "apply",
        tmp_path / "vector.json",
        unseen,
        "-o",
        tmp_path / "p.npz",
        words=words,
    )
    assert not (tmp_path / "p.npz").exists()


def test_absent_classes(refused, vlmcal, tmp_path, unseen):
    val = write(tmp_path / "val.npz", **without(scores(), 2))
    fit = ("calibrate", "fit", val, "-o", tmp_path / "c.json", "-m")
    refused(*fit, "vector", words=["1 of 3 classes", '("2")', "--allow-absent"])
    assert vlmcal(*fit, "temperature").code == 0
    allowed = vlmcal(*fit, "vector", "--allow-absent")
    assert allowed.code == 0
    assert "note: " in allowed.err
    assert "no fitting row of 1 of 3 classes" in allowed.err
    result = vlmcal("calibrate", "compare", val, unseen)
    assert result.code == 0
    assert "left out: vector: " in result.out
    refused("calibrate", "compare", val, unseen, "-m", "vector", words=["1 of 3 classes"])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("bound=[0.1,10]", ['no option "bound"', '"bounds"']),
        ("bounds", ["KEY=VALUE"]),
        ("bounds=wide", ["bounds", "a list of 2 numbers", "'wide'"]),
        ("loss=hinge", ["loss", "nll", "hinge"]),
        ("bounds=[10,0.1]", ["smallest < largest"]),
    ],
)
def test_wrong_options(refused, val, tmp_path, option, words):
    call = ("calibrate", "fit", val, "--option", option, "-o", tmp_path / "c.json")
    refused(*call, words=words)


def test_options_reach_the_calibrator(vlmcal, val, tmp_path):
    cal = tmp_path / "c.json"
    call = ("calibrate", "fit", val, "-m", "histogram", "--option", "bins=7", "-o", cal)
    assert vlmcal(*call).code == 0
    assert json.loads(cal.read_text())["parameters"]["bins"] == 7


def test_every_default_of_every_method_is_an_acceptable_option():
    for registry in (CALIBRATORS, CONFORMAL):
        for name, kind in registry.items():
            for key, value in vars(kind()).items():
                if key in kind.__dataclass_fields__ and isinstance(value, (int, float, str, bool)):
                    text = json.dumps(value) if not isinstance(value, str) else value
                    assert getattr(made(registry, name, [f"{key}={text}"]), key) == value


def test_unknown_names_and_missing_extras(refused, val, unseen, tmp_path):
    out = tmp_path / "c.json"
    refused("calibrate", "fit", val, "-m", "temprature", "-o", out, words=['"temperature"'])
    refused("calibrate", "compare", val, unseen, "-m", "temprature", words=['"temperature"'])
    refused("calibrate", "compare", val, unseen, "--criterion", "briar", words=['"brier"'])
    refused(
        "calibrate", "fit", val, "-m", "sals", "-o", out, words=["zero_shot_logits", "no extras"]
    )
    refused("calibrate", "compare", val, unseen, "-m", "dac", words=["text_features"])
    refused("calibrate", "fit", tmp_path / "no.npz", "-o", out, words=["no.npz", "no such file"])


def test_names_of_results_are_checked_first(refused, cal, val, unseen, tmp_path):
    refused("calibrate", "fit", val, "-o", tmp_path / "c.pkl", words=["c.pkl", ".json"])
    refused("calibrate", "apply", cal, unseen, "-o", tmp_path / "o.xyz", words=["o.xyz", ".npz"])
    refused("calibrate", "apply", cal, unseen, "-o", unseen, words=["input"])
    page = ("--report", tmp_path / "r.txt")
    out = tmp_path / "o.npz"
    refused("calibrate", "apply", cal, unseen, "-o", out, *page, words=["r.txt", ".html"])
    assert not out.exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], ["not valid JSON"]),
        (lambda text: "[]", ["not a saved calibrator"]),
        (lambda text: text.replace('"format": 2', '"format": 9'), ["format 9", "update"]),
        (lambda text: text.replace('"temperature_"', '"temp_"'), ["temperature_", "fit it again"]),
        (lambda text: text.replace('"calibrator": "temp', '"calibrator": "tmp'), ['"temperature"']),
        (lambda text: text.replace('"parameters": {', '"parameters": [], "x": {'), ["cal.json"]),
    ],
)
def test_damaged_calibrators(refused, cal, unseen, tmp_path, damage, words):
    cal.write_text(damage(cal.read_text()))
    refused("calibrate", "apply", cal, unseen, "-o", tmp_path / "o.npz", words=words)


def test_a_damaged_npz_file(refused, val, tmp_path):
    bad = tmp_path / "bad.npz"
    bad.write_bytes(val.read_bytes()[:200])
    refused("calibrate", "fit", bad, "-o", tmp_path / "c.json", words=["bad.npz", "truncated"])
    two = write(tmp_path / "two.npz", **scores(), probs=np.full((300, 3), 1 / 3))
    refused("calibrate", "fit", two, "-o", tmp_path / "c.json", words=["--logits", "--probs"])


def test_a_full_disk_leaves_no_half_file(refused, cal, val, unseen, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = cal.read_text()
    monkeypatch.setattr(atomic.os, "fsync", full)
    refused("calibrate", "fit", val, "-m", "platt", "-o", cal, words=["no space left"])
    refused("calibrate", "apply", cal, unseen, "-o", tmp_path / "o.npz", words=["no space left"])
    assert cal.read_text() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cal.json", "test.npz", "val.npz"]


def test_methods_may_be_repeated_or_stand_with_commas(vlmcal, val, unseen):
    for given in (
        ("-m", "temperature", "-m", "histogram(bins=7, strategy=equal_mass)"),
        ("-m", "temperature,histogram(bins=7, strategy=equal_mass)"),
    ):
        shown = vlmcal("calibrate", "compare", val, unseen, *given).out
        assert "temperature " in shown
        assert "histogram(bins=7, strategy=equal_mass)" in shown


def test_a_wrong_option_in_parentheses_is_refused(refused, val, unseen):
    compare = ("calibrate", "compare", val, unseen, "-m", "temperature", "-m")
    refused(*compare, "histogram(bins=ten)", words=["histogram", "a whole number", "'ten'"])
    refused(*compare, "histogram(bin=10)", words=['no option "bin"', '"bins"'])
