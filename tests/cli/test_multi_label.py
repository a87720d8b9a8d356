"""``--multi-label`` from table to page."""

import json

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
