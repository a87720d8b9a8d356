"""What is sent to a chat model and what comes back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vlmcal.hashing import digest

Role = Literal["system", "user", "assistant"]
Speaker = Literal["subject", "expert", "judge"]
ResponseStatus = Literal["ok", "filtered", "failed"]
# How servers say that an answer reached the longest length.
CUT = ("length", "max_tokens", "model_length", "max_output_tokens", "MAX_TOKENS")


@dataclass(frozen=True)
class ImageRef:
    """An image file and what is done to it before it is sent.

    Attributes:
        path: File.
        edit: Name and parameters of an edit ("blank", "rotate:5"; see :mod:`vlmcal.elicit.images`), or ""
            for the file's own bytes.
    """

    path: str
    edit: str = ""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; images come before its text."""

    role: Role
    text: str
    images: tuple[ImageRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of a chat model.

    Attributes:
        messages: The conversation so far.
        temperature: Of sampling; 0 is greedy.
        max_tokens: Bound of the answer's length.
        logprobs: Number of alternatives per token to be returned with their log-probability; 0 for the
            chosen token only, None for no log-probabilities.
        sample: Number of the draw; draws with other numbers are other requests.
        speaker: Which model is asked: the one under study, an expert, or a judge.
        choices: Replies of which a server with guided choice gives one; no part of the key, since a model
            that is guided has another identity.
        schema: JSON schema of the reply, for such a server; no part of the key either.
    """

    messages: tuple[Message, ...]
    temperature: float = 0.0
    max_tokens: int = 256
    logprobs: int | None = None
    sample: int = 0
    speaker: Speaker = "subject"
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def key(self, model: str, image_digest: Callable[[str], str]) -> str:
        """Content-addressed name of this request to ``model``: 32 hexadecimal digits of a SHA-256.

        Args:
            model: Identity of the model that is asked.
            image_digest: From an image's path to the digest of its bytes, so that a moved file is the same
                request and a changed one is not.
        """
        content: dict[str, Any] = {
            "model": model,
            "messages": [
                [m.role, m.text, [[image_digest(i.path), i.edit] for i in m.images]]
                for m in self.messages
            ],
            "temperature": float(self.temperature),
            "max_tokens": self.max_tokens,
            "logprobs": self.logprobs,
            "sample": self.sample,
        }
        return digest(content)[:32]


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood here, and its log-probability."""

    text: str
    logprob: float


@dataclass(frozen=True)
class Token:
    """A generated token.

    Attributes:
        text: Its text; may be a part of a character where ``raw`` is given.
        logprob: Natural logarithm of its probability.
        top: Alternatives (usually with the token itself), likeliest first.
        raw: Its bytes, where the server gives them.
    """

    text: str
    logprob: float
    top: tuple[Alternative, ...] = ()
    raw: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a chat model answered.

    Attributes:
        text: The answer as it came.
        status: "ok"; "filtered" when the server refused or cut it for its content; "failed" when no answer
            could be had.
        finish_reason: As the server says ("stop", "length", ...).
        tokens: Generated tokens with log-probabilities, or None where they were not asked for or not given.
        prompt_tokens, completion_tokens: Usage as the server counts it; None where it does not say.
        reasoning_tokens: Of the completion, those of thoughts; None where the server does not say.
        cached_tokens: Of the prompt, those that the server had read before; None where it does not say.
        reasoning: Thoughts that the server gave apart from the answer.
        max_tokens: Longest reply that was finally asked for, where that is more than the request's own.
        seconds: From sending to the last byte.
        error: Why it failed or was filtered.
        served_by: Name of the model that the server says answered.
    """

    text: str = ""
    status: ResponseStatus = "ok"
    finish_reason: str = ""
    tokens: tuple[Token, ...] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning: str = ""
    max_tokens: int | None = None
    seconds: float = 0.0
    error: str = ""
    served_by: str = ""

    @property
    def cut(self) -> bool:
        """Whether the server ended the answer at its longest length."""
        return self.finish_reason in CUT

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data, without what is empty."""
        plain: dict[str, Any] = {
            name: value
            for name in self.__dataclass_fields__
            if name != "tokens" and (value := getattr(self, name)) not in ("", None)
        }
        if self.tokens is not None:
            plain["tokens"] = [_pack(token) for token in self.tokens]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Response":
        """Back from :meth:`to_dict`.

        Example:
            >>> was = Response(text="No", tokens=(Token("No", -0.5, (Alternative("No", -0.5),), b"No"),))
            >>> Response.from_dict(was.to_dict()) == was
            True
        """
        rest = {k: v for k, v in plain.items() if k in cls.__dataclass_fields__ and k != "tokens"}
        tokens = plain.get("tokens")
        return cls(**rest, tokens=None if tokens is None else tuple(_unpack(t) for t in tokens))


def _pack(token: Token) -> list[Any]:
    packed: list[Any] = [token.text, _number(token.logprob)]
    packed.append([[a.text, _number(a.logprob)] for a in token.top])
    return packed if token.raw is None else [*packed, token.raw.hex()]


def _unpack(packed: list[Any]) -> Token:
    text, logprob, top = packed[:3]
    raw = bytes.fromhex(packed[3]) if len(packed) > 3 else None
    alternatives = tuple(Alternative(name, _logprob(value)) for name, value in top)
    return Token(text, _logprob(logprob), alternatives, raw)


def _number(value: float) -> float | None:
    # JSON has no minus infinity, the log-probability of what cannot be generated.
    return None if math.isinf(value) else value


def _logprob(value: float | None) -> float:
    return -math.inf if value is None else float(value)
