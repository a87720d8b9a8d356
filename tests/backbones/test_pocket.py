import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from sklearn.datasets import load_digits
from transformers import CLIPModel, CLIPTokenizer

import vlmcal
from pocket_glyphs import DIGIT_WORDS, DIGITS
from pocket_strokes import render_handwritten
from vlmcal.data.render import COLOURS, SHAPES, TEXTURES, render_shape

FOLDER = Path(vlmcal.__file__).parent / "backbones" / "pocket"
NUMBER = "a photo of the number {}."


@pytest.fixture(scope="module")
def model():
    return CLIPModel.from_pretrained(FOLDER, local_files_only=True).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def classify(model, tokenizer):
    settings = json.loads((FOLDER / "preprocessor_config.json").read_text(encoding="utf-8"))
    mean, std = (np.array(settings[key]) for key in ("image_mean", "image_std"))

    @torch.no_grad()
    def probabilities(images, prompts):
        pixels = (np.stack(images) / 255.0 - mean) / std
        ids = tokenizer(prompts, padding=True, return_tensors="pt").input_ids
        tensor = torch.from_numpy(pixels).float().permute(0, 3, 1, 2)
        return model(input_ids=ids, pixel_values=tensor).logits_per_image.softmax(dim=1).numpy()

    return probabilities


@pytest.fixture(scope="module")
def card():
    return json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def real_digits(classify):
    """Probabilities and labels of all real digits, through the resizing of an image processor."""
    digits = load_digits()
    images = [
        np.asarray(
            Image.fromarray((level * 255 / 16).astype(np.uint8)).convert("RGB").resize((32, 32), 3)
        )
        for level in digits.images
    ]
    return classify(images, [NUMBER.format(word) for word in DIGIT_WORDS]), digits.target


def test_folder_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000


def test_weights_are_stored_in_half_and_load_in_single_precision(model):
    with safe_open(FOLDER / "model.safetensors", framework="pt") as weights:
        kinds = {weights.get_tensor(name).dtype for name in weights.keys() if "weight" in name}  # noqa: SIM118
    assert kinds == {torch.float16}
    assert model.dtype == torch.float32


def test_both_sides_are_deep_enough_for_deep_prompts(model):
    assert len(model.text_model.encoder.layers) >= 10
    assert len(model.vision_model.encoder.layers) >= 10


def test_logit_scale_stays_below_the_clip_limit(model):
    assert 1.0 < model.logit_scale.exp().item() <= 100.0


def test_markers_are_the_last_two_tokens(model, tokenizer):
    text = model.config.text_config
    assert len(tokenizer) == text.vocab_size
    assert tokenizer.bos_token_id == text.bos_token_id == text.vocab_size - 2
    assert tokenizer.eos_token_id == text.eos_token_id == text.vocab_size - 1
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_512_byte_symbols_come_first(tokenizer):
    symbols = tokenizer.convert_ids_to_tokens(range(512))
    assert all(len(symbol.removesuffix("</w>")) == 1 for symbol in symbols)
    assert sum(symbol.endswith("</w>") for symbol in symbols) == 256


@pytest.mark.parametrize(
    "name",
    [
        "zebra crossing",
        "naïve café",
        "犬と猫",
        "Ωμέγα",
        "boeing 737-800",
        "🙂 smile",
        "b.o.b.",
        "ñandú",
    ],
)
def test_any_name_survives_the_round_trip(tokenizer, name):
    ids = tokenizer(name).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids[1:-1]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text.replace(" ", "") == name.lower().replace(" ", "")


@pytest.mark.parametrize("word", [*DIGIT_WORDS, *SHAPES, *COLOURS, *TEXTURES, "photo", "number"])
def test_words_of_the_prompts_are_single_tokens(tokenizer, word):
    assert len(tokenizer(word).input_ids) == 3


def test_padding_does_not_change_text_features(model, tokenizer):
    prompts = ["a photo of the number three.", "a low resolution photo of a plain red circle."]
    with torch.no_grad():
        padded = tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
        tight = tokenizer(prompts[:1], return_tensors="pt").input_ids
        both = model.get_text_features(padded).pooler_output
        alone = model.get_text_features(tight).pooler_output
    torch.testing.assert_close(both[:1], alone, atol=1e-4, rtol=1e-4)
    assert padded.shape == (2, 77)


def test_fresh_scenes_are_named_zero_shot(classify):
    rng = np.random.default_rng(31_337)
    classes = [(s, c, t) for s in SHAPES for c in COLOURS for t in TEXTURES]
    prompts = [f"a photo of a {t} {c} {s}." for s, c, t in classes]
    labels = rng.integers(len(classes), size=300)
    images = [
        render_shape(
            rng,
            shape=s,
            colour=c,
            texture=t,
            size=rng.uniform(0.6, 0.95),
            shift=rng.uniform(0, 0.2),
        )
        for s, c, t in (classes[label] for label in labels)
    ]
    assert (classify(images, prompts).argmax(axis=1) == labels).mean() > 0.8


@pytest.mark.parametrize("names", [DIGIT_WORDS, DIGITS], ids=["words", "numerals"])
def test_fresh_handwriting_is_named_zero_shot(classify, names):
    rng = np.random.default_rng(31_338)
    labels = rng.integers(10, size=300)
    images = [render_handwritten(rng, DIGITS[label]) for label in labels]
    found = classify(images, [NUMBER.format(name) for name in names])
    assert (found.argmax(axis=1) == labels).mean() > 0.8


def test_real_digits_reach_the_accuracy_of_the_card(real_digits, card):
    probabilities, labels = real_digits
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(card["real_digits"]["accuracy"], abs=0.02)
    assert accuracy > 0.6


def test_confidence_on_real_digits_is_that_of_the_card(real_digits, card):
    probabilities, _ = real_digits
    expected = card["real_digits"]["mean_confidence"]
    assert probabilities.max(axis=1).mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("part", "first"), [("base", 0), ("new", 5)])
def test_both_halves_of_the_digits_work_zero_shot(real_digits, part, first, card):
    probabilities, labels = real_digits
    mine = (labels >= first) & (labels < first + 5)
    guesses = probabilities[mine, first : first + 5].argmax(axis=1) + first
    accuracy = (guesses == labels[mine]).mean()
    assert accuracy == pytest.approx(card[f"real_digits_{part}"]["accuracy"], abs=0.02)
    assert accuracy > 0.6


def test_readme_states_the_numbers_of_the_card(card):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for numbers in [*card["generated"].values(), card["real_digits"]]:
        row = f"| {100 * numbers['accuracy']:.1f} % | {numbers['mean_confidence']:.3f} |"
        assert row in readme
