"""The chat completions format of OpenAI-compatible servers: requests as JSON, and JSON as responses."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from vlmcal.elicit.models.base import NO_CONTENT, TransientError
from vlmcal.elicit.models.dialect import ALMOST_ZERO, Complaint, Dialect
from vlmcal.elicit.models.logprobs import TokenReading, read_tokens, spelling
from vlmcal.hashing import digest
from vlmcal.io.json_text import mended, parse_reply
from vlmcal.types.chat import CUT, ImageRef, Message, Request, Response

_LONGEST = 300
# No answer has more letters; it would fill the log and hold up whoever reads it.
_LONGEST_ANSWER = 1_000_000
# Servers break off with these as the reason; the same request may well be answered the next time.
_BROKEN_OFF = ("error", "abort")


class Completion(NamedTuple):
    """A response and how its log-probabilities were read."""

    response: Response
    reading: TokenReading


def data_url(content: bytes, mime: str) -> str:
    """Bytes as a ``data:`` URL.

    Example:
        >>> data_url(b"abc", "image/png")
        'data:image/png;base64,YWJj'
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def request_body(
    request: Request,
    model: str,
    dialect: Dialect,
    urls: Mapping[ImageRef, str],
    detail: str | None = None,
) -> dict[str, Any]:
    """A request as the body of POST /chat/completions.

    Draws have a seed of their own, made of the conversation and the draw's number, so that a server's
    cache cannot return one draw for another and questions do not share their random numbers.

    Args:
        request: What is asked.
        model: Name of the model on the server.
        dialect: Departures from the format.
        urls: Of the images.
        detail: Resolution at which the server should look at images: "low", "high" or "auto".
    """
    messages = request.messages
    if "system" in dialect.refused:
        messages = _merged(messages)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": _content(m, urls, detail)} for m in messages],
    }
    refused_length = "max_tokens" in dialect.refused
    body["max_completion_tokens" if refused_length else "max_tokens"] = request.max_tokens
    if "temperature" not in dialect.refused:
        refused_zero = request.temperature == 0 and "temperature 0" in dialect.refused
        body["temperature"] = ALMOST_ZERO if refused_zero else request.temperature
    if "seed" not in dialect.refused and (request.temperature > 0 or request.sample > 0):
        said = [[m.role, m.text] for m in request.messages]
        body["seed"] = int(digest([said, request.sample])[:7], 16)
    if request.logprobs is not None and "logprobs" not in dialect.refused:
        body["logprobs"] = True
        if alternatives := min(request.logprobs, dialect.alternatives):
            body["top_logprobs"] = alternatives
    if dialect.guide and request.choices and "guide" not in dialect.refused:
        choices = list(request.choices)
        body[dialect.guide] = choices if dialect.guide == "guided_choice" else {"choice": choices}
    if dialect.guide and request.schema and "response_format" not in dialect.refused:
        schema = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_completion(data: Any, *, logprobs: bool) -> Completion:
    """The first choice of a decoded answer.

    Args:
        data: Decoded JSON.
        logprobs: Whether they were asked for; else they are not read.

    Raises:
        TransientError: It is no completion, has no choice, or was broken off by the server.
    """
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise TransientError(f"expected an answer with choices, got {_outline(data)}")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise TransientError(f"expected a choice with a message, got {_outline(choice)}")
    reason = str(choice.get("finish_reason") or "")
    if reason in _BROKEN_OFF:
        raise TransientError(f"the server broke off its answer (finish_reason {reason})")
    text, refusal = _said(message)
    if len(text) + len(refusal) > _LONGEST_ANSWER:
        told = f"the answer has {len(text) + len(refusal):,} letters; at most {_LONGEST_ANSWER:,} are kept"
        return Completion(Response(status="failed", error=told), read_tokens(None))
    text, refusal = mended(text), mended(refusal)
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    details = usage.get("completion_tokens_details")
    sent = usage.get("prompt_tokens_details")
    reading = spelling(read_tokens(choice.get("logprobs") if logprobs else None), text)
    filtered = "the server's content filter cut the answer" if reason == "content_filter" else ""
    error = f"the model refused: {shorten(refusal)}" if refusal else filtered
    thoughts = mended(_thoughts(message)[:_LONGEST_ANSWER])
    # No content at all is no answer of the model's, unless its thoughts took all the room.
    missing = message.get("content") is None and not (error or reason in CUT)
    response = Response(
        text=text,
        status="filtered" if error else "ok",
        finish_reason=reason,
        tokens=reading.tokens,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(details.get("reasoning_tokens"))
        if isinstance(details, dict)
        else None,
        cached_tokens=_count(sent.get("cached_tokens")) if isinstance(sent, dict) else None,
        reasoning=thoughts,
        error=NO_CONTENT if missing else error,
        served_by=str(data.get("model") or ""),
    )
    return Completion(response, reading)


