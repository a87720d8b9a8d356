"""Every command that a verb on tables prints works as printed, and every report goes out in every form."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

PRINTED = re.compile(r"(?:with|next): (vlmcal .+)$", re.MULTILINE)
FORMS = ("csv", "latex", "markdown", "report", "json")


def classes(path, seed=0, n=90, names=("cat", "dog, small", "barn owl"), shift=0):
    """Scores of three classes with names that a shell would part, labels counted from ``shift``."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3)) * 2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(3, p=row) for row in p])
    frame = pd.DataFrame({f"my {name}": p[:, at] for at, name in enumerate(names)})
    frame["the label"] = label + shift if shift else np.array(names)[label]
    frame["the patient"] = [f"s{seed}p{i // 2}" for i in range(n)]
    frame["age"] = rng.integers(20, 90, n)
    frame.to_csv(path, index=False)
    return path


def findings(path, seed=0, n=160):
    rng = np.random.default_rng(seed)
    p = rng.random((n, 2))
    y = (rng.random(p.shape) < p).astype(int)
    pd.DataFrame(
        {"Edema": y[:, 0], "Mass": y[:, 1], "prob_Edema": p[:, 0], "prob_Mass": p[:, 1]}
    ).to_csv(path, index=False)
    return path


READING = ["--probs", "--labels", "the label", "--unit", "the patient", "--exclude", "age"]


@pytest.mark.parametrize(
    ("make", "reading"),
    [
        (classes, READING),
        (classes, [*READING, "--prefix", "my "]),
        (
            lambda path, seed=0: classes(path, seed, shift=1),
            [*READING, "--classes", 'my cat=cat,"my dog, small",my barn owl', "--first-label", "1"],
        ),
        (findings, ["--multi-label"]),
    ],
)
def test_the_fit_that_a_comparison_prints(vlmcal, tmp_path, monkeypatch, make, reading):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "val rows.csv")
    make(tmp_path / "it's a test.csv", seed=1)
    result = vlmcal(
        "calibrate", "compare", "val rows.csv", "it's a test.csv", *reading, "-m", "platt"
    )
    assert result.code == 0, result.err
    commands = PRINTED.findall(result.out + result.err)
    assert commands
    for command in commands:
        pasted = vlmcal(*shlex.split(command)[1:])
        assert pasted.code == 0, (command, pasted.err)
    applied = vlmcal(
        *("calibrate", "apply", "calibrator.json", "it's a test.csv", *reading, "-o", "-")
    )
    assert applied.code == 0, applied.err


def test_the_evaluation_that_an_import_prints(vlmcal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {"question": ["What is it?"] * 40, "answer": ["cat", "dog"] * 20, "gold": ["cat"] * 40}
    )
    frame["conf"] = np.linspace(0.1, 0.9, 40)
    frame.to_csv("rows.csv", index=False)
    made = vlmcal(
        *("vqa", "import", "rows.csv", "--confidence", "conf", "--scale", "unit"),
        "-o",
        "my answers",
    )
    assert made.code == 0, made.err
    (command,) = PRINTED.findall(made.out + made.err)
    pasted = vlmcal(*shlex.split(command)[1:])
    assert pasted.code == 0, pasted.err
    assert (tmp_path / "report.html").exists()


def calls(folder):
    """A call of every verb that makes a report of tables."""
    val, test = classes(folder / "val.csv"), classes(folder / "test.csv", 1)
    other = classes(folder / "other.csv", 2)
    frame = pd.read_csv(test)
    frame.iloc[:, :3] = pd.read_csv(other).iloc[:, :3]
    frame.to_csv(other, index=False)
    chest = findings(folder / "chest.csv")
    return {
        "evaluate clinical": (
            "evaluate",
            test,
            *READING,
            "--resamples",
            60,
            "--preset",
            "clinical",
        ),
        "evaluate findings": ("evaluate", chest, "--multi-label", "--resamples", 60),
        "compare": ("compare", test, other, *READING, "--resamples", 60),
        "calibrate compare": ("calibrate", "compare", val, test, *READING, "-m", "temperature"),
        "conformal compare": ("conformal", "compare", val, test, *READING, "-m", "lac,aps"),
    }


@pytest.mark.parametrize(
    "verb",
    [
        *("evaluate clinical", "evaluate findings", "compare", "calibrate compare"),
        "conformal compare",
    ],
)
def test_every_report_goes_out_in_every_form(vlmcal, tmp_path, verb):
    endings = {"csv": "csv", "latex": "tex", "markdown": "md", "report": "html", "json": "json"}
    files = {form: tmp_path / f"out.{ending}" for form, ending in endings.items()}
    options = [word for form in FORMS for word in (f"--{form}", files[form])]
    result = vlmcal(*calls(tmp_path)[verb], *options, "--figures", tmp_path / "figures")
    assert result.code == 0, result.err
    assert len(pd.read_csv(files["csv"])) > 0
    latex = files["latex"].read_text()
    for name in ("table", "tabular"):
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}")
    rules = [latex.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")]
    assert rules[0] >= 1
    assert rules[0] == rules[2] <= rules[1]
    for body in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", latex, re.DOTALL):
        lines = [x for x in body.splitlines() if x.rstrip().endswith(r"\\") and "multicol" not in x]
        widths = {len(re.findall(r"(?<!\\)&", line)) for line in lines}
        assert len(widths) == 1, body
    assert "|" in files["markdown"].read_text()
    drawn = sorted((tmp_path / "figures").iterdir())
    starts = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<"}
    assert {path.suffix for path in drawn} == set(starts)
    for path in drawn:
        content = path.read_bytes()
        assert content.startswith(starts[path.suffix])
        assert len(content) > 1000
