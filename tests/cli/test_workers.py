"""``vlmcal run --engine``: the same results from several processes, and what failed."""

import json
import re

import pytest
import yaml


@pytest.fixture
def spec(tmp_path, small_images, tiny_folder):
    path = tmp_path / "spec.yaml"
    content = {
        "data": {"path": str(small_images), "protocol": "base-to-new"},
        "backbone": str(tiny_folder),
        "method": ["zero_shot", {"name": "coop", "n_ctx": 4}],
        "objective": "ce",
        "shots": 2,
        "seed": "1..2",
        "train": {"epochs": 2, "batch_size": 4},
        "evaluate": {"resamples": 100},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def predictions(store):
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("predictions/*.safetensors")}


def test_processes_give_what_one_process_gives(vlmcal, spec, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    calm = vlmcal("run", spec, "--store", one)
    assert calm.code == 0, calm.err
    done = vlmcal("run", spec, "--store", two, "--engine", "processes", "--workers", 2)
    assert done.code == 0, done.err
    assert done.out == calm.out
    assert "[3/3]" in done.err
    assert done.err.count(": done (") == 3
    assert {p.parent.name for p in one.glob("runs/*/status.json")} == {
        p.parent.name for p in two.glob("runs/*/status.json")
    }
    assert not list(two.rglob("working.json"))
    assert not list(two.glob("failed/*"))


def test_a_crash_is_kept_with_its_traceback_and_tried_again_on_demand(
    vlmcal, refused, spec, tmp_path, monkeypatch
):
    from vlmcal.learners.coop import CoOp

    def crash(learner, *_):
        crashes.append(learner)
        if len(crashes) == 2:
            raise MemoryError
        return 1 / 0

    store, crashes = tmp_path / "store", []
    call = ("run", spec, "--store", store)
    with monkeypatch.context() as patch:
        patch.setattr(CoOp, "text_features", crash)
        words = ["ZeroDivisionError: division by zero", "MemoryError; a smaller train.batch_size"]
        refused(*call, words=[*words, "--retry-failed", "2 of 3"])
    assert len(list(store.glob("runs/*/status.json"))) == 1
    failed = [json.loads(path.read_text()) for path in sorted(store.glob("failed/*.json"))]
    assert len(failed) == 2
    assert "Traceback (most recent call last)" in failed[0]["traceback"]
    assert any("1 / 0" in each["traceback"] for each in failed)
    again = "it failed before, and was not tried again: ZeroDivisionError"
    refused(*call, words=[again, "with --retry-failed where it says so"])
    assert f"tracebacks: {store}/failed" in vlmcal("status", store).out
    again = vlmcal(*call, "--retry-failed")
    assert again.code == 0, again.err
    assert len(list(store.glob("runs/*/status.json"))) == 3
    assert not list(store.glob("failed/*"))


def test_what_the_user_can_mend_is_tried_by_every_run(
    vlmcal, refused, spec, small_images, tmp_path
):
    import shutil

    store, copy = tmp_path / "store", tmp_path / "copy"
    shutil.copytree(small_images, copy)
    kept = (copy / "red cat" / "00.png").read_bytes()
    (copy / "red cat" / "00.png").write_bytes(b"")
    call = ("run", spec, f"data.path={copy}", "method=zero_shot", "--store", store)
    refused(*call, words=["cannot be read", "1 of 1"])
    assert len(list(store.glob("failed/*"))) == 1
    (copy / "red cat" / "00.png").write_bytes(kept)
    assert vlmcal(*call).code == 0
    assert not list(store.glob("failed/*"))


def test_options_of_workers_are_checked_before_anything_runs(refused, spec, tmp_path):
    call = ("run", spec, "--store", tmp_path / "store")
    refused(*call, "--workers", 2, words=['engine "inline" has no option "workers"'])
    refused(*call, "--engine", "processes", "--workers", 0, words=["--workers"])
    assert not (tmp_path / "store").exists()


def test_status_tells_done_running_failed_and_missing(vlmcal, refused, spec, tmp_path):
    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.spec import load_spec
    from vlmcal.experiment.store import Failure, Store

    store = tmp_path / "store"
    refused("status", store, words=["no store at", "--store"])
    assert vlmcal("run", spec, "seed=1", "--store", store).code == 0
    cells = plan(load_spec(spec, ["seed=1..4"]))
    shelf = Store(store)
    shelf.remember_plan(cells, "grid")
    shelf.keep_failure(cells[3], Failure("the disk fell out", "Traceback ...", mendable=False))
    about = {"key": cells[2].key, "label": cells[2].label()}
    with shelf.lock("0123456789abcdef", wait=False, about=about) as mine:
        assert mine
        shown = vlmcal("status", store).out
        numbers = json.loads(vlmcal("status", store, "--json").out)
    assert "grid: 5 cells, 2 done, 1 running, 1 failed, 1 missing; about 0:0" in shown
    assert "failed  " in shown
    assert "seed 3: the disk fell out" in shown
    assert "running  " in shown
    assert re.search(r"seed 2 \(0:\d\d\): process \d+ on ", shown)
    latest, first = numbers["plans"]
    assert latest["counts"] == {"done": 2, "running": 1, "failed": 1, "missing": 1}
    assert latest["cells"][0]["run"] in {p.name for p in (store / "runs").iterdir()}
    assert latest["seconds_left"] > 0
    assert first["counts"]["done"] == 2
    assert first["seconds_left"] is None or first["seconds_left"] == 0
    (store / "runs" / "0123456789abcdef").mkdir(exist_ok=True)
    (store / "runs" / "0123456789abcdef" / "working.json").write_text(
        json.dumps({**about, "host": "elsewhere", "pid": 1, "since": 0})
    )
    after = vlmcal("status", store, "--all").out
    assert "2 missing" in after
    assert "begun by process 1 on elsewhere, which has ended" in after
    assert after.count("  done  ") == 4


def test_a_plan_says_what_is_there_and_what_the_rest_costs(vlmcal, spec, tmp_path):
    store = tmp_path / "store"
    call = ("run", spec, "seed=1..5", "--store", store, "--plan")
    empty = vlmcal(*call)
    assert "6 cells: 0 in the store, 6 to run" in empty.out
    assert "how long is not known" in empty.out
    assert not store.exists()
    measured = vlmcal(*call, "--measure", 2)
    assert measured.code == 0, measured.err
    assert "6 cells: 2 in the store, 4 to run" in measured.out
    assert "about 0:0" in measured.out
    assert "GB of memory" in measured.out
    assert len(list(store.glob("runs/*/status.json"))) == 2
    two = vlmcal(*call, "--engine", "processes", "--workers", 2)
    assert "on 2 workers" in two.out
    more = vlmcal(*call, "method=kgcoop")
    assert "how long is not known" in more.out
