"""An image-text chat model of the transformers library, run in this process."""

import asyncio
import io
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from vlmcal.elicit.images import image_bytes, upright
from vlmcal.elicit.models.base import Capabilities, PermanentError
from vlmcal.elicit.models.token_text import decoded, piece_reader
from vlmcal.elicit.models.transformers_folder import (
    folder_fingerprint,
    load_model,
    load_processor,
    model_folder,
)
from vlmcal.errors import BackboneError, VlmcalError
from vlmcal.hashing import digest_file
from vlmcal.seeding import torch_generator
from vlmcal.types.chat import Alternative, ImageRef, Request, Response, Token

_Turn = dict[str, Any]


class _Step(NamedTuple):
    """A generated token: its number, its log-probability, and the likeliest tokens with theirs."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


class _Chooser(LogitsProcessor):  # type: ignore[misc]
    """Chooses every token itself and writes down its log-probability.

    The library's own sampling draws from the process-wide generator, which other threads use too.
    """

    def __init__(self, temperature: float, generator: torch.Generator, n_top: int) -> None:
        self.steps: list[_Step] = []
        self._temperature, self._generator, self._n_top = temperature, generator, n_top

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        raw = scores[0].cpu().double()
        if not math.isfinite(float(raw.max())):
            raise PermanentError("the model's logits are not finite; try --dtype float32")
        if self._temperature == 0:
            token = int(raw.argmax())
        else:
            chances = torch.softmax(raw / self._temperature, dim=0)
            token = int(torch.multinomial(chances, 1, generator=self._generator))
        logprobs = raw.log_softmax(dim=0)
        top = logprobs.topk(min(self._n_top, len(raw)))
        pairs = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        self.steps.append(_Step(token, float(logprobs[token]), pairs))
        forced = torch.full_like(scores, -math.inf)
        forced[0, token] = 0.0
        return forced


class TransformersChat:
    """A chat model in this process; one request at a time, in a thread of its own.

    Temperature 0 takes the likeliest token. Otherwise tokens are drawn from softmax(logits / temperature)
    with a generator that is seeded by the request: the same request gives the same answer in every run, and
    another ``sample`` another draw. Nothing of the checkpoint's generation_config.json is used but its end,
    padding and start tokens: no top-k, no repetition penalty, no temperature of its own.

    Log-probabilities are those of the raw logits, log softmax(logits), before the temperature. The end
    token is not among ``Response.tokens``, as with servers; it counts in ``completion_tokens``.

    Args:
        model: With ``generate``, in evaluation mode.
        processor: With image processor, tokenizer and chat template.
        identity: Name of the model's content.
    """

    parallel = 1

    def __init__(self, model: Any, processor: Any, identity: str) -> None:
        self.identity = identity
        self._model, self._processor = model, processor
        self._piece = piece_reader(processor.tokenizer)
        self._lock = threading.Lock()
        text = model.config.get_text_config(decoder=True)
        self._context = int(getattr(text, "max_position_embeddings", None) or 0)
        self._ends = _end_tokens(model.generation_config, processor.tokenizer)
        was = model.generation_config
        # The library fills in whatever a call leaves open from here.
        model.generation_config = GenerationConfig(
            eos_token_id=self._ends or None,
            pad_token_id=was.pad_token_id
            if was.pad_token_id is not None
            else (self._ends or [0])[0],
            bos_token_id=was.bos_token_id,
            decoder_start_token_id=was.decoder_start_token_id,
        )
        self.capabilities = Capabilities(
            logprobs=True, top_logprobs=int(text.vocab_size), sentinel=False, images=True
        )
        self._takes_system = _takes_system(processor)
        if not self._takes_system:
            self.capabilities.note(
                "its chat template has no system messages: their text stands at the beginning of the user's"
            )

    async def probe(self, *, images: bool = True) -> None:
        """Ask one question about a grey image.

        Raises:
            BackboneError: The model cannot answer it; says why.
        """
        request = Request(messages=(), max_tokens=1, logprobs=1)
        turns = [
            _turn("system", "Answer briefly."),
            _turn("user", "What is this?", [Image.new("RGB", (64, 64), "grey")]),
        ]
        try:
            await asyncio.to_thread(self._reply, turns, request, torch_generator(0))
        except PermanentError as error:
            raise BackboneError(f"{self.identity}: {error}") from error

    async def generate(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            PermanentError: The conversation does not fit the model or its chat template.
            DataError: An image cannot be read.
        """
        return await asyncio.to_thread(self._answer, request)

    async def close(self) -> None:
        """Let go of the weights."""
        self._model = None

    def _answer(self, request: Request) -> Response:
        turns = [
            _turn(message.role, message.text, [_picture(ref) for ref in message.images])
            for message in request.messages
        ]
        key = request.key(self.identity, lambda path: digest_file(Path(path)))
        return self._reply(turns, request, torch_generator(0, "answer", key))

    def _reply(
        self, turns: Sequence[_Turn], request: Request, generator: torch.Generator
    ) -> Response:
        chooser = _Chooser(request.temperature, generator, request.logprobs or 0)
        with self._lock, torch.inference_mode():
            started = time.perf_counter()
            try:
                inputs = self._inputs(turns, request.max_tokens)
                self._model.generate(
                    **inputs,
                    max_new_tokens=request.max_tokens,
                    do_sample=False,
                    use_cache=True,
                    logits_processor=[chooser],
                )
            except (PermanentError, VlmcalError):
                raise
            except Exception as error:  # templates, processors and models raise many types
                raise PermanentError(f"{type(error).__name__}: {error}") from error
            seconds = time.perf_counter() - started
        # Some devices look for the end token only one step later.
        steps = chooser.steps[: request.max_tokens]
        ended = next((n for n, step in enumerate(steps) if step.token in self._ends), None)
        told = steps[:ended]
        return Response(
            text=decoded(self._processor.tokenizer, [step.token for step in told]),
            finish_reason="length" if ended is None else "stop",
            tokens=None if request.logprobs is None else tuple(map(self._token, told)),
            prompt_tokens=int(inputs["input_ids"].shape[1]),
            completion_tokens=len(told) + (ended is not None),
            seconds=seconds,
        )

    def _inputs(self, turns: Sequence[_Turn], max_tokens: int) -> Any:
        turns = turns if self._takes_system else _without_system(turns)
        prompt = self._processor.apply_chat_template(turns, add_generation_prompt=True)
        for turn in turns:
            if _text(turn).strip() not in prompt:
                raise PermanentError(
                    f"the model's chat template leaves out or changes the {turn['role']} message; "
                    "correct chat_template.jinja in its folder"
                )
        inputs = self._processor.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        length = inputs["input_ids"].shape[1]
        if self._context and length + max_tokens > self._context:
            raise PermanentError(
                f"the conversation has {length} tokens, with {max_tokens} for the answer more than the "
                f"{self._context} that the model has places for"
            )
        return inputs.to(self._model.device, dtype=self._model.dtype)

    def _token(self, step: _Step) -> Token:
        piece = self._piece(step.token)
        top = tuple(Alternative(self._piece(token).text, value) for token, value in step.top)
        return Token(piece.text, step.logprob, top, piece.raw)


