"""Stores at URLs: published in one step, once, and read from any machine."""

import json
import os
import shutil
import uuid

import pytest
import yaml

from vlmcal.errors import StoreError
from vlmcal.experiment.remote_store import store_at
from vlmcal.experiment.store import Store

pytest.importorskip("fsspec")


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    return f"memory://{uuid.uuid4()}"


def filled(store, run, content="one"):
    folder = store.folder(run)
    (folder / "predictions").mkdir(parents=True)
    (folder / "predictions" / "test.txt").write_text(content)
    (folder / "checkpoint.safetensors").write_text("half")
    return folder


def elsewhere(url, tmp_path, monkeypatch, name="other"):
    """The same store as another machine sees it."""
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / name))
    return store_at(url).open()


def test_a_run_exists_once_it_is_published_and_is_read_elsewhere(url, tmp_path, monkeypatch):
    store = store_at(url).open()
    with pytest.raises(StoreError, match="no store at"):
        store.require()
    filled(store, "ab")
    assert not store.published("ab")
    assert store.runs() == []
    store.publish("ab", {"id": "ab"})
    assert store.published("ab")
    assert not list(store.folder("ab").glob("checkpoint*"))
    other = elsewhere(url, tmp_path, monkeypatch)
    other.require()
    assert other.runs() == ["ab"]
    assert other.statuses()["ab"]["id"] == "ab"
    assert (other.read("ab") / "predictions" / "test.txt").read_text() == "one"
    assert other.folder("ab") != store.folder("ab")
    shutil.rmtree(other.read("ab") / "predictions")
    os.remove(other.folder("ab") / "status.json")
    assert (other.read("ab") / "predictions" / "test.txt").read_text() == "one"


def test_of_two_that_publish_the_first_stays_whole(url, tmp_path, monkeypatch):
    one = store_at(url).open()
    two = elsewhere(url, tmp_path, monkeypatch)
    filled(one, "ab", "one")
    filled(two, "ab", "two")
    two.publish("ab", {"id": "ab", "by": "two"})
    one.publish("ab", {"id": "ab", "by": "one"})
    for store in (one, two):
        assert store.status("ab")["by"] == "two"
        assert (store.read("ab") / "predictions" / "test.txt").read_text() == "two"
    left = {path.split("/")[-3] for path in one.documents.system.find(f"{one.documents.base}/runs")}
    assert len([name for name in left if len(name) == 16]) == 1


def test_plans_failures_and_claims_are_seen_from_another_machine(url, tmp_path, monkeypatch):
    one = store_at(url).open()
    two = elsewhere(url, tmp_path, monkeypatch)
    with one.lock("ab", wait=False, about={"key": "k", "label": "l"}) as mine:
        assert mine
        assert [(w["run"], w["alive"]) for w in two.working()] == [("ab", True)]
        with two.lock("ab", wait=False) as other:
            assert not other
    assert two.working() == []
    with two.lock("ab", wait=False) as other:
        assert other


def test_a_store_that_cannot_be_reached_says_so():
    with pytest.raises(StoreError, match='no kind of store is called "nosuch"'):
        store_at("nosuch://bucket/store").open()


def spec_file(tmp_path, small_images, tiny_folder):
    path = tmp_path / "spec.yaml"
    content = {
        "data": {"path": str(small_images)},
        "backbone": str(tiny_folder),
        "method": ["zero_shot", {"name": "coop", "n_ctx": 4}],
        "objective": "ce",
        "shots": 2,
        "train": {"epochs": 2, "batch_size": 4},
        "evaluate": {"resamples": 100},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def rows(spec, store):
    from vlmcal.api import run

    found = run(yaml.safe_load(spec.read_text()), store)
    return [json.dumps(row.to_dict(), sort_keys=True) for row in found]


def test_an_experiment_on_a_url_gives_the_numbers_of_a_folder(
    url, tmp_path, monkeypatch, small_images, tiny_folder
):
    from vlmcal.experiment.status import store_status

    spec = spec_file(tmp_path, small_images, tiny_folder)
    local = rows(spec, tmp_path / "store")
    assert rows(spec, url) == local
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "elsewhere"))
    assert rows(spec, url) == local
    assert sorted(store_at(url).runs()) == sorted(Store(tmp_path / "store").runs())
    (plan,) = store_status(store_at(url)).plans
    assert plan.counts() == {"done": 2, "running": 0, "failed": 0, "missing": 0}


def test_an_experiment_on_an_s3_server(tmp_path, monkeypatch, small_images, tiny_folder):
    """The server is moto's: real HTTP, real conditional puts."""
    server = pytest.importorskip("moto.server", reason="moto[s3,server] is not installed")
    boto = pytest.importorskip("botocore.session", reason="s3fs is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "VLMCAL_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto.get_session().create_client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="results")
        url = "s3://results/grid"
        spec = spec_file(tmp_path, small_images, tiny_folder)
        assert rows(spec, url) == rows(spec, tmp_path / "store")
        one = store_at(url).open()
        run = one.runs()[0]
        assert not one.documents.create(f"runs/{run}/status.json", {})
        two = elsewhere(url, tmp_path, monkeypatch)
        assert (two.read(run) / "learner").is_dir()
        with one.lock("ab", wait=False, about={"key": "k"}), two.lock("ab", wait=False) as other:
            assert not other
            assert two.working()[0]["alive"]
    finally:
        running.stop()
