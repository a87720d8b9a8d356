"""The local chat model against plain forward passes of the same weights."""

import asyncio
import math
import shutil
import time
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from tiny_vlm import BOS, EOS, TEMPLATE, make_tiny_vlm
from vlmcal.elicit.images import image_bytes
from vlmcal.elicit.models.base import PermanentError
from vlmcal.elicit.models.logprobs import join_tokens
from vlmcal.elicit.models.transformers_local import transformers_chat
from vlmcal.errors import BackboneError
from vlmcal.types.chat import ImageRef, Message, Request

STUBBORN = {
    "do_sample": True, "temperature": 0.6, "top_k": 1, "top_p": 0.5, "repetition_penalty": 1.9,
    "no_repeat_ngram_size": 1, "min_new_tokens": 7, "max_length": 9,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def chat(folder):
    return transformers_chat(str(folder))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Paths of two images that differ in their halves, so that order and edits show."""
    where = tmp_path_factory.mktemp("pictures")
    paths = []
    for name, left, right in (("a", "red", "white"), ("b", "black", "blue")):
        image = Image.new("RGB", (48, 40), left)
        image.paste(Image.new("RGB", (24, 40), right), (24, 0))
        image.save(where / f"{name}.png")
        paths.append(str(where / f"{name}.png"))
    return paths


@pytest.fixture
def request_(pictures):
    images = tuple(ImageRef(path) for path in pictures)
    turns = (Message("system", "Be brief."), Message("user", "Is it är?", images))
    return Request(messages=turns, max_tokens=12, logprobs=4)


def ask(chat, request):
    return asyncio.run(chat.generate(request))


class Oracle:
    """The same weights, asked without generate(), without a cache and with a prompt written by hand."""

    def __init__(self, folder, prompt, paths):
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        self.processor = AutoProcessor.from_pretrained(folder)
        self.end = self.processor.tokenizer.convert_tokens_to_ids(EOS)
        images = [Image.open(path).convert("RGB") for path in paths]
        self.inputs = self.processor(
            text=[prompt], images=[images] if images else None, return_tensors="pt",
            add_special_tokens=False,
        )  # fmt: skip

    @torch.no_grad()
    def logits(self, ids):
        """Logits (len(ids) + 1, V) at the places of ``ids`` and at the one after them."""
        full = torch.cat([self.inputs["input_ids"], torch.tensor([ids], dtype=torch.long)], dim=1)
        out = self.model(
            input_ids=full,
            pixel_values=self.inputs.get("pixel_values"),
            attention_mask=torch.ones_like(full),
        )
        return out.logits[0, self.inputs["input_ids"].shape[1] - 1 :].double()

    def greedy(self, n):
        ids = []
        for _ in range(n):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids

    def text(self, ids):
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True)


PROMPT = f"{BOS}[system]Be brief.{EOS}[user]<image><image>Is it är?{EOS}[assistant]"


def ids_of(oracle, response):
    """Token numbers from the bytes of a response's tokens, which are distinct in this vocabulary."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    written = bytes_to_unicode()
    names = [
        "".join(written[byte] for byte in token.raw) or token.text for token in response.tokens
    ]
    return oracle.processor.tokenizer.convert_tokens_to_ids(names)


@pytest.mark.parametrize(("temperature", "sample"), [(0.0, 0), (0.7, 1), (2.0, 2)])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    folder, chat, pictures, request_, temperature, sample
):
    oracle = Oracle(folder, PROMPT, pictures)
    response = ask(chat, replace(request_, temperature=temperature, sample=sample))
    ids = ids_of(oracle, response)
    expected = oracle.logits(ids).log_softmax(-1)
    for place, (token, number) in enumerate(zip(response.tokens, ids, strict=True)):
        assert token.logprob == pytest.approx(float(expected[place, number]), abs=1e-5)
        best = expected[place].topk(4)
        assert [a.logprob for a in token.top] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert token.top[0].text == oracle.processor.tokenizer.decode([int(best.indices[0])])
    if temperature == 0:
        assert ids == oracle.greedy(12)
        assert response.text == oracle.text(ids)
    assert response.text == join_tokens(response.tokens)
    assert response.prompt_tokens == oracle.inputs["input_ids"].shape[1]
    stopped = response.finish_reason == "stop"
    assert response.completion_tokens == len(response.tokens) + stopped
    assert stopped or len(response.tokens) == 12


