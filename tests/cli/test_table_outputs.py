"""Tables of rows: one writer for every verb, and standard output for what is piped on."""

import io

import numpy as np
import pandas as pd
import pytest

READ = {
    ".tsv": lambda file: pd.read_csv(file, sep="\t"),
    ".csv.gz": pd.read_csv,
    ".jsonl": lambda file: pd.read_json(file, lines=True),
    ".parquet": pd.read_parquet,
    ".xlsx": pd.read_excel,
}


def rows(path, seed=0, n=120):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3)) * 2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    names = np.array(["cat", "dog", "owl"])
    label = names[[rng.choice(3, p=row) for row in p]]
    pd.DataFrame(
        {f"p_{name}": p[:, at] for at, name in enumerate(names)} | {"label": label}
    ).to_csv(path, index=False)
    return path


def findings(path, seed=0, n=160):
    rng = np.random.default_rng(seed)
    p = rng.random((n, 2))
    y = (rng.random(p.shape) < p).astype(int)
    columns = {"edema": y[:, 0], "mass": y[:, 1], "p_edema": p[:, 0], "p_mass": p[:, 1]}
    more = {"sex": rng.choice(["f", "m"], n), "age": rng.integers(20, 90, n)}
    pd.DataFrame(columns | more).to_csv(path, index=False)
    return path


def piped(result):
    """What the next program reads: standard output, which holds the table alone."""
    return pd.read_csv(io.StringIO(result.out))


def test_calibrated_rows_and_sets_are_piped_on(vlmcal, tmp_path):
    val, test = rows(tmp_path / "val.csv"), rows(tmp_path / "test.csv", 1)
    vlmcal("calibrate", "fit", val, "--probs", "-m", "temperature", "-o", tmp_path / "c.json")
    applied = vlmcal("calibrate", "apply", tmp_path / "c.json", test, "--probs", "-o", "-")
    frame = piped(applied)
    assert frame.columns.tolist() == ["id", "label", "p_cat", "p_dog", "p_owl"]
    assert len(frame) == 120
    assert "ECE" in applied.err
    vlmcal("conformal", "fit", val, "--probs", "-m", "lac", "-o", tmp_path / "s.json")
    sets = piped(vlmcal("conformal", "apply", tmp_path / "s.json", test, "--probs", "-o", "-"))
    assert len(sets) == 120
    assert {"set", "cat"} <= set(sets)
    crossed = piped(
        vlmcal("calibrate", "cross-fit", val, "--probs", "-o", "-", "-m", "temperature")
    )
    assert len(crossed) == 120
    shifted = vlmcal("expect", test, "--probs", "--to", "cat=0.5", "--to", "dog=0.3", "-o", "-")
    assert len(piped(shifted)) == 120
    assert "expected accuracy" in shifted.err


def test_only_one_result_on_standard_output(refused, tmp_path):
    file = rows(tmp_path / "val.csv")
    call = ("calibrate", "cross-fit", file, "--probs", "-o", "-", "--json", "-")
    refused(*call, words=["only one"])


@pytest.mark.parametrize("ending", sorted(READ))
def test_findings_in_every_kind_of_table(vlmcal, tmp_path, ending):
    file, saved = findings(tmp_path / "chest.csv"), tmp_path / "c.json"
    val = findings(tmp_path / "val.csv", 1)
    vlmcal("calibrate", "fit", val, "--multi-label", "-m", "platt", "-o", saved)
    output = tmp_path / f"out{ending}"
    assert vlmcal("calibrate", "apply", saved, file, "--multi-label", "-o", output).code == 0
    frame = READ[ending](output)
    assert len(frame) == 160
    assert {"p_edema", "edema_true"} <= set(frame)
    again = vlmcal("evaluate", output, "--multi-label", "--resamples", 0)
    assert "2: edema, mass" in again.out


@pytest.mark.parametrize("ending", sorted(READ))
def test_propensities_in_every_kind_of_table(vlmcal, tmp_path, ending):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    treated = (rng.random(300) < 1 / (1 + np.exp(-x))).astype(int)
    frame = pd.DataFrame({"x": x, "t": treated, "y": treated + x + rng.normal(size=300)})
    frame.to_csv(tmp_path / "study.csv", index=False)
    call = (
        "propensity",
        tmp_path / "study.csv",
        "--treatment",
        "t",
        "--outcome",
        "y",
        "--covariates",
        "x",
    )
    output = tmp_path / f"out{ending}"
    assert vlmcal(*call, "-o", output).code == 0
    found = READ[ending](output)
    assert found.columns.tolist() == ["row", "fold", "score", "propensity"]
    assert len(found) == 300
    if ending == ".tsv":
        result = vlmcal(*call, "-o", "-")
        assert piped(result)["propensity"].tolist() == pytest.approx(found["propensity"].tolist())
        assert "effect" in result.err


def test_subgroups_of_findings(vlmcal, refused, tmp_path):
    file = findings(tmp_path / "chest.csv")
    call = ("evaluate", file, "--multi-label", "--resamples", 0, "--by", "sex,age:25:65")
    table, page = tmp_path / "a.csv", tmp_path / "a.html"
    result = vlmcal(*call, "--csv", table, "--report", page, "--json", tmp_path / "a.json")
    assert result.code == 0
    assert "macro AUROC" in result.out
    assert "Fewer than 30 rows" in result.out
    frame = pd.read_csv(table)
    assert frame["subgroup"].unique().tolist() == [
        *("all rows", "sex = f", "sex = m"),
        *("age = 25 to below 65", "age = below 25", "age = from 65"),
    ]
    for column in ("sex", "age"):
        parts = frame[(frame["finding"] == "mass") & frame["subgroup"].str.startswith(column)]
        assert parts["rows"].sum() == 160
    raw = pd.read_csv(file)
    of_women = raw[raw["sex"] == "f"]
    own = frame[(frame["subgroup"] == "sex = f") & (frame["finding"] == "mass")]
    brier = ((of_women["p_mass"] - of_women["mass"]) ** 2).mean()
    assert own["Brier"].item() == pytest.approx(brier)
    assert "Subgroups" in page.read_text()
    refused("evaluate", file, "--multi-label", "--by", "hospital", words=['no column "hospital"'])
