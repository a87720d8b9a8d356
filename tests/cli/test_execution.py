"""How a run computes: precision belongs to its id, compiling does not."""

import json

import pytest

from vlmcal.experiment import workbench


@pytest.fixture
def train(vlmcal, small_images, tiny_folder, tmp_path):
    def call(*extra):
        settings = ("--backbone", tiny_folder, "--shots", 2, "--epochs", 1)
        result = vlmcal("train", small_images, *settings, "--store", tmp_path / "store", *extra)
        assert result.code == 0, result.err
        runs = {p.parent.name: p for p in tmp_path.glob("store/runs/*/status.json")}
        return result, {k: p for k, p in runs.items() if '"zero_shot"' not in p.read_text()}

    return call


def test_compiled_runs_have_the_id_of_others(train, monkeypatch):
    compiled = []
    monkeypatch.setattr(workbench, "compile_towers", lambda encoder: compiled.append(encoder.name))
    train()
    assert compiled == []
    result, runs = train("--compile")
    assert len(compiled) == 1
    assert len(runs) == 1
    assert "in the store" in result.err


def test_precision_makes_another_run_and_predicts_in_it(train, vlmcal, small_images):
    _, plain = train()
    _, both = train("--precision", "bfloat16")
    (mixed,) = set(both) - set(plain)
    assert json.loads(both[mixed].read_text())["cell"]["train"]["precision"] == "bfloat16"
    head = json.loads((both[mixed].parent / "learner" / "learner.json").read_text())
    assert head["precision"] == "bfloat16"
    image = small_images / "red cat" / "00.png"
    rows = []
    for run in (*plain, mixed):
        answer = vlmcal(
            "predict", both[run].parent, image, "--calibrator", "none", "--top", 4, "--json"
        )
        rows.append(dict(sorted(json.loads(answer.out)["probabilities"].items())))
    assert rows[0] != rows[1]
    assert list(rows[1].values()) == pytest.approx(list(rows[0].values()), abs=0.2)


def test_an_unknown_precision_is_refused(refused, small_images, tiny_folder, tmp_path):
    arguments = ("train", small_images, "--backbone", tiny_folder, "--store", tmp_path / "s")
    refused(*arguments, "--precision", "bf16", words=["'bf16'", "bfloat16"])


def test_several_processes_without_accelerate_are_explained(
    refused, small_images, tiny_folder, tmp_path, monkeypatch
):
    from vlmcal.training import parallel

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    arguments = ("train", small_images, "--backbone", tiny_folder, "--store", tmp_path / "s")
    refused(*arguments, words=["2 processes", "vlmcal[accelerate]"])