def test_one_position_has_a_total_probability_of_one(chat, request_):
    everything = ask(chat, replace(request_, logprobs=10_000, max_tokens=1)).tokens[0].top
    assert len(everything) == chat.capabilities.top_logprobs
    assert sum(math.exp(a.logprob) for a in everything) == pytest.approx(1, abs=1e-9)


def test_no_log_probabilities_unless_asked_for(chat, request_):
    assert ask(chat, replace(request_, logprobs=None)).tokens is None
    assert all(t.top == () for t in ask(chat, replace(request_, logprobs=0)).tokens)


def test_settings_of_the_checkpoint_change_nothing(tmp_path, pictures, request_):
    other = make_tiny_vlm(tmp_path, generation=STUBBORN)
    chat = transformers_chat(str(other))
    oracle = Oracle(other, PROMPT, pictures)
    expected = oracle.greedy(24)
    assert oracle.end not in expected
    assert len(set(expected)) < len(expected)  # a repetition penalty would have shown
    response = ask(chat, replace(request_, max_tokens=24))
    assert ids_of(oracle, response) == expected
    # With top_k = 1 all draws were the same.
    drawn = {ask(chat, replace(request_, temperature=1.5, sample=k)).text for k in range(4)}
    assert len(drawn) == 4


def test_every_end_token_ends_an_answer(tmp_path, folder, pictures, request_):
    oracle = Oracle(folder, PROMPT, pictures)
    ids = oracle.greedy(6)
    n = next(n for n in (5, 4, 3, 2, 1) if ids[n] not in ids[:n])
    ends = {"eos_token_id": [oracle.end, ids[n]]}
    response = ask(transformers_chat(str(make_tiny_vlm(tmp_path, generation=ends))), request_)
    assert ids_of(oracle, response) == ids[:n]
    assert response.text == oracle.text(ids[:n])
    assert (response.finish_reason, response.completion_tokens) == ("stop", n + 1)


def test_draws_follow_the_softmax_of_logits_over_temperature(folder, chat, pictures):
    question = Request(messages=(Message("user", "?"),), temperature=0.3, max_tokens=1, logprobs=0)
    oracle = Oracle(folder, f"{BOS}[user]?{EOS}[assistant]", [])
    n, chances = 120, torch.softmax(oracle.logits([])[0] / 0.3, dim=-1)
    draws = [ask(chat, replace(question, sample=k)) for k in range(n)]
    counts = torch.zeros(len(chances))
    for response in draws:
        counts[ids_of(oracle, response)[0] if response.tokens else oracle.end] += 1
    likely = chances.topk(5).indices
    for number in likely:
        chance = float(chances[number])
        assert abs(float(counts[number]) / n - chance) < 4 * math.sqrt(chance * (1 - chance) / n)


def test_a_request_has_one_answer_and_another_sample_another(folder, chat, request_, tmp_path):
    hot = replace(request_, temperature=1.0)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    again = transformers_chat(str(moved))
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = ask(chat, hot)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert replace(ask(again, hot), seconds=0) == replace(first, seconds=0)
    assert len({ask(chat, replace(hot, sample=k)).text for k in range(5)}) == 5