def read_complaint(content: bytes) -> Complaint:
    """What an error page says, in any of the forms that servers use.

    Example:
        >>> read_complaint(b'{"error": {"message": "too long", "code": 400, "param": "messages"}}')
        Complaint(message='too long', code='400', param='messages')
    """
    text = content.decode("utf-8", "replace")
    try:
        data = parse_reply(content)
    except ValueError:
        return Complaint(shorten(page_text(text)))
    if isinstance(data, list) and data:
        data = data[0]
    if isinstance(data, dict):
        inner = data.get("error", data)
        if isinstance(inner, dict):
            said = inner.get("message") or inner.get("detail") or json.dumps(inner)
            code, param = (str(inner.get(key) or "") for key in ("code", "param"))
            return Complaint(shorten(_detail(said)), code, param)
        data = inner
    return Complaint(shorten(data if isinstance(data, str) else json.dumps(data)))


def page_text(text: str) -> str:
    """The words of an HTML page, or the text itself.

    Example:
        >>> page_text("<html><title>502</title><body><h1>Bad Gateway</h1></body></html>")
        '502 Bad Gateway'
    """
    if "<" not in text:
        return text
    bare = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
    return " ".join(bare.split())


def shorten(text: str) -> str:
    """One line of at most 300 letters without encoded images.

    Example:
        >>> shorten("data:image/png;base64," + "A" * 500 + ", and so on")
        'data:image/png;base64,..., and so on'
    """
    line = " ".join(re.sub(r"[A-Za-z0-9+/=_-]{100,}", "...", text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _content(
    message: Message, urls: Mapping[ImageRef, str], detail: str | None
) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    extra = {} if detail is None else {"detail": detail}
    images = [
        {"type": "image_url", "image_url": {"url": urls[ref], **extra}} for ref in message.images
    ]
    return [*images, {"type": "text", "text": message.text}]


def _merged(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    instructions = [m.text for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    first = next((i for i, m in enumerate(rest) if m.role == "user"), None)
    if first is None:
        return (Message("user", "\n\n".join(instructions)), *rest)
    user = rest[first]
    rest[first] = Message("user", "\n\n".join([*instructions, user.text]), user.images)
    return tuple(rest)


def _said(message: Mapping[str, Any]) -> tuple[str, str]:
    content, refusal = message.get("content"), message.get("refusal")
    texts, refusals = [], [refusal] if isinstance(refusal, str) else []
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "refusal":
            refusals.append(str(part.get("refusal") or "refused"))
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            # Reasoning comes as parts of other types; it is not the answer.
            texts.append(str(part.get("text") or ""))
        elif isinstance(part, str):
            texts.append(part)
    return "".join(texts), " ".join(refusals)


def _thoughts(message: Mapping[str, Any]) -> str:
    """Thoughts that stand apart from the answer, in any of the fields that servers use."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    parts = message.get("content") if isinstance(message.get("content"), list) else []
    told = [
        part.get("thinking") or part.get("reasoning")
        for part in parts or []
        if isinstance(part, dict)
    ]
    return "".join(each for each in told if isinstance(each, str))


def _outline(data: Any) -> str:
    if isinstance(data, dict):
        return f"an object with {shorten(', '.join(sorted(data))) or 'nothing'}"
    return f"a {type(data).__name__}"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _detail(said: Any) -> str:
    if isinstance(said, list):
        # Validation errors that repeat the whole request as "input".
        told = [
            " ".join(str(each.get(k, "")) for k in ("type", "loc", "msg"))
            if isinstance(each, dict)
            else str(each)
            for each in said
        ]
        return "; ".join(told)
    return said if isinstance(said, str) else json.dumps(said)
