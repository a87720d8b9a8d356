"""Dialects of their own: Anthropic Messages, Gemini generateContent, Ollama /api/chat, OpenAI Responses.

Each is two functions on JSON: from the body of a chat completion to the native one, and from a native answer
to that of a chat completion. So pacing, room, refusals, log-probabilities and reading are those of
:mod:`vlmcal.elicit.models.openai_http`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vlmcal.elicit.models.base import TransientError

Body = dict[str, Any]


@dataclass(frozen=True)
class Native:
    """How one dialect is spoken.

    Attributes:
        host: Where its maker serves it.
        key: Environment variable that usually holds the key.
        header: Header of the key, and what stands before it.
        path: Path of a request, from the model's name.
        models: Path of the list of models.
        to_native: From the body of a chat completion.
        from_native: To the answer of a chat completion.
        headers: Further headers.
        merged: Whether further fields are merged into nested objects, as generationConfig.
    """

    host: str
    key: str
    header: tuple[str, str]
    path: Callable[[str], str]
    models: str
    to_native: Callable[[Body], Body]
    from_native: Callable[[Mapping[str, Any]], Body]
    headers: tuple[tuple[str, str], ...] = ()

    def read(self, data: Any) -> Any:
        """Decoded JSON as that of a chat completion.

        Raises:
            TransientError: Its parts are of other types than the dialect has.
        """
        try:
            return self.from_native(data) if isinstance(data, Mapping) else data
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise TransientError(
                f"expected an answer in the form of {self.host or 'its maker'}, which this is not "
                f"({type(error).__name__}: {error})"
            ) from None


def _texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _images(content: Any) -> Iterable[tuple[str, str]]:
    """Type and base64 of each image."""
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(";base64,")
            yield head.removeprefix("data:"), data


def _length(body: Body) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens") or 256)


def _completion(
    text: str | None,
    reason: str,
    *,
    thoughts: str = "",
    logprobs: Any = None,
    usage: tuple[Any, Any, Any, Any] = (None, None, None, None),
    model: Any = None,
    refusal: str | None = None,
) -> Body:
    message: Body = {"content": text, "reasoning_content": thoughts, "refusal": refusal}
    sent, made, thought, cached = usage
    return {
        "model": model,
        "choices": [
            {
                "message": message,
                "finish_reason": reason,
                "logprobs": None if logprobs is None else {"content": logprobs},
            }
        ],
        "usage": {
            "prompt_tokens": sent,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens": made,
            "completion_tokens_details": {"reasoning_tokens": thought},
        },
    }


def to_anthropic(body: Body) -> Body:
    """Body of POST /v1/messages; the last image is marked for caching, for further questions about it.

    Example:
        >>> to_anthropic({"model": "m", "messages": [{"role": "user", "content": "Is it?"}], "max_tokens": 9})
        {'model': 'm', 'max_tokens': 9, 'messages': [{'role': 'user', 'content': [{'type': 'text',
        'text': 'Is it?'}]}]}
    """
    native: Body = {"model": body["model"], "max_tokens": _length(body), "messages": []}
    for message in body["messages"]:
        if message["role"] == "system":
            native["system"] = message["content"]
            continue
        parts: list[Body] = [
            {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
            for kind, data in _images(message["content"])
        ]
        if parts:
            parts[-1]["cache_control"] = {"type": "ephemeral"}
        parts.append({"type": "text", "text": _texts(message["content"])})
        native["messages"].append({"role": message["role"], "content": parts})
    if "temperature" in body:
        native["temperature"] = body["temperature"]
    return native


def from_anthropic(data: Mapping[str, Any]) -> Body:
    """A message of Anthropic as a chat completion.

    Example:
        >>> said = from_anthropic({"content": [{"type": "text", "text": "no"}], "stop_reason": "max_tokens"})
        >>> said["choices"][0]["finish_reason"]
        'length'
    """
    parts = [part for part in data.get("content") or () if isinstance(part, Mapping)]
    reasons = {"max_tokens": "length", "refusal": "content_filter", "end_turn": "stop"}
    reason = str(data.get("stop_reason") or "")
    usage = data.get("usage") or {}
    cached = usage.get("cache_read_input_tokens")
    written = usage.get("cache_creation_input_tokens") or 0
    sent = usage.get("input_tokens")
    whole = None if sent is None else sent + (cached or 0) + written
    return _completion(
        "".join(str(p.get("text") or "") for p in parts if p.get("type") == "text"),
        reasons.get(reason, reason),
        thoughts="".join(str(p.get("thinking") or "") for p in parts),
        usage=(whole, usage.get("output_tokens"), None, cached),
        model=data.get("model"),
    )


def to_gemini(body: Body) -> Body:
    """Body of POST /v1beta/models/MODEL:generateContent.

    Example:
        >>> asked = {"messages": [{"role": "user", "content": "Is it?"}], "max_tokens": 9, "temperature": 0}
        >>> to_gemini(asked)["generationConfig"]
        {'maxOutputTokens': 9, 'temperature': 0}
    """
    settings: Body = {"maxOutputTokens": _length(body)}
    for name in ("temperature", "seed"):
        if name in body:
            settings[name] = body[name]
    if body.get("logprobs"):
        settings["responseLogprobs"] = True
        if body.get("top_logprobs"):
            settings["logprobs"] = body["top_logprobs"]
    native: Body = {"contents": [], "generationConfig": settings}
    for message in body["messages"]:
        text = {"text": _texts(message["content"])}
        if message["role"] == "system":
            native["systemInstruction"] = {"parts": [text]}
            continue
        parts = [
            {"inline_data": {"mime_type": kind, "data": data}}
            for kind, data in _images(message["content"])
        ]
        role = "model" if message["role"] == "assistant" else "user"
        native["contents"].append({"role": role, "parts": [*parts, text]})
    return native


def from_gemini(data: Mapping[str, Any]) -> Body:
    """An answer of Gemini as a chat completion.

    Example:
        >>> said = {"candidates": [{"content": {"parts": [{"text": "no"}]}, "finishReason": "STOP"}]}
        >>> from_gemini(said)["choices"][0]["message"]["content"]
        'no'
    """
    usage = data.get("usageMetadata") or {}
    thought = usage.get("thoughtsTokenCount")
    made = usage.get("candidatesTokenCount")
    cached = usage.get("cachedContentTokenCount")
    counts = (usage.get("promptTokenCount"), (made or 0) + (thought or 0), thought, cached)
    candidates = data.get("candidates") or []
    blocked = (data.get("promptFeedback") or {}).get("blockReason")
    if not candidates:
        if not blocked:
            return {}
        return _completion(None, "content_filter", usage=counts, refusal=f"blocked: {blocked}")
    first = candidates[0]
    parts = (first.get("content") or {}).get("parts") or []
    reasons = {"MAX_TOKENS": "length", "STOP": "stop", "MALFORMED_RESPONSE": "error"}
    reason = str(first.get("finishReason") or "")
    filtered = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY")
    said = [str(p.get("text") or "") for p in parts if not p.get("thought")]
    return _completion(
        "".join(said) if said else None,
        "content_filter" if reason in filtered else reasons.get(reason, reason),
        thoughts="".join(str(p.get("text") or "") for p in parts if p.get("thought")),
        logprobs=_gemini_tokens(first.get("logprobsResult")),
        usage=counts,
        model=data.get("modelVersion"),
    )


def _gemini_tokens(result: Any) -> list[Body] | None:
    if not isinstance(result, Mapping):
        return None
    tops = [each.get("candidates") or [] for each in result.get("topCandidates") or []]
    chosen = result.get("chosenCandidates") or []
    tops += [[]] * (len(chosen) - len(tops))
    return [
        {
            "token": token.get("token"),
            "logprob": token.get("logProbability"),
            "top_logprobs": [
                {"token": a.get("token"), "logprob": a.get("logProbability")} for a in top
            ],
        }
        for token, top in zip(chosen, tops, strict=False)
    ]


def to_ollama(body: Body) -> Body:
    """Body of POST /api/chat.

    Example:
        >>> to_ollama({"model": "m", "messages": [], "max_tokens": 9, "temperature": 0})["options"]
        {'num_predict': 9, 'temperature': 0}
    """
    settings: Body = {"num_predict": _length(body)}
    settings |= {name: body[name] for name in ("temperature", "seed") if name in body}
    messages = []
    for message in body["messages"]:
        told: Body = {"role": message["role"], "content": _texts(message["content"])}
        if images := [data for _, data in _images(message["content"])]:
            told["images"] = images
        messages.append(told)
    native: Body = {"model": body["model"], "messages": messages, "stream": False}
    native["options"] = settings
    if body.get("logprobs"):
        native |= {"logprobs": True, "top_logprobs": body.get("top_logprobs", 0)}
    return native


def from_ollama(data: Mapping[str, Any]) -> Body:
    """An answer of Ollama as a chat completion.

    Example:
        >>> said = from_ollama({"message": {"content": "no", "thinking": "hm"}, "done_reason": "stop"})
        >>> said["choices"][0]["message"]["reasoning_content"]
        'hm'
    """
    message = data.get("message")
    if not isinstance(message, Mapping):
        return {}
    return _completion(
        str(message.get("content") or ""),
        str(data.get("done_reason") or ""),
        thoughts=str(message.get("thinking") or ""),
        logprobs=data.get("logprobs"),
        usage=(data.get("prompt_eval_count"), data.get("eval_count"), None, None),
        model=data.get("model"),
    )


def to_responses(body: Body) -> Body:
    """Body of POST /responses; nothing is kept at the server.

    Example:
        >>> to_responses({"model": "m", "messages": [], "max_tokens": 64, "logprobs": True})["include"]
        ['message.output_text.logprobs']
    """
    native: Body = {"model": body["model"], "store": False, "max_output_tokens": _length(body)}
    native["input"] = []
    for message in body["messages"]:
        spoken = "output_text" if message["role"] == "assistant" else "input_text"
        content = message["content"]
        images = (
            [p["image_url"] for p in content if p["type"] == "image_url"]
            if isinstance(content, list)
            else []
        )
        parts: list[Body] = [
            {
                "type": "input_image",
                "image_url": image["url"],
                "detail": image.get("detail", "auto"),
            }
            for image in images
        ]
        parts.append({"type": spoken, "text": _texts(content)})
        native["input"].append({"role": message["role"], "content": parts})
    if "temperature" in body:
        native["temperature"] = body["temperature"]
    if body.get("logprobs"):
        native["include"] = ["message.output_text.logprobs"]
        if body.get("top_logprobs"):
            native["top_logprobs"] = body["top_logprobs"]
    return native


def from_responses(data: Mapping[str, Any]) -> Body:
    """An answer of the Responses API as a chat completion.

    Example:
        >>> text = {"type": "output_text", "text": "no"}
        >>> said = from_responses({"status": "completed", "output": [{"type": "message", "content": [text]}]})
        >>> said["choices"][0]["message"]["content"]
        'no'
    """
    output = data.get("output")
    if not isinstance(output, list):
        return {}
    parts = [
        p for item in output if item.get("type") == "message" for p in item.get("content") or ()
    ]
    texts = [p for p in parts if p.get("type") == "output_text"]
    refusals = [str(p.get("refusal") or "refused") for p in parts if p.get("type") == "refusal"]
    thoughts = [
        s for item in output if item.get("type") == "reasoning" for s in item.get("summary") or ()
    ]
    cut = str((data.get("incomplete_details") or {}).get("reason") or "")
    reasons = {"max_output_tokens": "length", "content_filter": "content_filter"}
    usage = data.get("usage") or {}
    details = usage.get("output_tokens_details") or {}
    logprobs = [token for p in texts for token in p.get("logprobs") or ()]
    return _completion(
        "".join(str(p.get("text") or "") for p in texts) if texts else None,
        reasons.get(cut, "stop") if cut or data.get("status") != "failed" else "error",
        thoughts="".join(str(s.get("text") or "") for s in thoughts),
        logprobs=logprobs or None,
        usage=(
            usage.get("input_tokens"),
            usage.get("output_tokens"),
            details.get("reasoning_tokens"),
            (usage.get("input_tokens_details") or {}).get("cached_tokens"),
        ),
        model=data.get("model"),
        refusal=" ".join(refusals) or None,
    )


NATIVE: Mapping[str, Native] = {
    "anthropic": Native(
        "https://api.anthropic.com", "ANTHROPIC_API_KEY", ("x-api-key", ""),
        lambda model: "/v1/messages", "/v1/models", to_anthropic, from_anthropic,
        (("anthropic-version", "2023-06-01"),),
    ),
    "gemini": Native(
        "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", ("x-goog-api-key", ""),
        lambda model: f"/v1beta/models/{model}:generateContent", "/v1beta/models", to_gemini, from_gemini,
    ),
    "ollama": Native(
        "http://localhost:11434", "OLLAMA_API_KEY", ("Authorization", "Bearer "),
        lambda model: "/api/chat", "/api/tags", to_ollama, from_ollama,
    ),
    "responses": Native(
        "https://api.openai.com/v1", "OPENAI_API_KEY", ("Authorization", "Bearer "),
        lambda model: "/responses", "/models", to_responses, from_responses,
    ),
}  # fmt: skip