def test_requests_at_the_same_time_do_not_mix(chat, request_, monkeypatch):
    requests = [replace(request_, temperature=1.0, sample=k) for k in range(4)]
    alone = [ask(chat, request).text for request in requests]
    inside, most, real = [], [], chat._model.generate

    def generate(**inputs):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        real(**inputs)
        inside.pop()

    # Some architectures keep state between the steps of an answer.
    monkeypatch.setattr(chat._model, "generate", generate)

    async def together():
        return await asyncio.gather(*(chat.generate(request) for request in requests))

    assert [response.text for response in asyncio.run(together())] == alone
    assert most == [1, 1, 1, 1]


def test_images_keep_their_order_and_their_edits(folder, chat, pictures, tmp_path):
    def first(*refs):
        request = Request(messages=(Message("user", "?", refs),), max_tokens=1, logprobs=3)
        return [a.logprob for a in ask(chat, request).tokens[0].top]

    a, b = (ImageRef(path) for path in pictures)
    for order in ((a, b), (b, a)):
        prompt = f"{BOS}[user]<image><image>?{EOS}[assistant]"
        oracle = Oracle(folder, prompt, [ref.path for ref in order])
        expected = oracle.logits([])[0].log_softmax(-1).topk(3).values.tolist()
        assert first(*order) == pytest.approx(expected, abs=1e-5)
    assert first(a, b) != pytest.approx(first(b, a), abs=1e-2)
    edited = ImageRef(a.path, "blank")
    (tmp_path / "blank.png").write_bytes(image_bytes(edited)[0])
    assert first(edited) == first(ImageRef(str(tmp_path / "blank.png")))
    assert first(edited) != pytest.approx(first(a), abs=1e-2)


def test_a_conversation_of_several_turns(folder, chat, pictures):
    turns = (
        Message("user", "?", (ImageRef(pictures[0]),)),
        Message("assistant", "x"),
        Message("user", "y"),
    )
    got = ask(chat, Request(messages=turns, max_tokens=1, logprobs=1)).tokens[0]
    prompt = f"{BOS}[user]<image>?{EOS}[assistant]x{EOS}[user]y{EOS}[assistant]"
    best = Oracle(folder, prompt, pictures[:1]).logits([])[0].log_softmax(-1).max()
    assert got.logprob == pytest.approx(float(best), abs=1e-5)


def test_identity_is_content_and_precision(folder, chat, tmp_path, request_):
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / "README.md").write_text("hello")
    assert transformers_chat(str(moved)).identity == chat.identity
    assert str(folder) not in chat.identity
    assert chat.identity.startswith("hf:")
    half = transformers_chat(str(folder), dtype="bfloat16")
    assert half.identity == chat.identity.replace("float32", "bfloat16")
    assert ask(half, request_).tokens[0].logprob == pytest.approx(
        ask(chat, request_).tokens[0].logprob, abs=0.3
    )
    (moved / "chat_template.jinja").write_text(TEMPLATE + " ")
    changed = {transformers_chat(str(moved)).identity, chat.identity}
    changed.add(transformers_chat(str(make_tiny_vlm(tmp_path / "other", seed=1))).identity)
    assert len(changed) == 3


def test_a_model_in_the_cache_of_the_hub_is_found_without_network(
    folder, chat, tmp_path, monkeypatch
):
    repo, commit = tmp_path / "models--me--tiny", "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert transformers_chat("me/tiny").identity == chat.identity
    assert transformers_chat("me/tiny", revision=commit).identity == chat.identity
    with pytest.raises(BackboneError, match="hf download me/tiny --revision v2"):
        transformers_chat("me/tiny", revision="v2")


def test_a_probe_passes_and_facts_are_known(chat):
    asyncio.run(chat.probe())
    facts = chat.capabilities
    assert (facts.logprobs, facts.images, facts.sentinel, facts.notes) == (True, True, False, [])


