import json
import subprocess
import sys

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from tiny_clip import make_tiny_clip
from vlmcal.backbones import hub, load_backbone
from vlmcal.errors import BackboneError


@pytest.fixture
def folder(tmp_path):
    return make_tiny_clip(tmp_path / "clip")


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """A hub cache with nothing in it, and a network that must not be used."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)


def test_asking_for_the_package_imports_no_torch():
    code = (
        "import sys, vlmcal.backbones, vlmcal.text_encoding;"
        "print('torch' in sys.modules, callable(vlmcal.backbones.load_backbone))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_folder_by_relative_path_and_type(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    encoder = load_backbone("./clip", dtype=torch.float64)
    assert encoder.dtype == torch.float64
    assert encoder.name == "./clip"


def test_the_embedded_model_is_float32_and_deep_enough_for_deep_prompts():
    encoder = load_backbone("pocket")
    assert encoder.dtype == torch.float32
    assert min(encoder.text_layers, encoder.image_layers) >= 10


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors"], r"model.safetensors \(or pytorch_model.bin\)"),
        (["vocab.json", "merges.txt"], "vocab.json, merges.txt"),
    ],
)
def test_missing_files_are_named_with_their_folder(folder, removed, said):
    for name in removed:
        (folder / name).unlink()
    with pytest.raises(BackboneError, match=f"{folder} lacks {said}; copy it into {folder}"):
        load_backbone(str(folder))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BackboneError, match=f"there is no folder {tmp_path}/none"):
        load_backbone(f"{tmp_path}/none")


def test_a_typo_in_an_embedded_name():
    with pytest.raises(BackboneError, match='unknown backbone "poket"; did you mean "pocket"'):
        load_backbone("poket")


def test_another_family_is_refused_by_name(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(BackboneError, match='of type "llava"; supported families: clip'):
        load_backbone(str(folder))


def test_damaged_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BackboneError, match="damaged or cut short"):
        load_backbone(str(folder))


def test_weights_of_another_architecture_are_not_filled_up_at_random(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"lack 16 tensors, first .*layers\.3"):
        load_backbone(str(folder))


def test_a_tokenizer_of_another_model(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "extra": len(vocabulary)}))
    with pytest.raises(BackboneError, match="knows 526 tokens but the model only 525"):
        load_backbone(str(folder))


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch16", "hf-hub:some/clip"])
def test_offline_names_the_download_command(empty_hub, monkeypatch, variable, name):
    monkeypatch.setenv(variable, "1")
    asked = []
    original = hub.snapshot_download

    def record(**options):
        asked.append(options["local_files_only"])
        return original(**options)

    monkeypatch.setattr(hub, "snapshot_download", record)
    repo = name.removeprefix("hf-hub:")
    with pytest.raises(BackboneError, match=rf"offline mode is on(.|\n)*hf download {repo}\n"):
        load_backbone(name)
    assert asked == [True]


def test_offline_argument_beats_the_environment(empty_hub, monkeypatch):
    asked = []

    def unreachable(**options):
        asked.append(options["local_files_only"])
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match="the hub cannot be reached"):
        load_backbone("a/b", offline=False)
    with pytest.raises(BackboneError, match="offline mode is on"):
        load_backbone("a/b", offline=True)
    assert asked == [False, True]


def test_a_hub_model_in_the_local_cache(empty_hub, folder, monkeypatch):
    wanted = []

    def cached(*, allow_patterns, **_):
        wanted.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", cached)
    encoder = load_backbone("hf-hub:some/clip", offline=True)
    assert encoder.name == "hf-hub:some/clip"
    assert "model.safetensors" in wanted[1]
    assert len(wanted) == 2  # pickled weights are not asked for when there are safe ones


def test_a_foreign_family_on_the_hub_is_refused_before_its_weights_are_fetched(
    empty_hub, tmp_path, monkeypatch
):
    calls = []
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.json").write_text('{"model_type": "llava"}')
    monkeypatch.setattr(
        hub, "snapshot_download", lambda **o: calls.append(o) or str(tmp_path / "x")
    )
    with pytest.raises(BackboneError, match='of type "llava"'):
        load_backbone("some/llava")
    assert len(calls) == 1
