"""Any table through every verb: the plan first, names and scales kept, commands that work when pasted."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest


def scans(path, seed=0, n=240, labels=True, rounded=3):
    """Risks of a model that is right about half its errors, as a clinic exports them."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    risk = 1 / (1 + np.exp(-2 * score))
    ill = rng.random(n) < 1 / (1 + np.exp(-score))
    frame = pd.DataFrame(
        {
            "patient": [f"p{i // 2}" for i in range(n)],
            "age": rng.integers(30, 90, n),
            "sex": rng.choice(["f", "m"], n),
            "prob_benign": (1 - risk).round(rounded),
            "prob_malignant": risk.round(rounded),
            "diagnosis": np.where(ill, "malignant", "benign"),
        }
    )
    frame = frame if labels else frame.drop(columns="diagnosis")
    frame.to_csv(path, index=False)
    return path


def test_the_plan_of_the_guide(vlmcal, tmp_path):
    file = scans(tmp_path / "scans.csv")
    call = (
        "evaluate",
        file,
        "--probs",
        "--labels",
        "diagnosis",
        "--unit",
        "patient",
        "--by",
        "sex",
    )
    result = vlmcal(*call, "--dry-run")
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "reading scans.csv: CSV, 240 rows",
        '  label    column "diagnosis" (names of classes)',
        "  classes  2: benign, malignant (prob_* match the label values)",
        "  scores   probabilities (as said)",
        '  unit     column "patient"',
        "  by       sex",
        "  left out age (named like an age)",
        "",
    ]