def test_system_text_moves_where_the_template_has_no_place_for_it(tmp_path, pictures):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    folder = make_tiny_vlm(tmp_path, template=strict + TEMPLATE)
    chat = transformers_chat(str(folder))
    assert any("system messages" in note for note in chat.capabilities.notes)
    turns = (Message("system", "Be good."), Message("user", "Why?", (ImageRef(pictures[0]),)))
    got = ask(chat, Request(messages=turns, max_tokens=1, logprobs=0)).tokens[0].logprob
    oracle = Oracle(folder, f"{BOS}[user]<image>Be good.\n\nWhy?{EOS}[assistant]", pictures[:1])
    assert got == pytest.approx(float(oracle.logits([])[0].log_softmax(-1).max()), abs=1e-5)


def test_a_template_that_drops_the_question_is_noticed(tmp_path):
    deaf = TEMPLATE.replace("{{ part['text'] }}", "hello")
    chat = transformers_chat(str(make_tiny_vlm(tmp_path, template=deaf)))
    with pytest.raises(BackboneError, match="template leaves out or changes the user message"):
        asyncio.run(chat.probe())


def test_requests_that_cannot_be_answered(tmp_path, chat, pictures):
    ref = ImageRef(pictures[0])
    with pytest.raises(PermanentError, match="<image>"):
        ask(chat, Request(messages=(Message("user", "What is <image>?", (ref,)),)))
    short = transformers_chat(str(make_tiny_vlm(tmp_path, context=64)))
    with pytest.raises(PermanentError, match="64 that the model has places for"):
        ask(short, Request(messages=(Message("user", "x" * 40),), max_tokens=30))


def test_numbers_that_are_not_finite_are_no_answer(tmp_path):
    folder = make_tiny_vlm(tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("lm_head.weight"))
    weights[name][5] = math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PermanentError, match="not finite; try --dtype float32"):
        ask(transformers_chat(str(folder)), Request(messages=(Message("user", "?"),)))


def test_models_that_cannot_be_used_say_why(tmp_path, folder):
    def error(name, **options):
        with pytest.raises(BackboneError) as caught:
            transformers_chat(str(name), **options)
        return str(caught.value)

    silent = make_tiny_vlm(tmp_path / "silent", template=None)
    fix = f"no chat model or a file is missing; put its template into {silent}"
    assert fix in error(silent)
    words = tmp_path / "words"
    sizes = dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 8)
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=1)).save_pretrained(words)
    assert 'is of type "llama", which takes no images' in error(words)
    assert "there is no folder" in error(tmp_path / "nowhere")
    assert "there is no folder" in error("tinyvlm")
    assert "hf download nobody/nothing --revision v2" in error("nobody/nothing", revision="v2")
    assert 'has no revision "v2"' in error(folder, revision="v2")
    assert 'unknown type "bfloat61"; did you mean "bfloat16"?' in error(folder, dtype="bfloat61")
    assert "cannot load" in error(folder, device="cuda:99")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "lacks config.json"),
        (lambda f: (f / "config.json").write_text("{"), "cannot read"),
        (lambda f: (f / "config.json").write_text('{"model_type": "own"}'), "bring their own code"),
        (lambda f: (f / "model.safetensors").unlink(), "lacks model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"123"), "cannot load"),
        (lambda f: (f / "processor_config.json").unlink(), "image processor"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "cannot read the processor"),
    ],
)
def test_damaged_folders_say_what_is_wrong(folder, tmp_path, damage, said):
    broken = shutil.copytree(folder, tmp_path / "broken")
    damage(broken)
    with pytest.raises(BackboneError, match=said):
        transformers_chat(str(broken))


def test_missing_weights_are_not_made_up(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    name = next(n for n in weights if n.endswith("lm_head.weight"))
    del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lack 1 tensors, first lm_head\.weight"):
        transformers_chat(str(broken))


def test_a_processor_that_needs_another_package_says_so(folder, monkeypatch):
    def refuse(*_, **__):
        raise ImportError("Qwen2VLVideoProcessor requires the Torchvision library.\n\nInstall it.")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    said = r"\(Qwen2VLVideoProcessor requires .* library\.\), most often torchvision for videos"
    with pytest.raises(BackboneError, match=said):
        transformers_chat(str(folder))
