"""Checkpoints of every layout: recognised by their content, filled completely, refused with a reason."""

import json
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tiny_towers import LAYOUTS, make_tiny_tower, openclip_vit
from vlmcal.backbones import load_backbone, loading, torchscript, tower_encoder
from vlmcal.backbones.base import require_tokens
from vlmcal.backbones.families import open_clip_library
from vlmcal.backbones.preprocess import PaddedGrey, from_open_clip
from vlmcal.backbones.text_tokens import read_clip_tokens
from vlmcal.errors import BackboneError

FAMILIES = {
    "clip": "clip", "openclip_vit": "open_clip", "openclip_resnet": "open_clip",
    "openclip_timm_bert": "open_clip", "openclip_bert_pooler": "open_clip", "openclip_bert_mean": "open_clip",
    "openai_vit": "openai", "medclip_swin": "medclip", "medclip_resnet": "medclip", "siglip": "siglip",
    "conch": "conch",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_by_its_files(tmp_path, name):
    encoder = load_backbone(str(make_tiny_tower(name, tmp_path / "tower")))
    assert encoder.family == FAMILIES[name]
    assert encoder.context_length >= 24
    features = encoder.encode_images([Image.new("RGB", (30, 20), (9, 200, 60))])
    assert features.shape == (1, encoder.embed_dim)
    assert encoder.encode_texts(["a cat"]).shape == (1, encoder.embed_dim)
    assert not any(p.requires_grad for p in encoder.model.parameters())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tower").mkdir()
    return openclip_vit(tmp_path / "tower")


def test_the_fingerprint_names_weights_activation_and_scale_but_no_type_or_place(folder, tmp_path):
    first = load_backbone(str(folder))
    assert load_backbone(str(folder), dtype=torch.bfloat16).fingerprint == first.fingerprint
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = False
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    other = load_backbone(str(folder))
    assert other.fingerprint != first.fingerprint
    pixels = torch.ones(1, 3, 16, 16)
    assert not torch.allclose(other.encode_pixels(pixels), first.encode_pixels(pixels), atol=1e-3)
    changed = other.with_logit_scale(50.0)
    assert float(changed.logit_scale) == 50
    assert changed.fingerprint != other.fingerprint


def test_missing_and_unexpected_tensors_are_listed(folder):
    path = folder / "open_clip_model.safetensors"
    tensors = load_file(str(path))
    tensors["visual.mystery"] = tensors.pop("ln_final.bias")
    save_file(tensors, str(path))
    with pytest.raises(
        BackboneError, match=r"1 missing \(text.final_norm.bias\); 1 unexpected \(visual.mys"
    ):
        load_backbone(str(folder))


def test_settings_that_would_change_features_are_refused(folder):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["embed_cls"] = True
    path.write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="text_cfg: embed_cls not known here"):
        load_backbone(str(folder))


def test_a_trainers_checkpoint_without_its_wrapping(folder):
    before = load_backbone(str(folder)).fingerprint
    path = folder / "open_clip_model.safetensors"
    state = {f"module.{key}": value for key, value in load_file(str(path)).items()}
    path.unlink()
    torch.save({"epoch": 7, "state_dict": state, "optimizer": {"lr": 0.1}}, folder / "epoch_7.pt")
    assert load_backbone(str(folder)).fingerprint == before
    assert load_backbone(str(folder / "epoch_7.pt")).fingerprint == before
    (folder / "epoch_8.pt").write_bytes((folder / "epoch_7.pt").read_bytes())
    with pytest.raises(
        BackboneError, match=r"one weight file in .*epoch_7.pt, epoch_8.pt; name the file"
    ):
        load_backbone(str(folder))


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a file was run')",))


def test_a_pickle_that_would_run_code_is_refused(folder):
    path = folder / "open_clip_model.safetensors"
    path.unlink()
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Evil()}, folder / "epoch.pt")
    with pytest.raises(BackboneError, match="would run code from the file"):
        load_backbone(str(folder))