def test_the_command_of_the_readme_and_the_plan_everywhere(vlmcal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scans(tmp_path / "predictions.csv")
    line = "evaluate predictions.csv --probs --labels diagnosis --unit patient -o report.html"
    result = vlmcal(*line.split(), "--json", "n.json", "--resamples", 50)
    assert result.code == 0, result.err
    assert result.out.startswith("reading predictions.csv")
    data = json.loads((tmp_path / "n.json").read_text())
    assert data["reading"]["columns"] == ["prob_benign", "prob_malignant"]
    page = (tmp_path / "report.html").read_text()
    assert page.index("How the file was read") < page.index("Measurements")
    assert "prob_* match the label values" in page


def test_subgroups_are_measured_apart_and_small_ones_told(vlmcal, tmp_path):
    file = scans(tmp_path / "scans.csv", n=50)
    result = vlmcal(
        *("evaluate", file, "--probs", "--labels", "diagnosis", "--by", "sex"),
        *("--resamples", 0, "--json", tmp_path / "n.json"),
    )
    assert result.code == 0, result.err
    groups = json.loads((tmp_path / "n.json").read_text())["groups"]
    frame = pd.read_csv(file)
    for sex, part in frame.groupby("sex"):
        right = (part["prob_malignant"] > 0.5) == (part["diagnosis"] == "malignant")
        assert groups[f"sex = {sex}"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert "Fewer than 30 rows" in result.out


def test_units_are_not_subgroups(vlmcal, tmp_path):
    file = scans(tmp_path / "scans.csv", n=40)
    for option in ("--unit", "--group"):
        result = vlmcal(
            *("evaluate", file, "--probs", "--labels", "diagnosis", option, "patient"),
            *("--json", tmp_path / "n.json", "--resamples", 20),
        )
        assert result.code == 0, result.err
        assert json.loads((tmp_path / "n.json").read_text())["groups"] == {}
        assert "20 groups as the units" in result.out


def test_the_printed_command_works_when_pasted(vlmcal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("val rows.csv", 0), ("test.csv", 1)):
        frame = pd.read_csv(scans(tmp_path / name, seed))
        frame = frame.rename(columns={"diagnosis": "true dx", "prob_malignant": "risk"})
        frame["other"] = frame["risk"] ** 2
        frame.drop(columns="prob_benign").to_csv(tmp_path / name, index=False)
    reading = [
        "--probs",
        "--labels",
        "true dx",
        "--positive",
        "risk",
        "--positive-label",
        "malignant",
    ]
    result = vlmcal(
        "calibrate", "compare", "val rows.csv", "test.csv", *reading, "-m", "temperature"
    )
    assert result.code == 0, result.err
    line = next(x for x in result.out.splitlines() if x.startswith("fit it with: "))
    words = shlex.split(line.removeprefix("fit it with: "))
    assert words[0] == "vlmcal"
    pasted = vlmcal(*words[1:])
    assert pasted.code == 0, pasted.err
    assert (tmp_path / words[-1]).exists()


def test_apply_needs_no_labels_and_keeps_names_and_scale(vlmcal, refused, tmp_path):
    val, new = scans(tmp_path / "val.csv"), scans(tmp_path / "new.csv", seed=2, labels=False)
    cal, sets = tmp_path / "cal.json", tmp_path / "sets.json"
    reading = ("--probs", "--labels", "diagnosis")
    assert vlmcal("calibrate", "fit", val, *reading, "-o", cal).code == 0
    assert vlmcal("conformal", "fit", val, *reading, "-o", sets).code == 0
    result = vlmcal("calibrate", "apply", cal, new, "--probs", "-o", tmp_path / "out.csv")
    assert result.code == 0, result.err
    assert "nothing is measured" in result.err
    out = pd.read_csv(tmp_path / "out.csv")
    assert out.columns.tolist() == ["id", "prob_benign", "prob_malignant"]
    np.testing.assert_allclose(out.iloc[:, 1:].sum(axis=1), 1)
    given = pd.read_csv(new)
    assert ((out["prob_malignant"] > 0.5) == (given["prob_malignant"] > 0.5)).all()
    percent = ("--out-scores", "percent", "-o", tmp_path / "percent.csv")
    assert vlmcal("calibrate", "apply", cal, new, "--probs", *percent).code == 0
    hundred = pd.read_csv(tmp_path / "percent.csv")
    np.testing.assert_allclose(hundred.iloc[:, 1:], 100 * out.iloc[:, 1:])
    result = vlmcal("conformal", "apply", sets, new, "--probs", "-o", tmp_path / "sets.csv")
    assert result.code == 0, result.err
    assert pd.read_csv(tmp_path / "sets.csv").columns.tolist()[:3] == ["id", "alpha", "set"]
    page = ("--report", tmp_path / "r.html")
    refused(
        "calibrate", "apply", cal, new, "--probs", "-o", tmp_path / "x.csv", *page, words=["labels"]
    )
    refused(
        *(
            "calibrate",
            "apply",
            cal,
            new,
            "--probs",
            "-o",
            tmp_path / "x.csv",
            "--out-scores",
            "prob",
        ),
        words=['"probs"'],
    )
    labelled = scans(tmp_path / "t.csv", seed=3)
    assert vlmcal("calibrate", "apply", cal, labelled, *reading, "-o", tmp_path / "l.csv").code == 0
    assert set(pd.read_csv(tmp_path / "l.csv")["label"]) == {"benign", "malignant"}


def test_one_confidence_per_row(vlmcal, refused, tmp_path):
    frame = pd.read_csv(scans(tmp_path / "scans.csv"))
    top = frame[["prob_benign", "prob_malignant"]]
    pd.DataFrame(
        {
            "prediction": np.where(top["prob_malignant"] > 0.5, "malignant", "benign"),
            "confidence": top.max(axis=1),
            "label": frame["diagnosis"],
        }
    ).to_csv(tmp_path / "top.csv", index=False)
    values = []
    for file, more in (("scans.csv", ("--labels", "diagnosis")), ("top.csv", ())):
        out = tmp_path / "n.json"
        result = vlmcal(
            *("evaluate", tmp_path / file, "--probs", *more, "--json", out, "--resamples", 0)
        )
        assert result.code == 0, result.err
        values.append(json.loads(out.read_text())["estimates"])
    for metric in ("accuracy", "ece"):
        assert values[0][metric]["value"] == pytest.approx(values[1][metric]["value"], abs=2e-3)
    refused(
        *("calibrate", "fit", tmp_path / "top.csv", "--probs", "-o", tmp_path / "c.json"),
        words=["one confidence per row"],
    )


def test_unknown_columns_and_too_many_subgroups(refused, tmp_path):
    file = scans(tmp_path / "scans.csv")
    call = ("evaluate", file, "--probs", "--labels", "diagnosis")
    refused(*call, "--exclude", "aeg", words=['"age"'])
    refused(*call, "--by", "patient", words=["120 values", "--unit"])
    refused(*call, "--resamples", 99999999999999999999, words=["--resamples"])
    refused(*call, "--percent", words=["--probs and --percent", "exactly one"])


def test_the_clinical_table(vlmcal, refused, tmp_path):
    file, other = scans(tmp_path / "scans.csv", rounded=12), scans(tmp_path / "val.csv", seed=4)
    reading = ("--probs", "--labels", "diagnosis", "--unit", "patient")
    result = vlmcal(
        *("evaluate", file, *reading, "--by", "sex", "--preset", "clinical", "--resamples", 20),
        *("--threshold", "sensitivity=0.9", "--validation", other, "--width", 0.05),
        *("--json", tmp_path / "n.json", "-o", tmp_path / "r.html"),
    )
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "n.json").read_text())["clinical"]
    frame = pd.read_csv(file)
    from sklearn.metrics import roc_auc_score

    truth, risk = frame["diagnosis"] == "malignant", frame["prob_malignant"]
    found = data["measures"]["malignant"]
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, risk))
    assert found["oe"]["value"] == pytest.approx(truth.sum() / risk.sum())
    called = risk >= data["threshold"]
    assert found["ppv"]["value"] == pytest.approx(truth[called].mean())
    assert set(data["subgroups"]) == {"sex = f", "sex = m"}
    for words in ("AUROC (diagnostic)", "calibration slope", "rows for an interval 0.05 wide"):
        assert words in result.out
    page = (tmp_path / "r.html").read_text()
    for words in ("Decision curve", "TRIPOD+AI", "treat all"):
        assert words in page
    refused(
        *("evaluate", file, *reading, "--preset", "clinical", "--threshold", "youden"),
        words=["--validation"],
    )
    refused("evaluate", file, *reading, "--threshold", 0.4, words=["--preset clinical"])
    refused("evaluate", file, *reading, "--preset", "clincal", words=['"clinical"'])


