import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from tiny_clip import EOS, MEAN, SOS, STD, make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.backbones.preprocess import CLIP_MEAN, Preprocess, from_settings
from vlmcal.backbones.zero_shot import text_features
from vlmcal.errors import BackboneError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def encoder(folder):
    return load_backbone(str(folder))


def test_frozen_and_in_evaluation_mode(encoder):
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())
    facts = (encoder.embed_dim, encoder.text_width, encoder.image_width, encoder.text_layers)
    assert facts == (24, 32, 48, 3)
    assert (encoder.image_layers, encoder.context_length, encoder.causal) == (2, 77, True)


def test_features_and_logits_are_the_librarys(encoder, folder):
    model = CLIPModel.from_pretrained(folder)
    ids = encoder.tokenize(["a photo of the cat.", "dog"])
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits_per_image
        image, text = encoder.encode_pixels(pixels), encoder.encode_text_ids(ids)
    cosines = torch.cosine_similarity(image[:, None], text[None], dim=-1)
    assert torch.allclose(encoder.logit_scale * cosines, expected, atol=2e-4)
    assert image.norm(dim=1).sub(1).abs().min() > 0.1  # raw, not normalised


def test_texts_are_cut_after_the_last_end_token_without_changing_a_number(encoder, monkeypatch):
    texts = ["a photo of the cat.", "dog"]
    full = encoder.encode_text_ids(encoder.tokenize(texts))
    widths = []
    whole = encoder.encode_text_ids
    monkeypatch.setattr(
        encoder, "encode_text_ids", lambda ids: widths.append(ids.shape[1]) or whole(ids)
    )
    cut = encoder.encode_texts(texts)
    assert widths == [8]
    assert torch.allclose(cut, full, atol=1e-5)
    assert not cut.is_inference()  # learners use it inside autograd


def test_tokens_of_byte_level_bpe(encoder):
    vocabulary = encoder.tokenizer.get_vocab()
    ids = encoder.tokenize(["The cat"])
    words = [vocabulary[t] for t in (SOS, "the</w>", "cat</w>", EOS)]
    assert ids[0, :4].tolist() == words
    assert set(ids[0, 4:].tolist()) == {vocabulary[EOS]}
    assert encoder.end_positions(ids).tolist() == [3]
    assert encoder.token_ids([]) == []


def test_old_checkpoints_pool_at_the_largest_id(folder, tmp_path):
    make_tiny_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (tmp_path / "config.json").write_text(json.dumps(config))
    old, new = load_backbone(str(tmp_path)), load_backbone(str(folder))
    ids = new.tokenize(["a photo of the cat.", "dog"])
    assert old.end_positions(ids).tolist() == new.end_positions(ids).tolist()
    assert torch.equal(old.encode_text_ids(ids), new.encode_text_ids(ids))


def test_a_long_text_is_named_with_the_limit(encoder):
    with pytest.raises(DataError, match=r'"x x .*" has 80 tokens, at most 75 fit'):
        encoder.tokenize(["cat", "x " * 80])


def test_logit_scale_can_be_replaced(encoder):
    other = encoder.with_logit_scale(20.0)
    assert other.logit_scale.item() == pytest.approx(20.0)
    assert encoder.logit_scale.item() == pytest.approx(100.0, rel=1e-6)
    assert other.fingerprint != encoder.fingerprint
    assert other.model is encoder.model
    with pytest.raises(BackboneError, match="positive factor"):
        encoder.with_logit_scale(0.0)


def test_fingerprint_is_of_content_not_of_storage(folder, tmp_path, encoder):
    # Weights that float16 represents exactly, stored both ways and loaded with another type.
    half = make_tiny_clip(tmp_path / "half", dtype=torch.float16)
    first = load_backbone(str(half))
    assert first.dtype == torch.float32
    first.model.save_pretrained(tmp_path / "full")
    first.tokenizer.save_pretrained(tmp_path / "full")
    (tmp_path / "full" / "preprocessor_config.json").write_text(
        (half / "preprocessor_config.json").read_text()
    )
    again = load_backbone(str(tmp_path / "full"), dtype=torch.float64)
    assert again.fingerprint == first.fingerprint
    assert load_backbone(str(folder)).fingerprint == encoder.fingerprint
    assert len({first.fingerprint, encoder.fingerprint}) == 2


