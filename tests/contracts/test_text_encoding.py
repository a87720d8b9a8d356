"""The fast text path equals the library's own 77-token forward, values and gradients."""

import pytest
import torch
from torch import nn

from padded_prompts import encode_prompts_reference
from text_paths import FEATURES, agree, draw, relative, shape_of
from tiny_clip import make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.errors import DataError, SpecError
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.text_encoding import encode as encode_module

NAMES = ["cat", "sea_or lake", "the photo of a dog", "x", "737-800"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def encoders(folder):
    return {dtype: load_backbone(str(folder), dtype=dtype) for dtype in FEATURES}


@pytest.fixture
def encoder(encoders):
    return encoders[torch.float64]


def names(count):
    return [NAMES[i % 5] + (f" {i}" if i >= 5 else "") for i in range(count)]


@pytest.mark.parametrize("axis", ["shared", "class", "image"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize(("count", "n_ctx"), [(1, 5), (3, 1), (5, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_equals_the_librarys_forward(encoders, dtype, count, n_ctx, position, axis):
    encoder = encoders[dtype]
    layout = PromptLayout.build(encoder, names(count), n_ctx=n_ctx, position=position)
    agree(encoder, layout, draw(encoder, *shape_of(axis, count, n_ctx)), axis=axis)


@pytest.mark.parametrize("axis", ["shared", "class", "image"])
@pytest.mark.parametrize("options", [{"class_chunk": 7}, {"share_prefix": False}], ids=str)
def test_chunks_and_unshared_prefix_change_nothing(encoder, axis, options):
    layout = PromptLayout.build(encoder, names(50), n_ctx=5)
    context = draw(encoder, *shape_of(axis, 50, 5, batch=2))
    agree(encoder, layout, context, axis=axis, **options)


DEEP = {
    "shared_tokens": {1: (2,), 2: (2,)},
    "class_tokens_in_the_last_layer": {2: (5, 4)},
    "shared_then_class_then_shared": {0: (1,), 1: (5, 2), 2: (3,)},
}


@pytest.mark.parametrize("shapes", DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("axis", ["shared", "class", "image"])
def test_deep_tokens(encoder, shapes, position, axis):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=4, position=position)
    deep = {i: draw(encoder, *shape, seed=i + 1) for i, shape in shapes.items()}
    context = draw(encoder, *shape_of(axis, 5, 4))
    plain = agree(encoder, layout, context, deep, axis)
    chunked = agree(encoder, layout, context, deep, axis, class_chunk=2)
    assert relative(chunked, plain) < 1e-12


def test_deep_tokens_at_the_input_replace_embedding_and_position(encoder):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=3)
    agree(encoder, layout, draw(encoder, 3), {0: draw(encoder, 2, seed=1)})


def test_a_thousand_classes_in_pieces(encoders):
    encoder = encoders[torch.float32]
    layout = PromptLayout.build(encoder, names(1000), n_ctx=5)
    agree(encoder, layout, draw(encoder, 5), class_chunk=130)


def test_large_problems_are_cut_into_pieces_by_themselves(encoder, monkeypatch):
    layout = PromptLayout.build(encoder, names(20), n_ctx=4)
    pieces = []
    run = encode_module.run
    monkeypatch.setattr(encode_module, "run", lambda *a: pieces.append(a[2].shape[0]) or run(*a))
    agree(encoder, layout, draw(encoder, 4))
    assert len(pieces) == 1
    row = encode_module._KEPT_PER_ROW * 32 * 8 * 3  # bytes per row: width, float64, layers
    monkeypatch.setattr(encode_module, "ACTIVATION_BUDGET", 40 * row)
    pieces.clear()
    agree(encoder, layout, draw(encoder, 4))
    assert len(pieces) > 4  # forward and again in backward
    assert max(pieces) < 80
    agree(encoder, layout, draw(encoder, 6, 4), axis="image")


@pytest.mark.parametrize(
    ("position", "text"),
    [
        ("end", "a photo of the {}."),
        ("middle", "a photo {} of the."),
        ("front", "{} a photo of the."),
    ],
)
def test_word_embeddings_as_context_give_the_features_of_the_sentence(encoder, position, text):
    words = torch.tensor(encoder.token_ids(["a photo of the"])[0])
    context = encoder.embed_tokens(words)
    layout = PromptLayout.build(encoder, NAMES, n_ctx=len(words), position=position)
    texts = [text.format(name.replace("_", " ")) for name in NAMES]
    sentence = encoder.encode_text_ids(encoder.tokenize(texts))
    assert relative(encode_prompts(encoder, layout, context), sentence) < 1e-12
    assert relative(encode_prompts_reference(encoder, layout, context), sentence) < 1e-12
    assert layout.ends.tolist() == encoder.end_positions(encoder.tokenize(texts)).tolist()


def test_an_odd_context_in_the_middle_puts_the_smaller_half_first(encoder):
    layout = PromptLayout.build(encoder, ["cat", "cat dog"], n_ctx=5, position="middle")
    assert layout.slots[0].tolist() == [-1, 0, 1, -1, 2, 3, 4, -1, -1, -1]
    assert layout.slots[1].tolist() == [-1, 0, 1, -1, -1, 2, 3, 4, -1, -1]
    cat, dog = encoder.token_ids(["cat dog"])[0]
    assert layout.ids[1, 3:5].tolist() == [cat, dog]
    assert layout.ends.tolist() == [8, 9]


def test_fixed_words_without_context_are_the_zero_shot_prompt(encoder):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=0, prefix="a photo of a", suffix=", a dog.")
    ours = encode_prompts(encoder, layout, torch.zeros(0, encoder.text_width))
    theirs = encoder.encode_texts([f"a photo of a {n.replace('_', ' ')}, a dog." for n in NAMES])
    assert relative(ours, theirs) < 1e-12


def test_prompts_without_a_class_name(encoder):
    layout = PromptLayout.build(encoder, [""], n_ctx=3)
    assert layout.ends.tolist() == [5]  # start, three context tokens, full stop, end
    agree(encoder, layout, draw(encoder, 3))


def test_words_before_all_names_are_computed_once(encoder):
    layout = PromptLayout.build(encoder, ["cat", "dog", "x"], n_ctx=2, prefix="the photo of")
    assert layout.shared_length(class_context=False) == 1 + 2 + 3
    assert layout.shared_length(class_context=True) == 1


class Lora(nn.Module):
    def __init__(self, base, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        make = lambda *shape: nn.Parameter(0.2 * torch.randn(*shape, generator=generator).double())  # noqa: E731
        self.base, self.a, self.b = base, make(2, 32), make(32, 2)

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


def test_wrapped_projections_take_part(folder):
    encoder = load_backbone(str(folder), dtype=torch.float64)
    for number, layer in enumerate(encoder.text_tower.layers):
        for name in ("q_proj", "k_proj", "v_proj"):
            base = getattr(layer.self_attn, name)
            setattr(layer.self_attn, name, Lora(base, number))
    weights = [p for p in encoder.model.parameters() if p.requires_grad]
    assert len(weights) == 18
    layout = PromptLayout.build(encoder, NAMES, n_ctx=0, prefix="a photo of a")
    nothing = torch.zeros(0, 32, dtype=torch.float64)
    theirs = encode_prompts_reference(encoder, layout, nothing)
    expected = torch.autograd.grad(theirs.square().sum(), weights)
    for options in ({}, {"class_chunk": 2}):
        ours = encode_prompts(encoder, layout, nothing, **options)
        assert relative(ours, theirs) < 1e-12
        for mine, reference in zip(
            torch.autograd.grad(ours.square().sum(), weights), expected, strict=True
        ):
            assert relative(mine, reference) < 1e-9


def test_frozen_weights_get_no_gradient_and_do_not_move(folder):
    encoder = load_backbone(str(folder))
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    layout = PromptLayout.build(encoder, NAMES, n_ctx=4)
    context = draw(encoder, 4)
    encode_prompts(encoder, layout, context, class_chunk=2).sum().backward()
    assert context.grad is not None
    assert all(p.grad is None for p in encoder.model.parameters())
    after = encoder.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_bfloat16_stays_close(encoders, folder):
    half = load_backbone(str(folder), dtype=torch.bfloat16)
    layout = PromptLayout.build(half, NAMES, n_ctx=4)
    context = draw(encoders[torch.float32], 4)
    features = encode_prompts(half, layout, context)
    assert features.dtype == torch.bfloat16
    exact = encode_prompts(encoders[torch.float32], layout, context)
    assert torch.cosine_similarity(features.float(), exact).min() > 0.999
    features.float().sum().backward()
    assert context.grad.dtype == torch.float32


def test_a_layout_first_used_in_inference_mode_can_be_trained_with(encoder):
    with torch.inference_mode():
        layout = PromptLayout.build(encoder, NAMES, n_ctx=4)
        encode_prompts(encoder, layout, torch.zeros(4, 32))
    agree(encoder, layout, draw(encoder, 4))


def test_mistakes_are_named(encoder):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=4)
    with pytest.raises(SpecError, match=r"shape \(M=4, d=32\) .* got \(5, 32\)"):
        encode_prompts(encoder, layout, torch.zeros(5, 32))
    with pytest.raises(SpecError, match=r"K=5, M=4, d=32.* got \(4, 4, 32\)"):
        encode_prompts(encoder, layout, torch.zeros(4, 4, 32), context_axis="class")
    with pytest.raises(SpecError, match='did you mean "image"'):
        encode_prompts(encoder, layout, torch.zeros(4, 32), context_axis="images")
    with pytest.raises(SpecError, match="layer 3: the text tower has layers 0 to 2"):
        encode_prompts(encoder, layout, torch.zeros(4, 32), deep={3: torch.zeros(2, 32)})
    with pytest.raises(SpecError, match=r"n from 1 to 6, got \(9, 32\)"):
        encode_prompts(encoder, layout, torch.zeros(4, 32), deep={1: torch.zeros(9, 32)})
    with pytest.raises(SpecError, match='did you mean "middle"'):
        PromptLayout.build(encoder, NAMES, n_ctx=4, position="midle")
    with pytest.raises(DataError, match=r'"x y z.*": its prompt has 106 tokens \(16 of context\)'):
        PromptLayout.build(encoder, ["cat", "x y z " * 28 + "..."], n_ctx=16)