def test_a_torchscript_archive_is_read_and_never_run(tmp_path):
    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 2).half()
            self.register_buffer("sizes", torch.arange(6).view(2, 3).T)

        def forward(self, x):
            return self.inner(x)

    tower = Tower()
    path = tmp_path / "tower.pt"
    torch.jit.save(torch.jit.script(tower), str(path))
    found = torchscript.read_tensors(path)
    assert found.keys() == {"inner.weight", "inner.bias", "sizes"}
    assert all(torch.equal(found[k], v) for k, v in tower.state_dict().items())
    bad = tmp_path / "bad.pt"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("bad/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("bad/constants.pkl", b"")
    with pytest.raises(BackboneError, match="asks for"):
        load_backbone(str(bad))


def test_a_model_without_its_tokenizer_says_where_to_get_it(folder):
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(
        BackboneError, match=r"hf download openai/clip-vit-base-patch32 vocab.json merges.txt"
    ):
        load_backbone(str(folder), offline=True)
    encoder = load_backbone(str(folder), offline=True, tokenizer=False)
    assert encoder.encode_text_ids(torch.tensor([[1, 2, 524]])).shape == (1, 24)
    with pytest.raises(BackboneError, match="holds no tokenizer"):
        encoder.encode_texts(["cat"])


def test_companions_may_lie_elsewhere(tmp_path):
    folder = make_tiny_tower("medclip_swin", tmp_path / "tower")
    elsewhere = tmp_path / "others"
    elsewhere.mkdir()
    (folder / "emilyalsentzer--Bio_ClinicalBERT").rename(
        elsewhere / "emilyalsentzer--Bio_ClinicalBERT"
    )
    with pytest.raises(
        BackboneError, match=r"hf download emilyalsentzer/Bio_ClinicalBERT vocab.txt"
    ):
        load_backbone(str(folder), offline=True)
    assert load_backbone(str(folder), companions=[elsewhere]).family == "medclip"


def test_a_bare_state_dict_in_float32_is_taken_for_openais_and_said(tmp_path):
    path = make_tiny_tower("openai_vit", tmp_path / "tower")
    tensors = torch.load(path, weights_only=True)
    torch.save({k: v.float() for k, v in tensors.items()}, path)
    with pytest.warns(UserWarning, match="taken for OpenAI's, whose activation is quick GELU"):
        load_backbone(str(path))


def test_medclips_scale_is_clamped_and_its_padding_said(tmp_path):
    encoder = load_backbone(str(make_tiny_tower("medclip_resnet", tmp_path / "tower")))
    assert float(encoder.logit_scale) == pytest.approx(100.0, rel=1e-4)
    assert "padded to the longest" in encoder.about


def test_siglip_of_variable_resolution_is_refused(tmp_path):
    folder = make_tiny_tower("siglip", tmp_path / "tower")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "siglip2"}))
    with pytest.raises(BackboneError, match="variable resolution"):
        load_backbone(str(folder))


def test_three_forms_of_clips_vocabulary_give_the_same_ids(folder, tmp_path):
    import gzip

    from tiny_clip import MERGES

    own = read_clip_tokens([folder])
    packed = tmp_path / "packed"
    packed.mkdir()
    text = "\n".join(["#version: 0.2", *MERGES])
    (packed / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(text.encode()))
    inside = tmp_path / "inside"
    inside.mkdir()
    own.backend.save(str(inside / "tokenizer.json"))
    texts = ["a Photo of the&amp;dog's", "naïve CAT 737"]
    expected = own.ids(texts)
    assert read_clip_tokens([packed]).ids(texts) == expected
    assert read_clip_tokens([inside]).ids(texts) == expected


