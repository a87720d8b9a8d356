"""``--multi-label`` from table to page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FINDINGS = [
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis"),
    *(
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    ),
]


def chest(path, seed=0, n=160, findings=FINDINGS, truth="{}", blank=False):
    """Fourteen findings of two images a patient, as a clinic exports them."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, len(findings))) * 1.3 - 1
    y = (rng.random(z.shape) < 1 / (1 + np.exp(-0.6 * z))).astype(float)
    if blank:
        y[rng.random(y.shape) < 0.1] = np.nan
        y[rng.random(y.shape) < 0.1] = -1
    p = (1 / (1 + np.exp(-z))).round(4)
    columns = {
        "id": [f"s{seed}i{i}" for i in range(n)],
        "patient": [f"s{seed}p{i // 2}" for i in range(n)],
    }
    columns |= {truth.format(name): y[:, at] for at, name in enumerate(findings)}
    columns |= {f"prob_{name}": p[:, at] for at, name in enumerate(findings)}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_the_command_of_the_guide(vlmcal, tmp_path):
    file = chest(tmp_path / "chest.csv")
    page, numbers, csv = (tmp_path / name for name in ("r.html", "r.json", "r.csv"))
    result = vlmcal(
        "evaluate", file, "--multi-label", "--unit", "patient", "--resamples", "60",
        "--report", page, "--json", numbers, "--csv", csv,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "classes  14: Atelectasis, " in result.out
    assert "each paired with its truth" in result.out
    found = json.loads(numbers.read_text())
    assert len(found["groups"]) == 14
    assert found["reading"]["unit"] == 'column "patient"'
    assert found["estimates"]["macro_auroc"]["low"] is not None
    table = pd.read_csv(csv)
    assert table["finding"].tolist() == [*FINDINGS, "macro", "weighted", "micro"]
    text = page.read_text()
    assert text.count("<svg") == 14
    assert "How the file was read" in text
    assert "Pneumothorax" in text


def test_uncertain_must_be_said(vlmcal, refused, tmp_path):
    file = chest(tmp_path / "chexpert.csv", blank=True, findings=FINDINGS[:5])
    refused("evaluate", file, "--multi-label", words=["uncertain (-1)", "--uncertain"])
    refused("evaluate", file, "--multi-label", "--uncertain", "maybe", words=["no reading"])
    said = ("--uncertain", "ignore", "--blank", "negative")
    result = vlmcal("evaluate", file, "--multi-label", *said, "--dry-run")
    assert result.code == 0
    assert "taken as unknown" in result.out
    assert "taken as absent" in result.out
    assert "AUROC" not in result.out
    refused(
        "evaluate", file, "--probs", "--uncertain", "ignore", words=["belongs to --multi-label"]
    )


def test_conditions_and_what_is_not_for_findings(vlmcal, refused, tmp_path):
    file = chest(tmp_path / "chest.csv", findings=FINDINGS[:3])
    call = ("evaluate", file, "--multi-label", "--resamples", "0")
    assert vlmcal(*call, "--fail-if", "macro_auroc<0.5").code == 0
    assert vlmcal(*call, "--fail-if", "macro_ece>0.0001").code == 1
    refused(*call, "--fail-if", "ece>0.1", words=["not measured", "macro"])
    refused(*call, "--metrics", "ece", words=["--metrics is not for --multi-label"])
    refused(*call, "--positive", "Mass", words=["exclude each other"])


@pytest.mark.parametrize("verb", ["evaluate"])
def test_single_label_readers_name_the_way(refused, tmp_path, verb):
    file = chest(tmp_path / "chest.csv", findings=FINDINGS[:3])
    refused(verb, file, "--probs", "--labels", ",".join(FINDINGS[:3]), words=["--multi-label"])


def test_calibrators_of_findings(vlmcal, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = FINDINGS[:3]
    val, test = chest("val.csv", 1, 240, few), chest("test.csv", 2, 240, few)
    assert vlmcal("calibrate", "fit", val, "--multi-label", "-o", "cal.json").code == 0
    call = ("calibrate", "apply", "cal.json", test, "--multi-label", "-o", "out.csv")
    result = vlmcal(*call, "--report", "r.html", "--json", "r.json")
    assert result.code == 0, result.err
    assert "ECE before %" in result.out
    numbers = json.loads(Path("r.json").read_text())
    assert (
        numbers["after"]["estimates"]["macro_ece"]["value"]
        < numbers["before"]["estimates"]["macro_ece"]["value"]
    )
    again = vlmcal(
        "evaluate", "out.csv", "--multi-label", "--resamples", "0", "--json", "again.json"
    )
    assert again.code == 0, again.err
    value = json.loads(Path("again.json").read_text())["estimates"]["macro_brier"]["value"]
    assert value == pytest.approx(numbers["after"]["estimates"]["macro_brier"]["value"])
    refused(
        "calibrate", "apply", "cal.json", val, "--multi-label", "-o", "o.csv", words=["fitted on"]
    )
    plain = pd.read_csv(test).drop(columns=few)
    plain.to_csv("plain.csv", index=False)
    result = vlmcal(
        "calibrate", "apply", "cal.json", "plain.csv", "--multi-label", "-o", "plain_out.csv"
    )
    assert result.code == 0, result.err
    assert pd.read_csv("plain_out.csv").columns.tolist() == ["id", *(f"prob_{n}" for n in few)]
    result = vlmcal(
        "calibrate", "compare", val, test, "--multi-label", "-m", "none,platt", "--report", "c.html"
    )
    assert result.code == 0, result.err
    assert "chosen: platt" in result.out
    pasted = next(x for x in result.out.splitlines() if x.startswith("fit it with: vlmcal "))
    assert vlmcal(*pasted.removeprefix("fit it with: vlmcal ").split()).code == 0


def test_sets_of_findings(vlmcal, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = FINDINGS[:3]
    val, test = chest("val.csv", 1, 200, few), chest("test.csv", 2, 200, few)
    result = vlmcal("conformal", "fit", val, "--multi-label", "--alpha", ".1", "-o", "sets.json")
    assert result.code == 0, result.err
    assert "in the set from" in result.out
    result = vlmcal(
        "conformal",
        "apply",
        "sets.json",
        test,
        "--multi-label",
        "-o",
        "sets.csv",
        "--report",
        "s.html",
    )
    assert result.code == 0, result.err
    assert "missed findings" in result.out
    table = pd.read_csv("sets.csv", keep_default_na=False)
    assert [n for n in few if table[n][0]] == [n for n in table["findings"][0].split("|") if n]
    refused(
        "conformal",
        "fit",
        val,
        "--multi-label",
        "-m",
        "aps",
        "-o",
        "x.json",
        words=["no sets of findings"],
    )
    refused(
        "conformal", "apply", "sets.json", val, "--multi-label", "-o", "x.csv", words=["fitted on"]
    )
