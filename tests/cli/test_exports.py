"""Tables and figures as files, from every verb that makes a report."""

import csv
import subprocess
import sys

import pytest
import yaml

NAMES = ("table.csv", "table.tex", "table.md", "figures")


def exports(folder):
    csv_, latex, markdown, figures = (folder / name for name in NAMES)
    return "--csv", csv_, "--latex", latex, "--markdown", markdown, "--figures", figures


def written(folder, head):
    """Check all four; returns the lines of the CSV."""
    with (folder / "table.csv").open(newline="") as stream:
        lines = list(csv.reader(stream))
    assert lines[0][0] == head
    assert len(lines) > 1
    assert (folder / "table.tex").read_text().startswith("% ")
    assert r"\begin{tabular}" in (folder / "table.tex").read_text()
    assert (folder / "table.md").read_text().startswith("## ")
    endings = sorted(path.suffix for path in (folder / "figures").iterdir())
    assert len(endings) >= 3
    assert set(endings) == {".pdf", ".png", ".svg"}
    return lines


def test_evaluate(vlmcal, val, tmp_path):
    result = vlmcal(
        "evaluate", val, "--metrics", "accuracy,ece", "--resamples", 0, *exports(tmp_path)
    )
    assert result.code == 0, result.err
    lines = written(tmp_path, "metric")
    assert [line[0].split()[0] for line in lines[1:]] == ["accuracy", "ECE"]
    assert 0 < float(lines[1][1]) < 1


@pytest.mark.parametrize(
    ("verb", "head"),
    [
        (("calibrate", "compare", "-m", "temperature,none"), "calibrator"),
        (("conformal", "compare", "-m", "lac,aps"), "method"),
    ],
)
def test_comparisons(vlmcal, val, unseen, tmp_path, verb, head):
    result = vlmcal(*verb[:2], val, unseen, *verb[2:], *exports(tmp_path))
    assert result.code == 0, result.err
    assert len(written(tmp_path, head)) == 3


def test_apply(vlmcal, val, unseen, tmp_path):
    assert vlmcal("calibrate", "fit", val, "-o", tmp_path / "t.json").code == 0
    applied = ("calibrate", "apply", tmp_path / "t.json", unseen, "-o", tmp_path / "rows.npz")
    assert vlmcal(*applied, *exports(tmp_path)).code == 0
    written(tmp_path, "metric")


def test_run(vlmcal, small_images, tiny_folder, tmp_path):
    spec = {
        "data": {"path": str(small_images)},
        "backbone": str(tiny_folder),
        "method": "zero_shot",
        "evaluate": {"resamples": 100},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    result = vlmcal(
        "run", tmp_path / "spec.yaml", "--store", tmp_path / "store", *exports(tmp_path)
    )
    assert result.code == 0, result.err
    written(tmp_path, "method")


def test_answers(vlmcal, tmp_path):
    rows = ["id,question,answer,reply,stated"]
    rows += [f"q{i},Is it {i}?,yes,{'yes' if i % 3 else 'no'},{50 + i}" for i in range(40)]
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n")
    made = vlmcal(
        *("vqa", "import", tmp_path / "in.csv", "--answer", "reply", "--gold", "answer"),
        *("--confidence", "stated", "--scale", "percent", "-o", tmp_path / "answers"),
    )
    assert made.code == 0, made.err
    result = vlmcal("vqa", "evaluate", tmp_path / "answers", "--resamples", 0, *exports(tmp_path))
    assert result.code == 0, result.err
    written(tmp_path, "elicitor")


def test_names_are_checked_before_anything_is_computed(refused, val, tmp_path):
    refused("evaluate", val, "--csv", tmp_path / "table.xls", words=["table.xls", ".csv"])
    refused("evaluate", val, "--figures", val, words=["--figures", "is a file"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val.npz"]


def test_without_a_page_or_figures_no_picture_is_drawn(val, tmp_path):
    code = (
        "import sys; from vlmcal.cli import main\n"
        f"sys.argv = ['vlmcal', 'evaluate', {str(val)!r}, '--resamples', '0', '--csv', "
        f"{str(tmp_path / 'table.csv')!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('drawn' if 'vlmcal.report.exports' in sys.modules else 'none drawn')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.endswith("none drawn\n")
