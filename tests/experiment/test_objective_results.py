"""The script that turns a store into docs/results/objectives.md."""

import importlib.util
from pathlib import Path

import pytest

from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io.predictions import load_predictions

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "write_objective_results.py"
    spec = importlib.util.spec_from_file_location("write_objective_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values(base, new):
    """ECE per seed on base and new classes, with an accuracy of one half."""
    found = {}
    for classes, eces in (("base", base), ("new", new)):
        for seed, ece in enumerate(eces, start=1):
            found[classes, "ece", seed] = ece
            found[classes, "accuracy", seed] = 0.5
    return found


def test_table_and_findings_of_known_numbers(script):
    results = {
        "ce": values([0.10, 0.20], [0.30, 0.40]),
        "better": values([0.05, 0.15], [0.10, 0.30]),
        "worse": values([0.11, 0.21], [0.35, 0.45]),
        "mixed": values([0.05, 0.25], [0.25, 0.45]),
        "zero_shot": {("base", "ece", None): 0.08, ("base", "accuracy", None): 0.6},
    }
    results["zero_shot"] |= {("new", "ece", None): 0.09, ("new", "accuracy", None): 0.7}
    lines = script.table(results)
    assert lines[2] == "| zero_shot | 60.0 | 70.0 | 8.0 | 9.0 |  |"
    assert lines[3] == "| ce | 50.0 ± 0.0 | 50.0 ± 0.0 | 15.0 ± 7.1 | 35.0 ± 7.1 |  |"
    # Changes of -20 and -10 points: mean -15, standard deviation 7.07.
    assert lines[4].endswith("| 10.0 ± 7.1 | 20.0 ± 14.1 | -15.0 ± 7.1 |")
    assert all(line.count("|") == 7 for line in lines)
    training, base, new = script.findings(results)
    assert "ECE on base classes from 8.0 to 15.0 %" in training
    assert "accuracy on new classes from 70.0 to 50.0 %" in training
    assert (
        "lower with every seed for 1 of 3 objectives (better), higher with every seed for 1" in base
    )
    assert (
        "lower with every seed for 1 of 3 objectives (better), higher with every seed for 1" in new
    )


def test_a_store_becomes_a_page(script, small_images, tiny_folder, tmp_path, monkeypatch):
    spec = {
        "data": {"path": str(small_images), "protocol": "base-to-new"},
        "backbone": str(tiny_folder),
        "method": ["zero_shot", "coop"],
        "objective": ["ce", ["ce", "dca"]],
        "shots": 2,
        "seed": "1..2",
        "train": {"epochs": 1, "batch_size": 4},
    }
    store = Store(tmp_path / "store")
    bench = Workbench(cache_dir=tmp_path / "cache")
    cells = {r.cell.label(): r.run for r in run_experiment(parse_spec(spec), store, bench=bench)}
    assert len(cells) == 5
    out = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["script", str(store.root), "--out", str(out)])
    script.main()
    text = out.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ce + dca ")]
    accuracy = []
    for seed in (1, 2):
        (run,) = (r for label, r in cells.items() if f"dca | 2 shots | seed {seed}" in label)
        stored = load_predictions(store.folder(run) / "predictions" / "test_new.safetensors")
        accuracy.append((stored.logits.argmax(axis=1) == stored.labels).mean())
    assert rows[0][2].startswith(f"{50 * sum(accuracy):.1f} ±")
    assert "2 shots, 1 epochs; test images: " in text
    assert "What this does not show" in text

    monkeypatch.setattr("sys.argv", ["script", str(tmp_path / "empty"), "--out", str(out)])
    with pytest.raises(SystemExit, match="holds no run"):
        script.main()
