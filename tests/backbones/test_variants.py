"""Deviations from a published model: by name, with an own fingerprint, refused where they mean nothing."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tiny_towers import make_tiny_tower
from vlmcal.backbones import load_backbone
from vlmcal.errors import BackboneError, DataError, SpecError
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.text_encoding import PromptLayout, encode_prompts

NAMES = ("cat", "dog", "sea lake")


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    made = {}

    def path(name):
        if name not in made:
            made[name] = make_tiny_tower(name, tmp_path_factory.mktemp(name) / "tower")
        return made[name]

    return path


def test_a_siglip_read_by_sigmoids(towers):
    plain = load_backbone(str(towers("siglip")))
    encoder = load_backbone(f"{towers('siglip')}(scores=sigmoid)")
    assert encoder.fingerprint != plain.fingerprint
    classes = ClassContext(encoder, NAMES, ("a photo of a {}.",))
    learner = LEARNERS.get("zero_shot")(classes, LEARNERS.get("zero_shot").Config())
    image = torch.randn(4, encoder.embed_dim)
    (logits,) = [
        learner.predict([Batch(image_features=image, labels=torch.zeros(4, dtype=torch.long))])
    ]
    cosine = normalize(image, dim=-1) @ classes.text_features.T
    pairs = torch.sigmoid(encoder.logit_scale * cosine + encoder.logit_bias)
    expected = pairs / pairs.sum(dim=-1, keepdim=True)
    assert torch.allclose(logits.softmax(dim=-1), expected, atol=1e-6)
    softmax = LEARNERS.get("zero_shot")(
        ClassContext(plain, NAMES, ("a photo of a {}.",)), LEARNERS.get("zero_shot").Config()
    )
    other = softmax.predict([Batch(image_features=image, labels=torch.zeros(4, dtype=torch.long))])
    assert torch.allclose(other, plain.logit_scale * cosine, atol=1e-4)
    with pytest.raises(SpecError, match="no linear head: its scores are sigmoids"):
        learner.linear_head()
    with pytest.raises(SpecError, match='"tip_adapter" makes its scores in its own way'):
        LEARNERS.get("tip_adapter")(classes, LEARNERS.get("tip_adapter").Config())


def test_sigmoids_need_a_bias():
    with pytest.raises(BackboneError, match="needs a model with a logit bias"):
        load_backbone("pocket(scores=sigmoid)")
    with pytest.raises(SpecError, match="scores"):
        load_backbone("pocket(scores=tanh)")
    with pytest.raises(SpecError, match="pad_to"):
        load_backbone("pocket(pad=3)")


def test_medclip_padded_to_a_fixed_length(towers):
    free = load_backbone(str(towers("medclip_resnet")))
    fixed = load_backbone(f"{towers('medclip_resnet')}(pad_to=12)")
    assert fixed.fingerprint != free.fingerprint
    assert "padded to 12 tokens" in fixed.about
    assert fixed.tokenize(["cat"]).shape == (1, 12)
    layout = PromptLayout.build(fixed, NAMES, n_ctx=2)
    assert layout.ids.shape == (3, 12)
    words = torch.tensor(fixed.token_ids(["a photo"])[0])
    own = fixed.encode_texts([f"a photo {name}." for name in NAMES])
    assert torch.allclose(encode_prompts(fixed, layout, fixed.embed_tokens(words)), own, atol=1e-5)
    # No longer a matter of what else is encoded.
    assert torch.allclose(
        fixed.encode_texts(["cat", "a photo of the sea"])[:1],
        fixed.encode_texts(["cat"]),
        atol=1e-6,
    )
    assert not torch.allclose(
        free.encode_texts(["cat", "a photo of the sea"])[:1], free.encode_texts(["cat"]), atol=1e-3
    )
    with pytest.raises(DataError, match="too long"):
        fixed.encode_texts(["cat " * 11])
    with pytest.raises(BackboneError, match="padding is fixed or changes nothing"):
        load_backbone("pocket(pad_to=25)")


def test_the_double_embedding_of_released_code_changes_learned_prompts_only(towers):
    right = load_backbone(str(towers("openclip_timm_bert")))
    double = load_backbone(f"{towers('openclip_timm_bert')}(double_embedding=true)")
    assert double.fingerprint != right.fingerprint
    layout = PromptLayout.build(right, NAMES, n_ctx=2)
    context = torch.randn(2, right.text_width)
    gap = encode_prompts(double, layout, context) - encode_prompts(right, layout, context)
    assert gap.abs().max() > 1e-3
    texts = ["a photo of a cat."]
    assert torch.equal(double.encode_texts(texts), right.encode_texts(texts))
    with pytest.raises(BackboneError, match="BERT text tower"):
        load_backbone("pocket(double_embedding=true)")


def test_another_logit_scale_by_name():
    encoder = load_backbone("pocket(logit_scale=50)")
    assert float(encoder.logit_scale) == 50
    assert encoder.name == "pocket(logit_scale=50)"


def test_a_folder_with_parentheses_in_its_name_is_a_folder(tmp_path):
    folder = make_tiny_tower("clip", tmp_path / "clip (copy)")
    assert load_backbone(str(folder)).family == "clip"


def test_what_was_read_is_said_with_the_results(towers, tmp_path):
    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.run import Workbench, run_cell
    from vlmcal.experiment.spec import parse_spec
    from vlmcal.experiment.store import Store
    from vlmcal.io.json_files import read_json

    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "d.npz",
        images=draw.integers(0, 255, (12, 16, 16), dtype=np.uint8),
        labels=np.arange(12) % 2,
        class_names=np.array(["cat", "dog"]),
        splits=np.array(["train"] * 4 + ["val"] * 4 + ["test"] * 4),
    )
    for name, words in (
        ("", "softmax over the classes"),
        ("(scores=sigmoid)", "independent sigmoids with its bias, br"),
    ):
        spec = {
            "data": str(tmp_path / "d.npz"),
            "backbone": f"{towers('siglip')}{name}",
            "method": "zero_shot",
        }
        store = Store(tmp_path / "runs")
        store.open()
        (cell,) = plan(parse_spec(spec))
        run = run_cell(cell, store, Workbench(cache_dir=tmp_path / "cache"))
        status = read_json(store.folder(run) / "status.json")
        assert any(words in line for line in status["remarks"])
        assert status["provenance"]["scores"] == ("sigmoid" if name else "softmax")


def test_images_encoded_in_bfloat16_have_a_key_of_their_own(tmp_path):
    from vlmcal.backbones.cache import image_features
    from vlmcal.types.dataset import Dataset

    draw = np.random.default_rng(0)
    data = Dataset(
        name="d",
        images=draw.integers(0, 255, (5, 16, 16, 3), dtype=np.uint8),
        labels=[0, 1, 0, 1, 0],
        splits=["train"] * 5,
        class_names=("a", "b"),
    )
    exact, half = load_backbone("pocket"), load_backbone("pocket(encode_precision=bfloat16)")
    one, two = (image_features(e, data, cache_dir=tmp_path) for e in (exact, half))
    assert one.key != two.key
    assert two.image_features.dtype == np.float32
    gap = np.abs(one.image_features - two.image_features).max() / np.abs(one.image_features).max()
    assert 1e-5 < gap < 0.05
    with pytest.raises(SpecError, match="encode_precision"):
        load_backbone("pocket(encode_precision=int8)")


def test_options_from_the_command_line_stand_behind_the_name():
    from vlmcal.cli.train import _with_options

    assert (
        _with_options("siglip-b-16", scores="sigmoid", encode_precision=None)
        == "siglip-b-16(scores=sigmoid)"
    )
    assert _with_options("pocket", scores=None) == "pocket"


def test_a_margin_out_of_reach_of_a_small_scale_is_said():
    from vlmcal.experiment.remarks import remarks
    from vlmcal.objectives.compose import parse_objective

    objective = parse_objective(["mbls"])
    (line,) = remarks(load_backbone("pocket(logit_scale=10)"), objective)
    assert "its margin of 10 is more than a third of the logit scale 10.0" in line
    assert remarks(load_backbone("pocket(logit_scale=100)"), objective) == []
