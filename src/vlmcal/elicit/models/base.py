"""What a chat model is to the rest: a name and one coroutine."""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from vlmcal.types.chat import Request, Response

# Error of a reply that came without any content, which is no answer of the model's.
NO_CONTENT = "the server sent no content"


class TransientError(Exception):
    """A call failed in a way that may pass (rate limit, server error, time-out, reset connection).

    Attributes:
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class PermanentError(Exception):
    """A call failed in a way that the same request will always fail (too long, refused, malformed)."""


@dataclass
class Capabilities:
    """What was found out about a server; None is unknown. Facts, never assumptions.

    Attributes:
        logprobs: Whether log-probabilities come back when asked for.
        top_logprobs: Most alternatives per token that it accepts.
        sentinel: Whether it fills unknown log-probabilities with a sentinel such as -9999.
        images: Whether it takes images.
        room: How many times the usual length its replies need, because it thinks inside it; None where the
            usual one was enough.
        notes: Anything else, in sentences.
    """

    logprobs: bool | None = None
    top_logprobs: int | None = None
    sentinel: bool | None = None
    images: bool | None = None
    room: int | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)

    def note(self, text: str) -> None:
        """Add a fact, once."""
        if text not in self.notes:
            self.notes.append(text)


class ChatModel(Protocol):
    """A multimodal LLM.

    Attributes:
        identity: Names the model and where it runs; part of every request's key, never holds a secret.
        capabilities: Filled by :meth:`probe` and by every response.
        parallel: The most calls that make sense at the same time.
    """

    identity: str
    capabilities: Capabilities
    parallel: int

    async def probe(self, *, images: bool = False) -> None:
        """Find out what the server can do with a few tiny calls.

        Args:
            images: Whether it has to take images.

        Raises:
            VlmcalError: It cannot be reached or has no such model.
        """
        ...

    async def generate(self, request: Request) -> Response:
        """Answer one request, once, without retrying.

        Raises:
            TransientError: It may work later.
            PermanentError: It never will.
        """
        ...

    async def close(self) -> None:
        """Give back connections and memory."""
        ...