@pytest.mark.parametrize("change", ["weight", "activation", "vocabulary"])
def test_fingerprint_sees_every_change_of_meaning(tmp_path, encoder, change):
    make_tiny_clip(tmp_path)
    if change == "weight":
        model = CLIPModel.from_pretrained(tmp_path)
        with torch.no_grad():
            model.text_projection.weight[0, 0] += 1e-6
        model.save_pretrained(tmp_path)
    elif change == "activation":
        config = json.loads((tmp_path / "config.json").read_text())
        config["text_config"]["hidden_act"] = "gelu"
        (tmp_path / "config.json").write_text(json.dumps(config))
    else:
        merges = (tmp_path / "merges.txt").read_text().replace("do g</w>\n", "")
        (tmp_path / "merges.txt").write_text(merges)
    assert load_backbone(str(tmp_path)).fingerprint != encoder.fingerprint


def test_pixels_by_hand(encoder):
    image = Image.new("RGB", (16, 24), (255, 0, 51))
    pixels = encoder.pixels([image])
    assert pixels.shape == (1, 3, 16, 16)
    expected = [(value - m) / s for value, m, s in zip((1.0, 0.0, 0.2), MEAN, STD, strict=True)]
    assert torch.allclose(pixels.mean(dim=(0, 2, 3)), torch.tensor(expected), atol=1e-6)


def test_resizing_and_cropping_follow_the_original_transform():
    recipe = Preprocess(size=224, resize=224)
    assert recipe.resized_size(500, 333) == (336, 224)  # int(224 * 500 / 333) = int(336.3)
    assert recipe.crop_box(500, 333) == (56, 0, 280, 224)
    assert recipe.crop_box(333, 500) == (0, 56, 224, 280)
    assert Preprocess(size=4, resize=4).crop_box(7, 4) == (2, 0, 6, 4)  # round(1.5) = 2
    image = Image.fromarray(np.arange(8 * 6, dtype=np.uint8).reshape(8, 6))
    kept = np.asarray(Preprocess(size=6, resize=6).crop(image))[:, :, 0]
    assert np.array_equal(kept, np.arange(48).reshape(8, 6)[1:7])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 224, "crop_size": 224}, (224, 224, True)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, (224, 256, True)),
        ({"size": {"height": 64, "width": 64}, "do_center_crop": False}, (64, 64, False)),
    ],
)  # fmt: skip
def test_forms_of_the_image_settings(settings, expected):
    recipe = from_settings({**settings, "resample": 2}, "file")
    assert (recipe.size, recipe.resize, recipe.keep_aspect) == expected
    assert recipe.interpolation == "bilinear"
    assert recipe.mean == CLIP_MEAN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 64, "width": 32}}, "square"),
        ({"size": {"shortest_edge": 64}, "do_center_crop": False}, "not be square"),
        ({"resample": 9}, "0 to 5"),
        ({"rescale_factor": 1.0}, "1/255"),
        ({"size": 32, "crop_size": 64}, "does not fit"),
    ],
)
def test_image_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(BackboneError, match=message):
        from_settings(settings, "file")


def test_missing_image_settings_are_said_aloud(tmp_path):
    make_tiny_clip(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match=r"no preprocessor_config\.json; using the original CLIP"):
        encoder = load_backbone(str(tmp_path))
    assert encoder.preprocess == Preprocess(size=16, resize=16)


def test_zero_shot_text_features(encoder):
    templates = ["a photo of the {}.", "{}"]
    features = text_features(encoder, ["cat", "sea_lake"], templates)
    assert features.shape == (2, 2, 24)
    single = encoder.encode_text_ids(encoder.tokenize(["a photo of the sea lake."]))[0]
    assert torch.allclose(features[0, 1], single / single.norm(), atol=1e-6)
    with pytest.raises(DataError, match=r"exactly one \{\}"):
        text_features(encoder, ["cat"], ["a photo"])
