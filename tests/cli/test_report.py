"""``vlmcal report``, and the guide that shows it."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from absent import vlmcal_without
from vlmcal.io.json_files import read_sealed, write_sealed

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "reproduce.md"


@pytest.fixture
def small(vlmcal, tmp_path, monkeypatch):
    """A store with two runs, in the current folder."""
    monkeypatch.chdir(tmp_path)
    data = "shapes(n_classes=4, n_train=2, n_val=2, n_test=3)"
    options = ("--protocol", "base-to-new", "--shots", 2, "--epochs", 1)
    assert vlmcal("train", data, "--method", "zero_shot", *options).code == 0
    assert vlmcal("train", data, "--method", "coop", *options).code == 0
    return tmp_path


def test_the_page_the_tables_and_every_single_row(vlmcal, small):
    given = ("-o", "r.html", "--csv", "r.csv", "--predictions", "rows.parquet", "--resamples", 100)
    answer = vlmcal("report", "runs", *given)
    assert answer.code == 0, answer.err
    assert "coop" in answer.out
    page = (small / "r.html").read_text()
    assert "Methods in small pictures" in page
    assert "text-feature divergence" in page
    rows = pd.read_parquet(small / "rows.parquet")
    assert set(rows["classes"]) == {"base", "new"}
    assert len(rows) == 2 * 12
    assert (rows["correct"] == (rows["label"] == rows["predicted"])).all()
    assert len(pd.read_csv(small / "r.csv")) == 4  # two methods, with and without a temperature


def test_no_method_is_needed_to_read_a_store(vlmcal, small):
    """Nor torch; runs of earlier versions do not say what the method chose itself, so it is asked."""
    given = ("report", "runs", "--resamples", 100, "-o", "r.html")
    shown = vlmcal(*given).out
    assert "epochs=1" in shown

    def without_torch():
        return vlmcal_without(("torch", "transformers"), *given, cwd=small)

    assert without_torch().stdout == shown
    for file in small.glob("runs/runs/*/status.json"):
        record = read_sealed(file)
        assert record.pop("shown")
        write_sealed(file, record)
    assert "this needs the extra: pip install 'vlmcal[train]'" in without_torch().stderr
    assert vlmcal(*given).out == shown


DAMAGES = [
    ("status.json", "{}"),
    ("status.json", "garbage"),
    ("predictions/test_base.safetensors", "garbage"),
    ("predictions/test_base.json", "[]"),
    ("history.json", "{"),
    ("evaluations/prompts.json", "[]"),
]


def test_a_damaged_run_does_not_stop_what_is_said_of_the_others(vlmcal, small):
    runs = sorted((small / "runs" / "runs").iterdir())
    trained = next(run for run in runs if "coop" in (run / "status.json").read_text())
    assert vlmcal("report", "runs", "--resamples", 100, "-o", "r.html").code == 0
    for name, content in DAMAGES:
        file = trained / name
        whole = file.read_bytes()
        file.write_text(content)
        kept = name.startswith(("history", "evaluations"))
        for verb in (
            ("report", "runs", "--resamples", 100, "-o", "r.html", "--predictions", "r.csv"),
            ("status", "runs"),
            ("published", "compare", "runs", "--paper", "calibprompt"),
        ):
            answer = vlmcal(*verb)
            said = " ".join((answer.out + answer.err).split())
            assert answer.code == 0, (name, verb, said)
            assert "Traceback" not in said
            if verb[0] == "report":
                assert ("coop" in answer.out) == kept
                assert (f"{trained.name} is left out" in said) == (not kept), (name, said)
        for verb in (
            ("predict", trained, small / "no.png"),
            ("export", "predictions", trained, "--set", "base", "-o", "one.csv"),
            ("review", trained, "--db", "no.sqlite", "--no-page"),
        ):
            answer = vlmcal(*verb)
            assert "Traceback" not in answer.out + answer.err, (name, verb)
            assert answer.code in (0, 2)
        (small / "no.sqlite").unlink(missing_ok=True)
        file.write_bytes(whole)
    for run in runs:
        (run / "status.json").write_text("{}")
    answer = vlmcal("report", "runs", "--resamples", 100)
    assert answer.code == 2
    assert "holds no run that can be read" in answer.err


def test_a_store_without_runs_is_refused(refused, tmp_path):
    refused("report", tmp_path, words=["holds no finished run"])


def test_the_commands_of_the_guide_work_as_shown(vlmcal, small):
    block = re.search(r"```\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    for line in block.strip().splitlines():
        words = shlex.split(line)[1:]
        if "--smoke" in words or ("--root" in words and "--plan" not in words):
            words += ["--plan"]  # their cells are run in tests/experiment/test_grids.py
        answer = vlmcal(*words)
        assert answer.code == 0, (line, answer.err)
