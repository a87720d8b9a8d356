"""``vlmcal run``, ``train`` and ``predict``: results, resuming, and everything that can go wrong."""

import csv
import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from vlmcal.io import atomic
from vlmcal.io.predictions import load_predictions


@pytest.fixture
def spec(tmp_path, small_images, tiny_folder):
    path = tmp_path / "spec.yaml"
    content = {
        "data": {"path": str(small_images), "protocol": "base-to-new"},
        "backbone": str(tiny_folder),
        "method": ["zero_shot", {"name": "coop", "n_ctx": 4}],
        "objective": ["ce", ["ce", "tcpt"]],
        "shots": 2,
        "seed": 1,
        "train": {"epochs": 3, "batch_size": 4},
        "evaluate": {"resamples": 100},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def status_files(store):
    return sorted((store / "runs").glob("*/status.json"))


def test_what_is_damaged_in_the_store_is_measured_again_or_left_out(vlmcal, spec, tmp_path):
    store = tmp_path / "store"
    first = vlmcal("run", spec, "--store", store)
    for path in (store / "runs").glob("*/evaluations/*.json"):
        path.write_text("{")
    again = vlmcal("run", spec, "--store", store)
    assert again.code == 0
    assert "it is measured again" in again.err
    assert again.out == first.out
    run = sorted((store / "runs").iterdir())[0]
    (run / "status.json").write_text("[]")
    rest = vlmcal("run", spec, "--store", store)
    assert "Traceback" not in rest.out + rest.err
    assert f"remove {run} and run again" in " ".join(rest.err.split())
    assert rest.err.count("in the store") == 2
    assert rest.code == 2


def test_a_grid_runs_and_running_it_again_does_nothing(vlmcal, spec, tmp_path):
    store = tmp_path / "store"
    result = vlmcal("run", spec, "--store", store, "-o", tmp_path / "report.html")
    assert result.code == 0, result.err
    assert len(status_files(store)) == 3
    assert "), 4 train, 4 calibration, 8 test base, 8 test new images" in result.err
    assert "coop" in result.out
    assert "temperature" in result.out
    assert (tmp_path / "report.html").stat().st_size > 5000
    stamps = [p.stat().st_mtime_ns for p in status_files(store)]
    again = vlmcal("run", spec, "--store", store)
    assert again.code == 0
    assert again.err.count("in the store") == 3
    assert [p.stat().st_mtime_ns for p in status_files(store)] == stamps
    assert again.out == result.out
    more = vlmcal("run", spec, "seed=1..2", "--store", store)
    assert more.err.count("in the store") == 3
    assert len(status_files(store)) == 5


def test_plan_lists_cells_without_running(vlmcal, spec, tmp_path):
    result = vlmcal("run", spec, "--plan", "--store", tmp_path / "store")
    assert "3 cells" in result.out
    assert not (tmp_path / "store").exists()


def test_checkpoints_are_gone_and_runs_are_small(vlmcal, spec, tmp_path):
    store = tmp_path / "store"
    vlmcal("run", spec, "--store", store)
    assert not list(store.rglob("checkpoint*"))
    learners = list(store.rglob("learner.safetensors"))
    assert all(path.stat().st_size < 20_000 for path in learners)


def test_train_then_predict_also_with_other_names(vlmcal, small_images, tiny_folder, tmp_path):
    store = tmp_path / "store"
    result = vlmcal(
        *("train", small_images, "--backbone", tiny_folder, "--shots", 2, "--epochs", 2),
        *("--objective", "ce+tcpt", "--store", store),
    )
    assert result.code == 0, result.err
    assert '"zero_shot"' in "".join(p.read_text() for p in status_files(store))
    (run,) = [p.parent for p in status_files(store) if '"zero_shot"' not in p.read_text()]
    image = small_images / "red cat" / "00.png"
    answer = vlmcal("predict", run, image, small_images / "green dog", "--json", "--unchecked")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert len(rows) == 13
    for row in rows:
        assert row["calibrated"] == "temperature"
        assert row["label"] in {"red cat", "green dog", "blue bird", "grey fish"}
        assert 0.25 <= row["confidence"] <= 1
    checked = vlmcal("predict", run, image, "--json")
    if json.loads(checked.out)["calibrated"] == "none":
        assert "raw confidence, because temperature" in checked.err
    other = vlmcal("predict", run, image, "--classes", "owl, fox", "--json")
    row = json.loads(other.out)
    assert set(row["probabilities"]) == {"owl", "fox"}
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    by_id = vlmcal("predict", run.name, image, "--store", store, "--calibrator", "none", "--json")
    assert json.loads(by_id.out)["calibrated"] == "none"


def test_methods_without_a_path_to_new_names_are_measured_on_base_classes(vlmcal, spec, tmp_path):
    store = tmp_path / "store"
    result = vlmcal("run", spec, "method=task_res", "objective=ce", "--store", store)
    assert result.code == 0, result.err
    assert "new classes, none: not measured" in result.err
    status = json.loads(status_files(store)[0].read_text())
    assert status["sets"] == ["calibration", "test_base"]


def test_what_training_warns_of_is_a_note_and_no_line_of_code(vlmcal, spec, tmp_path):
    settings = ["method=coop", "objective=ce", "train.batch_size=99"]
    result = vlmcal("run", spec, *settings, "--store", tmp_path / "store")
    assert result.code == 0, result.err
    assert result.err.count("note: batch size 99 is larger than") == 1
    assert "UserWarning" not in result.err


def test_export_writes_one_row_for_each_image(vlmcal, refused, spec, tmp_path):
    store = tmp_path / "store"
    assert vlmcal("run", spec, "method=coop", "--store", store).code == 0
    run = status_files(store)[0].parent
    out = tmp_path / "rows.csv"
    refused("export", "predictions", run, "-o", out, words=["several sets", "base", "new"])
    refused("export", "predictions", run, "-o", out, "--set", "old", words=['no set "old"'])
    done = vlmcal("export", "predictions", run, "-o", out, "--set", "new")
    assert done.code == 0, done.err
    from vlmcal.io.predictions import load_predictions

    stored = load_predictions(run / "predictions" / "test_new.safetensors")
    back = load_predictions(out, scores="logits")
    assert np.allclose(back.logits, stored.logits)
    assert back.ids.tolist() == stored.ids.tolist()
    again = vlmcal("evaluate", out, "--logits", "--resamples", 0)
    assert again.code == 0, again.err
    refused("export", "predictions", tmp_path / "none", "-o", out, words=["no predictions"])


def test_export_writes_the_head_that_predicts(vlmcal, refused, spec, tmp_path):
    from vlmcal.export import load_head

    store = tmp_path / "store"
    assert vlmcal("run", spec, "method=coop", "--store", store).code == 0
    run = status_files(store)[0].parent
    done = vlmcal("export", "head", run.name, "--store", store, "-o", tmp_path / "head")
    assert done.code == 0, done.err
    names = load_head(tmp_path / "head").class_names
    assert f"{len(names)} classes on features of" in done.err
    onnx = pytest.importorskip("onnx")
    assert vlmcal("export", "head", run, "-o", tmp_path / "head.onnx").code == 0
    held = {p.key: p.value for p in onnx.load(tmp_path / "head.onnx").metadata_props}
    assert json.loads(held["class_names"]) == list(names)
    refused("export", "head", tmp_path / "none", "-o", tmp_path / "x", words=["no finished run"])


def test_predict_refuses_what_it_cannot_do(refused, vlmcal, spec, small_images, tmp_path):
    store = tmp_path / "store"
    vlmcal("run", spec, "method=coop", "--store", store)
    run = status_files(store)[0].parent
    zero = tmp_path / "zero.png"
    zero.write_bytes(b"")
    text = tmp_path / "text.png"
    text.write_text("no image")
    refused("predict", run, zero, text, words=["zero.png", "text.png", "2 of 2"])
    refused("predict", run, tmp_path / "none.png", words=["none.png", "does not exist"])
    refused("predict", tmp_path / "norun", zero, words=["no finished run"])
    image = small_images / "red cat" / "00.png"
    refused("predict", run, image, "--classes", "a,a", words=["distinct"])
    refused("predict", run, image, "--calibrator", "temprature", words=['"temperature"'])
    refused("predict", run, image, "--device", "gpu", words=['--device "gpu"', "offers cpu"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method=cop"], ["cop", '"coop"']),
        (["train.epoch=3"], ["epoch", '"epochs"']),
        (["shots=40"], ["fewer", "shots"]),
        (["backbone=pockett"], ["pockett", "pocket"]),
        (["data.protocol=base2new"], ["base2new", "base-to-new"]),
    ],
)
def test_bad_settings(refused, spec, tmp_path, overrides, words):
    refused("run", spec, *overrides, "--store", tmp_path / "store", words=words)


def test_unwritable_store(refused, spec, tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    refused("run", spec, "--store", place / "store", words=["store", "cannot be written"])


def test_unreadable_images_are_all_listed_and_finished_cells_stay(
    refused, spec, small_images, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(small_images, copy)
    for image in (copy / "red cat").iterdir():
        image.write_bytes(b"")
    refused(
        *("run", spec, f"data.path={copy}", "--store", tmp_path / "store"),
        words=["cannot be read", "red cat", "failed (see above)"],
    )


def test_full_disk_while_publishing_loses_nothing(vlmcal, refused, spec, tmp_path, monkeypatch):
    store = tmp_path / "store"
    real = os.replace

    def full(source, target, *rest, **options):
        if str(target).endswith("status.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", full)
        refused("run", spec, "method=coop", "--store", store, words=["space", "again"])
    assert not status_files(store)
    assert vlmcal("run", spec, "method=coop", "--store", store).code == 0
    assert len(status_files(store)) == 2


def test_two_processes_on_one_store(spec, tmp_path):
    store = tmp_path / "store"
    command = [sys.executable, "-m", "vlmcal", "run", str(spec), "--store", str(store)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert len(status_files(store)) == 3
    assert results[0][0] == results[1][0]


def test_kill_in_training_then_the_same_command_gives_the_undisturbed_result(spec, tmp_path):
    def command(store):
        settings = ["method=coop", "objective=ce", "train.epochs=50", "train.batch_size=2"]
        return [sys.executable, "-m", "vlmcal", "run", str(spec), *settings, "--store", str(store)]

    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    subprocess.run(command(calm), check=True, capture_output=True)
    process = subprocess.Popen(
        command(disturbed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(disturbed.rglob("checkpoint.safetensors")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not status_files(disturbed)
    subprocess.run(command(disturbed), check=True, capture_output=True)
    from vlmcal.io.predictions import load_predictions

    for path in sorted(calm.rglob("predictions/*.safetensors")):
        twin = disturbed / path.relative_to(calm)
        assert np.array_equal(load_predictions(path).logits, load_predictions(twin).logits)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("evaluate.calibrators=[temprature]", 'did you mean "temperature"'),
        ("evaluate.metrics=[eces]", 'did you mean "ece"'),
        ("--engine=inlin", 'did you mean "inline"'),
    ],
)
def test_what_no_run_could_be_measured_with_is_refused_before_training(
    tmp_path, refused, wrong, words
):
    spec = tmp_path / "e.yaml"
    spec.write_text("data: digits\nmethod: zero_shot\n")
    refused("run", spec, wrong, "--store", tmp_path / "store", words=[words])
    assert not (tmp_path / "store").exists()


def test_label_sets_from_yaml_on_stored_predictions(vlmcal, refused, spec, tmp_path):
    store, page, numbers = tmp_path / "store", tmp_path / "report.html", tmp_path / "n.json"
    sets = ("evaluate.conformal=[lac, {name: raps, penalty: 0.1}, dac]", "evaluate.alpha=0.4")
    refused("run", spec, *sets, "--plan", words=["evaluate.conformal", '"dac"'])
    sets = ("evaluate.conformal=[lac, {name: raps, penalty: 0.1}]", "evaluate.alpha=0.4")
    few = ("method=coop", "objective=ce", "data.calibration=all")
    call = ("run", spec, *few, "--store", store)
    assert "label sets" not in vlmcal(*call).out
    done = vlmcal(*call, *sets, "--report", page, "--json", numbers)
    assert done.code == 0, done.err
    assert "in the store" in done.err
    assert "label sets, alpha = 0.4" in done.out
    assert "+ raps(penalty=0.1)" in done.out
    found = [r for r in json.loads(numbers.read_text())["rows"] if r["conformal"]]
    assert {(r["conformal"], r["set"]) for r in found} == {
        (name, part) for name in ("lac", "raps(penalty=0.1)") for part in ("base", "new")
    }
    lac = next(r for r in found if r["conformal"] == "lac" and r["set"] == "base")
    folder = store / "runs" / lac["run"] / "predictions"
    held, test = (
        load_predictions(folder / f"{n}.safetensors") for n in ("calibration", "test_base")
    )
    scores = np.sort(1 - held.probabilities()[np.arange(len(held)), held.labels])
    q = scores[int(np.ceil(0.6 * (len(held) + 1))) - 1]
    inside = 1 - test.probabilities()[np.arange(len(test)), test.labels] <= q
    assert lac["evaluation"]["estimates"]["coverage"]["value"] == pytest.approx(inside.mean())
    assert "Label sets" in page.read_text()
    strict = vlmcal(*call, *sets, "evaluate.alpha=0.001")
    assert "lac: not measured" in strict.err
    assert "too few for alpha = 0.001" in strict.err


def test_numbers_go_to_standard_output_alone(vlmcal, spec, tmp_path):
    call = ("run", spec, "method=zero_shot", "--store", tmp_path / "store")
    for words in (("--json", "-"), ("--json",)):
        done = vlmcal(*call, *words)
        assert json.loads(done.out)["rows"][0]["calibrator"] == "none"
        assert "zero_shot" in done.err
    assert vlmcal(*call, "-o", tmp_path / "n.json").code == 0
    assert json.loads((tmp_path / "n.json").read_text()) == json.loads(done.out)


def test_results_are_named_once_and_by_their_ending(refused, spec, tmp_path):
    call = ("run", spec, "--store", tmp_path / "store")
    refused(*call, "-o", tmp_path / "r.txt", words=["r.txt", ".html", ".json"])
    refused(*call, "-o", "a.html", "--report", "b.html", words=["a.html", "--report"])
    refused(*call, "-o", spec, words=["spec.yaml"])
    assert not (tmp_path / "store").exists()


def test_predictions_of_a_folder_go_to_a_table_with_sets_and_a_flag(
    vlmcal, refused, spec, small_images, tmp_path
):
    store, out = tmp_path / "store", tmp_path / "rows.csv"
    call = ("run", spec, "method=coop", "objective=ce", "data.protocol=all-class")
    assert vlmcal(*call, "--store", store).code == 0
    run = status_files(store)[0].parent
    nested = tmp_path / "nested"
    shutil.copytree(small_images, nested)
    (nested / "red cat" / "._00.png").write_bytes(b"no picture")
    words = ("--conformal", "lac", "--alpha", 0.4, "--defer-below", 0.99, "--calibrator", "none")
    done = vlmcal("predict", run, nested, *words, "-o", out)
    assert done.code == 0, done.err
    assert done.out == ""
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 48
    names = ["blue bird", "green dog", "grey fish", "red cat"]
    assert [key for key in rows[0] if key.startswith("p_")] == [f"p_{name}" for name in names]
    held = load_predictions(run / "predictions" / "calibration.safetensors")
    scores = np.sort(1 - held.probabilities()[np.arange(len(held)), held.labels])
    q = scores[int(np.ceil(0.6 * (len(held) + 1))) - 1]
    for row in rows:
        p = {name: float(row[f"p_{name}"]) for name in names}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(p, key=lambda name: p[name])
        assert (row["defer"] == "True") == (float(row["confidence"]) < 0.99)
        kept = {name for name in names if abs(1 - p[name] - q) > 1e-5 and 1 - p[name] < q}
        assert kept <= set(row["set"].split("|"))
    one = vlmcal("predict", run, nested / "red cat" / "00.png", "--calibrator", "none", "--json")
    first = next(row for row in rows if row["image"].endswith("red cat/00.png"))
    assert json.loads(one.out)["confidence"] == pytest.approx(float(first["confidence"]), abs=1e-5)
    refused("predict", run, nested, "--conformal", "lac", "--alpha", 0.001, words=["too few"])
    refused("predict", run, nested, "-o", tmp_path / "rows.txt", words=[".csv"])
    (nested / "red cat" / "bad.png").write_bytes(b"no picture")
    refused("predict", run, nested, "-o", tmp_path / "b.csv", words=["1 of 49", "bad.png"])
    assert not (tmp_path / "b.csv").exists()


def test_the_readme_predicts_as_it_shows(vlmcal, spec, small_images, tmp_path, monkeypatch):
    call = (
        "run",
        spec,
        "method=coop",
        "objective=ce",
        "data.protocol=all-class",
        "data.calibration=all",
    )
    assert vlmcal(*call, "--store", tmp_path / "store").code == 0
    run = status_files(tmp_path / "store")[0].parent
    monkeypatch.chdir(tmp_path)
    shown = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = [line for line in shown.splitlines() if line.startswith("vlmcal predict ")]
    assert any(" -o predictions.csv" in line for line in lines)
    places = {
        "runs/runs/<id>": str(run),
        "new_image.png": str(small_images / "red cat" / "00.png"),
        "folder/": str(small_images),
    }
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        done = vlmcal(
            *(places.get(word, word) for word in words), *(["--alpha", 0.4] * ("aps" in line))
        )
        assert done.code == 0, done.err
    head = (tmp_path / "predictions.csv").read_text().splitlines()[0]
    assert head.startswith("image,predicted,confidence,calibrated,set,defer,p_")


def test_what_a_kill_just_after_publishing_left_is_removed_by_the_same_command(
    vlmcal, spec, tmp_path
):
    store = tmp_path / "store"
    first = vlmcal("run", spec, "--store", store)
    left = [
        path.parent / name
        for path in status_files(store)
        for name in ("working.json", "checkpoint.safetensors")
    ]
    for path in left:
        path.write_text("{}")
    again = vlmcal("run", spec, "--store", store)
    assert (again.code, again.out) == (0, first.out)
    assert not [path for path in left if path.exists()]