def test_two_classes_are_judged_by_the_positive_one(vlmcal, tmp_path):
    """Errors at p and 1 - p cancel in the top label, not in the class."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=500) * 1.2
    ill = rng.random(500) < 1 / (1 + np.exp(0.7 - z))
    pd.DataFrame({"risk": 1 / (1 + np.exp(-z)), "label": ill.astype(int)}).to_csv(
        tmp_path / "a.csv", index=False
    )
    result = vlmcal(
        "evaluate", tmp_path / "a.csv", "--probs", "--resamples", 20, "-o", tmp_path / "r.html"
    )
    assert result.code == 0, result.err
    headline = next(line for line in result.out.splitlines() if line.startswith("The "))
    assert headline.startswith('The probability of "1" is too high')
    assert "O:E 0." in headline
    page = (tmp_path / "r.html").read_text()
    assert page.index("is too high") < page.index("By the top label")


def test_conditions_that_fail(vlmcal, refused, tmp_path):
    file = scans(tmp_path / "scans.csv")
    call = ("evaluate", file, "--probs", "--labels", "diagnosis", "--resamples", 0)
    assert vlmcal(*call, "--fail-if", "ece>0.9").code == 0
    failed = vlmcal(*call, "--fail-if", "ece>0.9, accuracy < 0.99")
    assert failed.code == 1
    assert "accuracy = 0." in failed.err
    assert vlmcal(*call, "--fail-if", "debiased_ece>=0").code == 1
    refused(*call, "--fail-if", "ecee>0.1", words=["ecee", '"ece"'])
    refused(*call, "--fail-if", "ece", words=["--fail-if", "ece>0.05"])


def test_what_is_suspicious_is_said(vlmcal, tmp_path):
    frame = pd.DataFrame({"a": [0.9] * 50, "b": [0.1] * 50, "label": ["b"] * 40 + ["a"] * 10})
    frame.to_csv(tmp_path / "odd.csv", index=False)
    result = vlmcal("evaluate", tmp_path / "odd.csv", "--probs", "--resamples", 0)
    for words in (
        '50 rows, 2 classes; always "b" would be right in 80.0 %',
        "no better than always saying",
        "All rows have the same confidence, 0.9",
        'predicts only "a"',
        "AUROC (confidence)",
    ):
        assert words in result.out


def test_two_models_on_the_same_rows(vlmcal, refused, tmp_path):
    one, two = scans(tmp_path / "one.csv", rounded=12), tmp_path / "two.csv"
    frame = pd.read_csv(one)
    rng = np.random.default_rng(9)
    worse = np.clip(frame["prob_malignant"] + rng.normal(size=len(frame)) * 0.3, 0.01, 0.99)
    frame["prob_malignant"], frame["prob_benign"] = worse, 1 - worse
    frame.to_csv(two, index=False)
    call = ("compare", one, two, "--probs", "--labels", "diagnosis", "--resamples", 100)
    result = vlmcal(*call, "--json", tmp_path / "n.json", "--report", tmp_path / "r.html")
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "n.json").read_text())
    from sklearn.metrics import roc_auc_score

    first = pd.read_csv(one)
    truth = first["diagnosis"] == "malignant"
    gap = roc_auc_score(truth, first["prob_malignant"]) - roc_auc_score(truth, worse)
    assert data["diagnostic_auroc"]["value"] == pytest.approx(gap)
    right = [(risk > 0.5) == truth for risk in (first["prob_malignant"], worse)]
    assert data["metrics"]["accuracy"]["difference"]["value"] == pytest.approx(
        right[0].mean() - right[1].mean()
    )
    assert data["mcnemar"]["only_first"] == (right[0] & ~right[1]).sum()
    assert "DeLong" in result.out
    assert "McNemar" in (tmp_path / "r.html").read_text()
    shuffled = frame.sample(frac=1, random_state=0).assign(scan=lambda d: d.index)
    shuffled.to_csv(two, index=False)
    first.assign(scan=first.index).to_csv(one, index=False)
    refused(*call, words=["--ids"])
    again = vlmcal(*call, "--ids", "scan", "--unit", "patient", "--json", tmp_path / "m.json")
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "m.json").read_text())["diagnostic_auroc"]["value"] == (
        pytest.approx(gap)
    )
    assert "McNemar" not in again.out


def test_numbers_on_standard_output_stand_alone(vlmcal, tmp_path):
    file = scans(tmp_path / "scans.csv")
    result = vlmcal(
        "evaluate", file, "--probs", "--labels", "diagnosis", "--resamples", 0, "--json", "-"
    )
    assert result.code == 0, result.err
    assert json.loads(result.out)["reading"]["rows"] == 240
    assert result.err.startswith("reading scans.csv")


def test_what_is_expected_without_labels_and_under_other_shares(vlmcal, refused, tmp_path):
    file = scans(tmp_path / "new.csv", labels=False, rounded=12)
    risk = pd.read_csv(file)["prob_malignant"].to_numpy()
    result = vlmcal("expect", file, "--probs")
    assert result.code == 0, result.err
    assert f"expected accuracy {100 * np.maximum(risk, 1 - risk).mean():.2f} %" in result.out
    assert "only if the probabilities are calibrated" in result.out
    shares = ("--from", "malignant=0.5", "--to", "malignant=0.02")
    result = vlmcal("expect", file, "--probs", *shares, "-o", tmp_path / "out.csv")
    assert result.code == 0, result.err
    right = risk * 0.04 / (risk * 0.04 + (1 - risk) * 1.96)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["prob_malignant"], right)
    result = vlmcal("expect", file, "--probs", "--to", "estimate")
    assert result.code == 0, result.err
    assert "can be far off" in result.err
    refused("expect", file, "--probs", "--to", "malignent=0.1", words=['"malignant"'])
    refused("expect", file, "--probs", "-o", tmp_path / "x.csv", words=["--to"])
    refused("expect", file, "--probs", "--to", "malignant=1.5", words=["from 0 to 1"])


def test_weights_and_sampling_fractions(vlmcal, refused, tmp_path):
    file = scans(tmp_path / "scans.csv")
    frame = pd.read_csv(file)
    frame["w"] = np.where(frame["diagnosis"] == "benign", 10, 1)
    frame.to_csv(file, index=False)
    call = (
        "evaluate",
        file,
        "--probs",
        "--labels",
        "diagnosis",
        "--resamples",
        "0",
        "--preset",
        "clinical",
    )
    by_column = vlmcal(
        *call, "--weight", "w", "--json", tmp_path / "a.json", "--report", tmp_path / "a.html"
    )
    assert by_column.code == 0, by_column.err
    assert 'weight   column "w"' in by_column.out
    assert "equal ones" in by_column.out
    share = ("--sampling-fraction", "positive=1,negative=.1")
    by_share = vlmcal(*call, *share, "--json", tmp_path / "b.json")
    assert "1 / share sampled: benign 0.1, malignant 1" in by_share.out
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert one["estimates"] == two["estimates"]
    assert one["clinical"]["measures"] == two["clinical"]["measures"]
    plain = frame["diagnosis"] == "malignant"
    assert one["clinical"]["measures"]["malignant"]["prevalence"]["value"] == pytest.approx(
        plain.sum() / (plain.sum() + 10 * (~plain).sum())
    )
    refused(*call, "--weight", "w", *share, words=["both give weights"])
    refused(*call, "--weight", "sex", words=["is no number"])
    refused(*call, "--sampling-fraction", "malign=1", words=["no class", "malignant"])
