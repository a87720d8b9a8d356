"""The commands of docs/guides/clusters.md, as shown, on a grid of two cells."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "clusters.md"


def commands(heading):
    section = GUIDE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^vlmcal .*$", section, re.M)
    assert lines
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def here(tmp_path, monkeypatch, small_images, tiny_folder):
    monkeypatch.chdir(tmp_path)
    shown = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)[1]
    spec = yaml.safe_load(shown)
    spec |= {"data": {"path": str(small_images)}, "backbone": str(tiny_folder)}
    spec |= {"method": ["zero_shot", {"name": "coop", "n_ctx": 4}], "objective": "ce"}
    spec |= {"shots": 2, "seed": 1, "train": {"epochs": 1, "batch_size": 4}}
    spec["evaluate"] = {"resamples": 100}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(spec))
    # Workers of Ray import what the test does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path


def done(store):
    return len(list(store.glob("runs/*/status.json")))


def test_the_grid_of_the_guide_is_one(vlmcal, tmp_path):
    shown = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)[1]
    (tmp_path / "grid.yaml").write_text(shown)
    planned = vlmcal("run", tmp_path / "grid.yaml", "--plan", "--store", tmp_path / "none")
    assert planned.code == 0, planned.err
    assert "13 cells: 0 in the store, 13 to run" in planned.out


def test_on_a_laptop(vlmcal, here):
    for command in commands("On a laptop"):
        result = vlmcal(*command)
        assert result.code == 0, result.err
    assert "grid: 2 cells, 2 done, 0 running, 0 failed, 0 missing" in result.out
    assert done(here / "runs") == 2
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: --track is not run")
    other = GUIDE.with_name("reproduce.md").read_text(encoding="utf-8")
    tracked = vlmcal(*re.search(r"`vlmcal (run grid.yaml --track \w+)`", other)[1].split())
    assert tracked.code == 0, tracked.err
    assert len(list(here.glob("tensorboard/*/events*"))) == 2


@pytest.mark.slow
def test_several_processes(vlmcal, here):
    for command in commands("Several processes"):
        result = vlmcal(*command)
        assert result.code == 0, result.err
    assert result.err.count("in the store") == 2
    assert done(here / "runs") == 2


@pytest.mark.slow
def test_ray(vlmcal, here):
    ray = pytest.importorskip(
        "ray", reason="ray is not installed: the guide's commands are not run"
    )
    ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        for command in commands("Ray"):
            result = vlmcal(*command)
            assert result.code == 0, result.err
    finally:
        ray.shutdown()
    assert done(here / "runs") == 2


def test_slurm(vlmcal, here, monkeypatch):
    submitit = pytest.importorskip("submitit", reason="submitit is not installed: not run")
    real = submitit.AutoExecutor
    monkeypatch.setattr(
        submitit, "AutoExecutor", lambda folder, cluster: real(folder, cluster="debug")
    )
    (command,) = commands("Slurm")
    result = vlmcal(*command)
    assert result.code == 0, result.err
    assert done(here / "runs") == 2
    assert (here / "slurm-logs").is_dir()


def test_a_store_that_is_no_folder(vlmcal, here, monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is not installed: the guide's commands are not run")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed: not run")
    from botocore.session import get_session

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("VLMCAL_CACHE", str(here / "cache"))
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        get_session().create_client("s3").create_bucket(Bucket="results")
        run, status = commands("A store that is no folder")
        result = vlmcal(*run)
        assert result.code == 0, result.err
        shown = vlmcal(*status)
        assert "grid: 2 cells, 2 done" in shown.out
        ids = [
            cell["run"] for cell in json.loads(vlmcal(*status, "--json").out)["plans"][0]["cells"]
        ]
        monkeypatch.setenv("VLMCAL_CACHE", str(here / "elsewhere"))
        for run_id in ids:
            call = ("export", "predictions", run_id, "--store", status[1])
            assert vlmcal(*call, "-o", f"{run_id}.csv").code == 0
        numbers = json.loads(vlmcal(*status, "--json").out)
        assert numbers["plans"][0]["counts"]["done"] == 2
    finally:
        running.stop()