def transformers_chat(
    path_or_name: str,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
) -> TransformersChat:
    """Load an image-text chat model from a folder or the hub.

    Its identity is "hf:", the beginning of the SHA-256 of its files, and the type of its numbers: a moved
    folder is the same model, another chat template or another precision is not. Images are prepared
    with PIL, whether or not torchvision is installed.

    Args:
        path_or_name: Folder in the transformers layout, or hub id.
        device: Where it runs.
        dtype: Type of the weights ("float32", "bfloat16", "float16"); by default float32 on the CPU and the
            stored type elsewhere.
        revision: Branch, tag or commit on the hub.

    Raises:
        BackboneError: It cannot be loaded, takes no images, has no chat template, or needs a package that
            is missing.
    """
    folder = model_folder(path_or_name, revision)
    processor = load_processor(path_or_name, folder)
    model = load_model(path_or_name, folder, device=torch.device(device), dtype=dtype)
    precision = str(model.dtype).removeprefix("torch.")
    return TransformersChat(model, processor, f"hf:{folder_fingerprint(folder)[:16]}:{precision}")


def _end_tokens(settings: Any, tokenizer: Any) -> list[int]:
    # Checkpoints name the end of a turn in either place.
    stored = settings.eos_token_id
    ends = [stored] if isinstance(stored, int) else list(stored or [])
    return list(dict.fromkeys(end for end in [*ends, tokenizer.eos_token_id] if end is not None))


def _turn(role: str, text: str, pictures: Sequence[Image.Image] = ()) -> _Turn:
    parts: list[_Turn] = [{"type": "image", "image": picture} for picture in pictures]
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}


def _text(turn: _Turn) -> str:
    text: str = turn["content"][-1]["text"]
    return text


def _takes_system(processor: Any) -> bool:
    turns = [_turn("system", "Answer briefly."), _turn("user", "Hello.")]
    try:
        return _text(turns[0]) in processor.apply_chat_template(turns, add_generation_prompt=True)
    except Exception:  # a template says no in its own words
        return False


def _without_system(turns: Sequence[_Turn]) -> list[_Turn]:
    kept = [turn for turn in turns if turn["role"] != "system"]
    rules = [_text(turn) for turn in turns if turn["role"] == "system"]
    if not rules or not kept:
        return kept
    *images, text = kept[0]["content"]
    joined = {**text, "text": "\n\n".join([*rules, text["text"]])}
    return [{**kept[0], "content": [*images, joined]}, *kept[1:]]


def _picture(ref: ImageRef) -> Image.Image:
    content, _ = image_bytes(ref)
    with Image.open(io.BytesIO(content)) as image:
        return upright(image)
