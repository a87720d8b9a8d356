"""A classifier as a folder and on the hub, and metrics inside a Trainer."""

import json
from functools import partial
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError
from scipy.special import softmax

import vlmcal
from vlmcal import Classifier
from vlmcal.errors import BackboneError, DataError, SpecError, StoreError
from vlmcal.export import compute_metrics
from vlmcal.metrics import brier, ece


@pytest.fixture(scope="module")
def trained(small_images, tiny_folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    options = {"backbone": str(tiny_folder), "shots": 2, "epochs": 2, "store": store}
    return vlmcal.fit(str(small_images), **options)


@pytest.fixture
def picture(small_images):
    return next(small_images.rglob("*.png"))


def same(one, two, picture):
    a, b = (model.predict([picture])[0].probabilities for model in (one, two))
    np.testing.assert_array_equal(a, b)


def test_a_wrong_calibrator_is_refused_before_anything_is_trained(small_images, tmp_path):
    with pytest.raises(SpecError, match='did you mean "temperature"'):
        vlmcal.fit(str(small_images), calibrator="temprature", store=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_gives_the_same_classifier_wherever_it_stands(trained, picture, tmp_path):
    folder = trained.save_pretrained(tmp_path / "first")
    moved = folder.rename(tmp_path / "second")
    again = Classifier.from_pretrained(moved)
    assert again.calibrated == "temperature"
    assert again.class_names == trained.class_names
    same(trained, again, picture)
    # What was measured goes on with it, although the run is elsewhere.
    third = again.save_pretrained(tmp_path / "third")
    assert (third / "measured.json").read_bytes() == (moved / "measured.json").read_bytes()
    assert sorted(p.name for p in third.iterdir()) == [
        *("README.md", "calibrator.json", "learner", "measured.json"),
    ]


def test_the_card_holds_the_measured_calibration(trained, tmp_path):
    folder = trained.save_pretrained(tmp_path, name="me/digits", metadata={"license": "apache-2.0"})
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "vlmcal"
    assert card.data.model_name == "me/digits"
    found = {result.metric_type: result for result in card.data.eval_results}
    rows = vlmcal.load_predictions(trained.folder / "predictions" / "test_all.safetensors")
    expected = vlmcal.evaluate(trained.calibrator.transform(rows), intervals=False)
    for name in ("accuracy", "ece", "brier", "nll"):
        assert found[name].metric_value == pytest.approx(expected[name].value, abs=1e-6)
        assert found[name].dataset_split == "test"
    assert 'Classifier.from_pretrained("me/digits")' in card.content
    assert "Sum over 15 equal-width bins" in card.content
    saved = json.loads((folder / "measured.json").read_text())
    assert saved["about"]["shots"] == 2
    assert saved["sets"]["all"]["n"] == len(rows)


def test_raw_confidence_is_saved_without_a_calibrator(trained, picture, tmp_path):
    trained.save_pretrained(tmp_path)
    raw = Classifier.load(trained.folder, calibrator="none")
    raw.save_pretrained(tmp_path)
    again = Classifier.from_pretrained(tmp_path)
    assert again.calibrated == "none"
    same(raw, again, picture)


class Hub:
    """Stands for the hub: keeps what is uploaded."""

    def __init__(self):
        self.calls, self.files = [], {}

    def api(self, token=None):
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo, **options):
        self.calls.append(("create", repo, options))
        return f"https://hub.example/{repo}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        self.calls.append(("upload", repo_id, allow_patterns, commit_message))
        for path in folder_path.rglob("*"):
            if path.is_file():
                self.files[path.relative_to(folder_path).as_posix()] = path.read_bytes()


def test_pushing_uploads_the_folder_and_the_id_loads_it(trained, picture, tmp_path, monkeypatch):
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api)
    address = trained.push_to_hub("me/digits", private=True, token="secret")
    assert address == "https://hub.example/me/digits"
    assert hub.calls[:2] == [
        ("token", "secret"),
        ("create", "me/digits", {"private": True, "exist_ok": True}),
    ]
    for name, content in hub.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    asked = {}

    def snapshot_download(**options):
        asked.update(options)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    again = Classifier.from_pretrained("me/digits", revision="v1", offline=True)
    assert (asked["repo_id"], asked["revision"], asked["local_files_only"]) == (
        "me/digits",
        "v1",
        True,
    )
    same(trained, again, picture)