def test_open_clips_longest_side_is_kept_and_padded():
    recipe = from_open_clip(
        {"resize_mode": "longest", "fill_color": 255, "mean": [0] * 3, "std": [1] * 3}, 8, "x"
    )
    pixels = recipe(Image.new("RGB", (16, 4), (0, 0, 0)))
    assert pixels[0, :, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    with pytest.raises(BackboneError, match='unknown resize_mode "fit"'):
        from_open_clip({"resize_mode": "fit"}, 8, "x")


def test_descriptions_of_old_recipes_are_what_they_were():
    recipe = from_open_clip({}, 8, "x")
    assert "fill" not in recipe.describe()
    assert recipe.describe()["convert_first"] is False
    assert PaddedGrey(size=4, resize=4).describe()["kind"] == "padded_grey"


def test_small_grey_pictures_are_padded_and_not_enlarged():
    recipe = PaddedGrey(size=8, resize=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = recipe(Image.fromarray(np.full((2, 4), 255, np.uint8)))
    assert pixels.sum() == 3 * 8
    assert recipe.crop_box(4, 2) == (-2, -3, 6, 5)


def test_a_timm_trunk_without_a_named_pool_is_read_as_the_library_does(tmp_path):
    found = {}
    for pool in ("", "token", "avg", None):
        folder = make_tiny_tower("openclip_timm_bert", tmp_path / str(pool))
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        vision = config["model_cfg"]["vision_cfg"]
        vision.pop("timm_pool")
        config["model_cfg"]["vision_cfg"] = (
            vision if pool is None else {**vision, "timm_pool": pool}
        )
        path.write_text(json.dumps(config))
        found[pool] = load_backbone(str(folder))
    pixels = torch.rand(2, 3, 16, 16)
    features = {pool: encoder.encode_pixels(pixels) for pool, encoder in found.items()}
    assert torch.equal(features[None], features["avg"])  # its default
    assert torch.equal(features[""], features["token"])
    assert not torch.allclose(features["avg"], features["token"], atol=1e-2)
    assert len({encoder.fingerprint for encoder in found.values()}) == 4


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_device_reaches_every_tensor_of_every_family(tmp_path, name):
    encoder = load_backbone(str(make_tiny_tower(name, tmp_path / "tower")), device="meta")
    tensors = [*encoder.model.parameters(), *encoder.model.buffers(), encoder.logit_scale]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    side = encoder.preprocess.size
    features = encoder.encode_pixels(torch.ones(2, 3, side, side, device="meta"))
    assert (features.device.type, features.shape) == ("meta", (2, encoder.embed_dim))


def halved(folder):
    """The matrices of a checkpoint in float16, as published ones are; norms stay."""
    for path in (folder.parent if folder.is_file() else folder).iterdir():
        if path.suffix == ".safetensors":
            stored = load_file(path)
            save_file({k: v.half() if v.ndim > 1 else v for k, v in stored.items()}, path)
        elif path.suffix in (".bin", ".pt"):
            stored = torch.load(path, weights_only=True)
            torch.save({k: v.half() if v.ndim > 1 else v for k, v in stored.items()}, path)
    return str(folder)


@pytest.mark.parametrize("name", ["clip", "openclip_timm_bert", "openai_vit", "medclip_swin"])
def test_half_precision_stays_half_on_a_gpu_only(tmp_path, name, monkeypatch):
    folder = halved(make_tiny_tower(name, tmp_path / "tower"))
    whole = load_backbone(folder)
    assert whole.dtype == torch.float32
    monkeypatch.setattr(loading, "GPUS", ("cpu",))
    half = load_backbone(folder)
    assert half.dtype == torch.float16
    assert half.fingerprint == whole.fingerprint
    assert load_backbone(f"{folder}(weights=float32)").dtype == torch.float32
    pictures = [Image.new("RGB", (30, 20), (9, 200, 60))]
    first, second = (e.encode_images(pictures).float() for e in (whole, half))
    assert torch.allclose(first, second, atol=0.02 * float(first.abs().max()))
    with pytest.raises(BackboneError, match="weights=float32"):
        half.with_precision("bfloat16")
    full = load_backbone(str(make_tiny_tower(name, tmp_path / "full"))) if name == "clip" else None
    assert full is None or full.dtype == torch.float32


@pytest.fixture
def unknown(folder):
    """A checkpoint with a setting that only the library knows."""
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["no_causal_mask"] = True
    path.write_text(json.dumps(config))
    return folder


def test_what_only_the_library_knows_is_told_with_its_extra(unknown, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setattr(open_clip_library, "available", lambda module: False)
    with pytest.raises(BackboneError, match=r"no_causal_mask .*pip install 'vlmcal\[open-clip\]'"):
        load_backbone(str(unknown))
    folder = make_tiny_tower("openclip_timm_bert", tmp_path / "other")
    path = folder / "open_clip_model.safetensors"
    more = {"visual.trunk.norm_pre.weight": torch.ones(64)}
    save_file({**load_file(path), **more}, path)
    with pytest.raises(BackboneError, match=r"no plain vision .*norm_pre.*\[open-clip\]"):
        load_backbone(str(folder))


class Known(torch.nn.Module):
    """What the library would build: the same names, another forward."""

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            parent = self
            *path, last = name.split(".")
            for part in path:
                if not hasattr(parent, part):
                    parent.add_module(part, torch.nn.Module())
                parent = getattr(parent, part)
            parent.register_parameter(last, torch.nn.Parameter(torch.empty_like(value)))

    def encode_image(self, pixels):
        return pixels.mean(dim=(2, 3)) @ self.visual.conv1.weight.flatten(1)[:24, :3].T

    def encode_text(self, ids):
        return self.token_embedding.weight[ids].sum(dim=1)[:, :24]


def test_the_library_builds_what_is_not_built_here(unknown, monkeypatch):
    stored = load_file(unknown / "open_clip_model.safetensors")
    asked = []
    library = types.ModuleType("open_clip")
    library.create_model = lambda place, **how: asked.append((place, how)) or Known(stored)
    library.get_tokenizer = lambda place: lambda texts: torch.tensor([[1, len(t)] for t in texts])
    monkeypatch.setitem(sys.modules, "open_clip", library)
    monkeypatch.setattr(open_clip_library, "available", lambda module: True)
    encoder = load_backbone(str(unknown))
    assert asked[0][0] == f"local-dir:{unknown}"
    assert asked[0][1]["load_weights"] is False
    assert encoder.embed_dim == 24
    assert float(encoder.logit_scale) == pytest.approx(np.exp(4.0))
    rows = stored["token_embedding.weight"]
    assert torch.allclose(encoder.encode_texts(["abc"])[0], (rows[1] + rows[3])[:24])
    assert encoder.encode_images([Image.new("RGB", (30, 20))]).shape == (1, 24)
    with pytest.raises(BackboneError, match="features of whole texts only"):
        require_tokens(encoder)
    library.create_model = lambda place, **how: Known({"other": torch.ones(1)})
    with pytest.raises(BackboneError, match="cannot build it either"):
        load_backbone(str(unknown))


@pytest.mark.parametrize(
    ("part", "key", "value", "words"),
    [
        ("text_cfg", "heads", 7, "7 heads do not divide the text width 64"),
        ("text_cfg", "context_length", 1000, "context_length is 1000, but the weights have 77"),
        (
            "vision_cfg",
            "image_size",
            224,
            "image_size is 224, but the weights are for images of 16",
        ),
        ("vision_cfg", "image_size", [16, 32], "image_size is"),
        ("vision_cfg", None, [], "expected model_cfg with vision_cfg and text_cfg"),
        (None, None, [], "expected model_cfg with vision_cfg and text_cfg"),
    ],
)
def test_a_configuration_of_another_model_is_refused(folder, part, key, value, words):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    if key is not None:
        config["model_cfg"][part][key] = value
    elif part is not None:
        config["model_cfg"][part] = value
    path.write_text(json.dumps(value if part is None else config))
    with pytest.raises(BackboneError, match=words):
        load_backbone(str(folder))


def test_a_siglip_of_another_shape_and_weights_that_are_no_numbers_are_refused(folder, tmp_path):
    siglip = make_tiny_tower("siglip", tmp_path / "siglip")
    path = siglip / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["num_attention_heads"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="text_config: 3 heads do not divide a width of 64"):
        load_backbone(str(siglip))
    weights = folder / "open_clip_model.safetensors"
    stored = load_file(weights)
    stored["ln_final.bias"][0] = float("nan")
    save_file(stored, weights)
    with pytest.raises(BackboneError, match="1 tensors hold NaN or infinity"):
        load_backbone(str(folder))


@pytest.mark.parametrize("name", ["openclip_resnet", "medclip_resnet"])
def test_convolutions_with_channels_last_give_the_same_features(tmp_path, monkeypatch, name):
    folder = str(make_tiny_tower(name, tmp_path / "tower"))
    plain = load_backbone(folder)
    monkeypatch.setattr(tower_encoder, "CHANNELS_LAST_ON", ("cpu",))
    turned = load_backbone(folder)
    weight = turned.model["image"].conv2.weight if name == "openclip_resnet" else None
    assert weight is None or weight.is_contiguous(memory_format=torch.channels_last)
    assert turned.fingerprint == plain.fingerprint
    images = [Image.new("RGB", (30, 20), (9, 200, 60)), Image.new("RGB", (20, 30), (90, 0, 60))]
    assert torch.allclose(turned.encode_images(images), plain.encode_images(images), atol=1e-4)
