"""Learned tokens in every kind of text tower: exact, with gradients, in pieces, at any depth."""

import pytest
import torch

from text_paths import agree, draw, relative, shape_of
from tiny_towers import LAYOUTS, make_tiny_tower
from vlmcal.backbones import load_backbone
from vlmcal.errors import DataError
from vlmcal.text_encoding import PromptLayout, encode_prompts

NAMES = ["cat", "sea_or lake", "the photo of a dog", "x", "737-737"]
TEXTS = {"end": "a photo of the {}.", "middle": "a photo {} of the.", "front": "{} a photo of the."}


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def encoder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "tower"
    return load_backbone(str(make_tiny_tower(request.param, folder)), dtype=torch.float64)


def test_every_kind_of_text_tower_is_here(tmp_path):
    seen = {load_backbone(str(make_tiny_tower(n, tmp_path / n))).text_kind for n in LAYOUTS}
    assert seen == {"causal-eot", "causal-cls", "bert-cls", "bert-mean", "siglip-last"}


@pytest.mark.parametrize("position", TEXTS)
def test_frozen_embeddings_of_a_prompt_give_the_towers_own_output(encoder, position):
    words = torch.tensor(encoder.token_ids(["a photo of the"])[0])
    layout = PromptLayout.build(encoder, NAMES, n_ctx=len(words), position=position)
    texts = [TEXTS[position].format(name.replace("_", " ")) for name in NAMES]
    own = encoder.encode_texts(texts)
    assert relative(encode_prompts(encoder, layout, encoder.embed_tokens(words)), own) < 1e-10


def test_frozen_embeddings_in_float32_are_within_a_millionth(tmp_path):
    for name in LAYOUTS:
        encoder = load_backbone(str(make_tiny_tower(name, tmp_path / name)))
        words = torch.tensor(encoder.token_ids(["a photo of the"])[0])
        layout = PromptLayout.build(encoder, NAMES, n_ctx=len(words))
        own = encoder.encode_texts([TEXTS["end"].format(n.replace("_", " ")) for n in NAMES])
        assert relative(encode_prompts(encoder, layout, encoder.embed_tokens(words)), own) < 1e-6, (
            name
        )


@pytest.mark.parametrize("axis", ["shared", "class", "image"])
def test_values_and_gradients_are_those_of_the_padded_forward(encoder, axis):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=4)
    context = draw(encoder, *shape_of(axis, len(NAMES), 4))
    whole = agree(encoder, layout, context, axis=axis)
    assert relative(agree(encoder, layout, context, axis=axis, class_chunk=2), whole) < 1e-10


@pytest.mark.parametrize("axis", ["shared", "image"])
def test_deep_tokens(encoder, axis):
    layout = PromptLayout.build(encoder, NAMES, n_ctx=3)
    deep = {0: draw(encoder, 2, seed=1), 1: draw(encoder, 5, 3, seed=2)}
    context = draw(encoder, *shape_of(axis, len(NAMES), 3))
    plain = agree(encoder, layout, context, deep, axis)
    assert relative(plain, encode_prompts(encoder, layout, context, context_axis=axis)) > 1e-3


def test_padding_counts_only_where_the_model_says_so(encoder):
    text = ["a photo of the cat."]
    ids = encoder.tokenize(text)
    end = int(encoder.end_positions(ids)) + 1
    longer = torch.full((1, min(encoder.window, end + 6)), encoder.pad_id)
    longer[:, :end] = ids[:, :end]
    if encoder.padding == "free":
        gap = relative(encoder.encode_text_ids(ids[:, :end]), encoder.encode_text_ids(longer))
        assert gap < 1e-10
    elif encoder.padding == "longest":
        assert ids.shape[1] == end  # as long as the longest text of the call
        assert relative(encoder.encode_text_ids(ids), encoder.encode_text_ids(longer)) > 1e-3
    else:
        assert ids.shape[1] == encoder.window


def test_texts_that_do_not_fit_are_named(encoder):
    long = "cat " * 200
    with pytest.raises(DataError, match="text too long"):
        encoder.encode_texts([long])
    with pytest.raises(DataError, match="its prompt has"):
        PromptLayout.build(encoder, [long], n_ctx=4)
    assert encoder.tokenize([long], truncate=True)[0, encoder.context_length - 1] == encoder.eos_id


def test_wrapped_layers_take_part(encoder):
    from vlmcal.learners.tower_views import views, with_text_layers

    layout = PromptLayout.build(encoder, NAMES, n_ctx=2)
    context = draw(encoder, 2)
    plain = encode_prompts(encoder, layout, context)
    layers = encoder.text_tower.layers
    same = with_text_layers(encoder, views(layers, {0: {"q_proj": layers[0].self_attn.q_proj}}))
    assert relative(encode_prompts(same, layout, context), plain) < 1e-12
    scaled = {1: {"v_proj": lambda x: 2 * layers[1].self_attn.v_proj(x)}}
    other = with_text_layers(encoder, views(layers, scaled))
    assert relative(encode_prompts(other, layout, context), plain) > 1e-3