def test_a_hub_that_refuses_is_one_message(trained, monkeypatch):
    class Closed(Hub):
        def create_repo(self, repo, **options):
            raise HfHubHTTPError(
                "403 Forbidden", response=SimpleNamespace(headers={}, request=None)
            )

    monkeypatch.setattr(huggingface_hub, "HfApi", Closed().api)
    with pytest.raises(StoreError, match=r'not pushed to "me/digits" \(.*hf auth login'):
        trained.push_to_hub("me/digits")


def test_what_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no classifier"):
        Classifier.from_pretrained(tmp_path)
    with pytest.raises(StoreError, match="there is no folder"):
        Classifier.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="there is no folder"):
        Classifier.from_pretrained("digits")
    with pytest.raises(BackboneError, match='classifier "nobody/nothing" is not on this machine'):
        Classifier.from_pretrained("nobody/nothing", offline=True)


LOGITS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, 40)


@pytest.mark.parametrize("form", ["pair", "object", "several outputs"])
def test_metrics_are_those_of_the_functions(form):
    given = {
        "pair": (LOGITS, LABELS),
        "object": SimpleNamespace(predictions=LOGITS, label_ids=LABELS),
        "several outputs": ((np.zeros((40, 7, 5)), LOGITS), LABELS),
    }[form]
    found = compute_metrics(given)
    p = softmax(LOGITS.astype(np.float64), axis=1)
    assert set(found) == {"accuracy", "ece", "brier", "nll"}
    assert found["accuracy"] == pytest.approx((p.argmax(axis=1) == LABELS).mean())
    assert found["brier"] == pytest.approx(brier(p, LABELS), abs=1e-6)
    assert found["nll"] == pytest.approx(-np.log(p[np.arange(40), LABELS]).mean(), abs=1e-6)
    assert found["ece"] == pytest.approx(ece(p.max(axis=1), p.argmax(axis=1) == LABELS), abs=1e-6)


def test_tokens_without_a_label_are_left_out():
    logits, labels = LOGITS.reshape(8, 5, 3), LABELS.reshape(8, 5).copy()
    labels[:, 3:] = -100
    kept = labels.reshape(-1) != -100
    assert compute_metrics((logits, labels)) == compute_metrics((LOGITS[kept], LABELS[kept]))


def test_rows_that_cannot_be_measured_are_refused():
    with pytest.raises(DataError, match=r"labels of shape \(40,\) need logits of shape \(40, K\)"):
        compute_metrics((LOGITS[:39], LABELS))
    with pytest.raises(DataError, match="none of 40 rows has a label"):
        compute_metrics((LOGITS, np.full(40, -100)))
    with pytest.raises(SpecError, match="ece"):
        compute_metrics((LOGITS, LABELS), metrics=["ecee"])


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x, labels):
        logits = self.layer(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_inside_a_trainer(tmp_path):
    from transformers import Trainer, TrainingArguments

    rows = [{"x": torch.tensor(x), "labels": int(y)} for x, y in zip(LOGITS, LABELS, strict=True)]
    trainer = Trainer(
        model=Linear(),
        args=TrainingArguments(
            output_dir=str(tmp_path), report_to=[], use_cpu=True, per_device_eval_batch_size=7
        ),
        eval_dataset=rows,
        compute_metrics=partial(compute_metrics, metrics=["ece"], options={"ece": {"bins": 10}}),
    )
    found = trainer.evaluate()
    with torch.no_grad():
        p = softmax(trainer.model.layer(torch.tensor(LOGITS)).numpy().astype(np.float64), axis=1)
    expected = ece(p.max(axis=1), p.argmax(axis=1) == LABELS, bins=10)
    assert found["eval_ece"] == pytest.approx(expected, abs=1e-6)
