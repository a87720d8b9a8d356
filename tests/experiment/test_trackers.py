"""Finished runs in trackers: event files, a folder of MLflow, and a stand-in for Weights & Biases."""

import sys
import types

import pytest

from vlmcal.errors import MissingExtraError, SpecError, StoreError
from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.experiment.trackers.base import Tracker, mirror, trackers_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with one trained run, and its rows."""
    store = Store(tmp_path_factory.mktemp("tracked"))
    spec = parse_spec(
        {
            "data": {"name": "shapes", "n_classes": 4, "n_train": 2, "n_val": 2, "n_test": 3},
            "method": "coop",
            "shots": 2,
            "train": {"epochs": 2},
            "evaluate": {"metrics": ["accuracy", "ece"], "resamples": 100},
        }
    )
    (result,) = run_experiment(spec, store)
    return store, list(evaluate_run(store, result.run, spec.evaluate))


def test_tensorboard_holds_the_curve_and_the_final_numbers(finished, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    store, rows = finished
    for _ in range(2):  # the same command again shows every run once
        mirror(store, rows, trackers_of([f"tensorboard(folder={tmp_path})"]))
    found = events.EventAccumulator(str(tmp_path / rows[0].run))
    found.Reload()
    losses = [each.value for each in found.Scalars("train/loss")]
    assert losses == pytest.approx([each["loss"] for each in store.history(rows[0].run)], rel=1e-6)
    final = found.Scalars("all/none/accuracy")[0].value
    assert final == pytest.approx(rows[0].evaluation["accuracy"].value)


def test_mlflow_holds_the_same(finished, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store, rows = finished
    uri = (tmp_path / "mlruns").as_uri()
    for _ in range(2):  # the same command again shows every run once
        mirror(store, rows, trackers_of([{"name": "mlflow", "uri": uri, "experiment": "mine"}]))
    client = mlflow.MlflowClient(tracking_uri=uri)
    place = client.get_experiment_by_name("mine").experiment_id
    (run,) = client.search_runs([place])
    assert run.data.tags["vlmcal.run"] == rows[0].run
    assert run.info.status == "FINISHED"
    assert run.data.metrics["all/none/ece"] == pytest.approx(rows[0].evaluation["ece"].value)
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2


class Recorded:
    """What Weights & Biases was told."""

    def __init__(self):
        self.said, self.summary = [], {}

    def init(self, **given):
        self.said.append(("init", given))
        return self

    def log(self, values, step):
        self.said.append(("log", step, values))

    def finish(self):
        self.said.append(("finish",))


def test_weights_and_biases_is_told_the_same(finished, monkeypatch):
    store, rows = finished
    stand_in, recorded = types.ModuleType("wandb"), Recorded()
    stand_in.init = recorded.init
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    mirror(store, rows, trackers_of(["wandb(project=mine, mode=offline)"]))
    kinds = [each[0] for each in recorded.said]
    assert kinds == ["init", "log", "log", "finish"]
    given = recorded.said[0][1]
    assert (given["project"], given["mode"], given["id"]) == ("mine", "offline", rows[0].run)
    assert recorded.said[1][2]["train/loss"] == store.history(rows[0].run)[0]["loss"]
    assert recorded.summary["all/none/accuracy"] == rows[0].evaluation["accuracy"].value


def test_a_tracker_that_fails_leaves_the_store_and_says_so(finished):
    class Broken(Tracker):
        name = "broken"

        def start(self, run, label, settings):
            raise ConnectionError("no route")

        log = summarise = finish = None

    Broken.__abstractmethods__ = frozenset()
    with pytest.raises(StoreError, match="tracker broken: no route"):
        mirror(*finished, [Broken()])


def test_unknown_trackers_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(SpecError, match='did you mean "tensorboard"'):
        trackers_of(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"vlmcal\[trackers\]"):
        trackers_of(["wandb"])


def test_what_mlflow_refuses_is_one_error():
    pytest.importorskip("mlflow")
    with pytest.raises(SpecError, match=r'cannot use "odd://place".*name a server or a database'):
        trackers_of(["mlflow(uri=odd://place)"])
