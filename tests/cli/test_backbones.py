"""Backbones from the command line: cards, CalibPrompt's four models, precomputed features, refusals."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from nicknames import ASKED_FOR
from tiny_towers import make_tiny_tower
from vlmcal.io.json_files import read_json

# The models of CalibPrompt's tables, the layouts they are published in, and a data set of each with weights.
MODELS = {
    "plip": ("clip", "kather"),
    "quiltnet": ("openclip_vit", "kather"),
    "medclip": ("medclip_swin", "covid"),
    "biomedclip": ("openclip_timm_bert", "covid"),
}


def run_folder(result):
    (line,) = re.findall(r"predict with: vlmcal predict (\S+) IMAGE", result.out)
    return line


def test_list_and_describe_show_the_cards(vlmcal):
    said = vlmcal("describe", "biomedclip").out
    assert "hf download microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224" in said
    assert re.search(r"context length +256", said)
    listed = vlmcal("list", "backbones").out
    assert all(re.search(rf"^{name} ", listed, re.M) for name in ["pocket", *ASKED_FOR])
    assert "hf auth login && hf download MahmoodLab/CONCH" in vlmcal("describe", "conch").out


@pytest.mark.parametrize("model", MODELS)
def test_calibprompts_recipe_on_each_of_its_models(vlmcal, tmp_path, small_images, model):
    layout, data = MODELS[model]
    folder = make_tiny_tower(layout, tmp_path / "tower")
    backbones = set()
    for objective in ("ce", f"calibprompt(backbone={model}, dataset={data})"):
        result = vlmcal(
            "train", small_images, "--backbone", folder, "--method", "coop", "--objective", objective,
            "--shots", 2, "--epochs", 1, "--views", 1, "--store", tmp_path / "runs",
        )  # fmt: skip
        assert result.code == 0, result.err
        run = run_folder(result)
        backbones.add(read_json(Path(run) / "status.json")["provenance"]["backbone_fingerprint"])
        image = next(small_images.rglob("*.png"))
        assert f"{image}: " in vlmcal("predict", run, image).out
    assert len(backbones) == 1


def test_the_commands_of_the_guide(vlmcal, tmp_path, small_images, monkeypatch):
    """Every command of docs/guides/backbones.md, with tiny checkpoints in the place of published ones."""
    monkeypatch.setenv("VLMCAL_BACKBONES", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").symlink_to(small_images)
    make_tiny_tower("medclip_resnet", tmp_path / "models" / "medclip")
    make_tiny_tower("siglip", tmp_path / "models" / "siglip-b-16")
    page = Path(__file__).parent.parent.parent / "docs" / "guides" / "backbones.md"
    commands = re.findall(r"^vlmcal (.+)$", page.read_text(encoding="utf-8"), re.M)
    assert len(commands) == 4
    for command in commands:
        small = (
            ["--shots", "2", "--epochs", "1", "--views", "1"] if command.startswith("train") else []
        )
        result = vlmcal(*shlex.split(command), *small)
        assert result.code == 0, result.err
    assert "independent sigmoids with its bias" in result.out + result.err


def test_precomputed_features_train_and_measure(vlmcal, refused, tmp_path):
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 3
    centres = draw.normal(size=(3, 8)).astype(np.float32)
    file = tmp_path / "clinic.npz"
    np.savez(
        file,
        image_features=centres[labels] + 0.5 * draw.normal(size=(90, 8)).astype(np.float32),
        labels=labels,
        class_names=np.array(["benign", "malignant", "no finding"]),
        text_features=centres,
        logit_scale=20.0,
        splits=np.array(["train"] * 30 + ["val"] * 30 + ["test"] * 30),
    )
    common = (
        "train",
        file,
        "--backbone",
        file,
        "--shots",
        4,
        "--epochs",
        1,
        "--store",
        tmp_path / "runs",
    )
    checked = vlmcal("data", "check", file)
    assert checked.code == 0, checked.out + checked.err
    for method in ("zero_shot", "clip_adapter", "linear_probe", "tip_adapter"):
        result = vlmcal(*common, "--method", method)
        assert result.code == 0, result.out + result.err
    refused(
        *common,
        "--method",
        "coop",
        words=['"coop" puts learned tokens', "use zero_shot, an adapter"],
    )
    refused(
        "train", file, "--method", "zero_shot", "--store", tmp_path / "r", words=["holds features"]
    )
    pictures = ("train", "digits", "--backbone", file, "--method", "zero_shot")
    refused(
        *pictures,
        "--store",
        tmp_path / "r",
        words=["holds pictures", "both as data and as backbone"],
    )
    run = run_folder(vlmcal(*common, "--method", "clip_adapter"))
    refused("predict", run, "x.png", words=["x.png"])
