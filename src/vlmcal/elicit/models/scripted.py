"""Answers from a function or a file: for tests, load measurements and replaying recorded answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vlmcal.elicit.models.base import Capabilities, PermanentError
from vlmcal.errors import DataError
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import read_text
from vlmcal.types.chat import Request, Response


@dataclass
class ScriptedModel:
    """A chat model whose answers are given by a function of the request.

    Attributes:
        answer: From a request to a response, or to its text.
        identity: Name in request keys.
        parallel: As for any model.

    Example:
        >>> import asyncio
        >>> from vlmcal.types.chat import Message
        >>> model = ScriptedModel(lambda request: "no")
        >>> asyncio.run(model.generate(Request(messages=(Message("user", "Is it?"),)))).text
        'no'
    """

    answer: Callable[[Request], Response | str]
    identity: str = "scripted"
    parallel: int = 64
    capabilities: Capabilities = field(default_factory=Capabilities)

    async def probe(self, *, images: bool = False) -> None:
        """Nothing to find out."""

    async def generate(self, request: Request) -> Response:
        """What the function says."""
        said = self.answer(request)
        return Response(text=said) if isinstance(said, str) else said

    async def close(self) -> None:
        """Nothing to give back."""


def scripted_from_file(path: Path) -> ScriptedModel:
    """A model that answers from a JSONL file of {"contains": text, "reply": text} rules.

    The first rule all of whose ``contains`` (a text or a list of texts) occur in the last message answers;
    a rule without ``contains`` always does.

    Raises:
        DataError: The file is missing or a line is no such rule.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of scripted replies")
    rules: list[tuple[list[str], str]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            rule = parse_json(line)
            contains = rule.get("contains", [])
            parts = [contains] if isinstance(contains, str) else list(contains)
            if not all(isinstance(part, str) for part in (*parts, rule["reply"])):
                raise TypeError("no text")
            rules.append((parts, rule["reply"]))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(
                f'{path}, line {number}: expected {{"contains": text, "reply": text}}, got {line[:80]}'
            ) from error

    def answer(request: Request) -> str:
        text = request.messages[-1].text
        for contains, reply in rules:
            if all(part in text for part in contains):
                return reply
        raise PermanentError(f"{path.name} has no reply for: {text[:80]}")

    return ScriptedModel(answer, identity=f"scripted:{path.name}")
