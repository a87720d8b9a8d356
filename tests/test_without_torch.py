"""The core: what works on stored scores and answers does so where no extra is installed."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from absent import python_without, vlmcal_without
from cli.posthoc_files import scores, write
from vlmcal.cli import describe

# None of the core needs pandas either; data frames are read where a user has it.
TRAIN = ("torch", "transformers", "tokenizers", "huggingface_hub", "accelerate", "pandas")
KINDS = """
import importlib
from vlmcal.cli.describe import KINDS, first_line, parameters
for kind, entries in KINDS.items():
    listed = entries()
    print(kind, len(listed), all(first_line(entry) for entry in listed.values()))
    for entry in listed.values():
        parameters(entry)
for name in ("calibrators.CALIBRATORS", "conformal.CONFORMAL", "data.DATASETS", "elicit.ELICITORS",
             "elicit.judges.JUDGES", "findings.FINDING_METHODS", "metrics.METRICS"):
    package, _, registry = name.rpartition(".")
    module = importlib.import_module(f"vlmcal.{package}.base")
    assert getattr(module, registry).names()
print([name for name in ABSENT if name in sys.modules])
"""


@pytest.fixture
def call(tmp_path):
    def call(*arguments, code=0):
        result = vlmcal_without(TRAIN, *arguments, cwd=tmp_path)
        assert result.returncode == code, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    return call


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "val.npz", **scores())
    write(tmp_path / "test.npz", **scores(seed=1))
    return tmp_path


def test_everything_is_listed_and_described_without_importing_torch(call):
    result = python_without(TRAIN, KINDS)
    assert result.returncode == 0, result.stderr
    *kinds, imported = result.stdout.splitlines()
    assert imported == "[]"
    assert [kind.rsplit(" ", 2)[0] for kind in kinds] == list(describe.KINDS)
    assert all(line.endswith("True") and line.split()[1] != "0" for line in kinds)
    assert "mean" in call("describe", "tcpt")
    assert "n_ctx" in call("describe", "coop")
    assert "zero_shot" in call("list", "methods")


def test_doctor_finds_the_core_sound_and_names_the_extra(call):
    text = call("doctor")
    assert "train is absent" in text
    assert "pip install 'vlmcal[train]'" in text
    assert "everything works" in text


def test_predictions_are_evaluated_calibrated_and_turned_into_sets(call, files):
    assert "ECE" in call("evaluate", "val.npz", "--resamples", 0, "-o", "report.html")
    call("calibrate", "compare", "val.npz", "test.npz", "-m", "temperature", "-m", "isotonic")
    call("calibrate", "fit", "val.npz", "-m", "temperature", "-o", "cal.json")
    call("calibrate", "apply", "cal.json", "test.npz", "-o", "calibrated.npz")
    call("conformal", "compare", "val.npz", "test.npz", "-m", "lac")
    call("conformal", "fit", "val.npz", "-m", "lac", "-o", "lac.json")
    call("conformal", "apply", "lac.json", "test.npz", "-o", "sets.csv")
    assert (files / "report.html").stat().st_size > 5000
    assert (files / "calibrated.npz").is_file()
    assert (files / "sets.csv").is_file()


def test_findings_are_turned_into_sets(call, tmp_path):
    rows = ["id,oedema,fracture,prob_oedema,prob_fracture"]
    rows += [f"{i},{i % 2},{i % 3 // 2},{i % 10 / 10},{i % 7 / 7:.3f}" for i in range(120)]
    (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
    text = call("conformal", "fit", "val.csv", "--multi-label", "--alpha", 0.2, "-o", "sets.json")
    assert "fitted on 120 rows" in text


def test_answers_are_imported_evaluated_and_calibrated(call, tmp_path):
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["question", "answer", "gold", "stated", "image"])
        for i in range(60):
            right = i % 3 > 0
            rows.writerow([f"Is it {i}?", "yes", "yes" if right else "no", 95 - 20 * (i % 4), i])
    call(
        "vqa",
        "import",
        "table.csv",
        "--confidence",
        "stated",
        "--scale",
        "percent",
        "-o",
        "answers",
    )
    assert "ECE" in call("vqa", "evaluate", "answers", "--resamples", 0, "-o", "report.html")
    call("vqa", "calibrate", "answers", "-m", "platt")


def test_tables_of_every_kind_are_read(call, tmp_path):
    """Times with nanoseconds, too, which Arrow hands over to pandas where that is there."""
    groups = pa.array([i % 3 * 1_000_000_001 for i in range(30)], pa.timestamp("ns"))
    columns = {
        "id": [f"row {i}" for i in range(30)],
        "when": groups,
        "p_cat": [0.2 + i % 5 / 10 for i in range(30)],
        "p_dog": [0.8 - i % 5 / 10 for i in range(30)],
        "label": ["cat" if i % 2 else "dog" for i in range(30)],
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    given = ("--probs", "--group", "when", "--resamples", 0)
    table = call("evaluate", "rows.parquet", *given, "--csv", "rows.csv")
    assert "30 rows" in table
    assert "3 groups" in table or "3 when" in table, table


@pytest.mark.parametrize(
    "arguments",
    [("train", "images"), ("predict", "run", "image.png"), ("demo",), ("run", "spec.yaml")],
)
def test_what_needs_an_extra_says_which(call, files, arguments):
    (files / "spec.yaml").write_text("data: digits\nmethod: zero_shot\n")
    text = call(*arguments, code=2)
    assert text.count("\n") == 1
    assert "torch is not installed; this needs the extra: pip install 'vlmcal[train]'" in text


def test_python_names_the_extra_too():
    code = "import vlmcal\nvlmcal.metrics.ece\nvlmcal.calibrators.Temperature\nvlmcal.fit"
    result = python_without(TRAIN, code)
    assert "MissingExtraError: torch is not installed; this needs the extra" in result.stderr
