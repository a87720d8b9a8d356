"""Chat models behind a server that speaks a dialect of its own; see :mod:`vlmcal.elicit.models.native`."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmcal.elicit.models.base import TransientError
from vlmcal.elicit.models.native import NATIVE
from vlmcal.elicit.models.openai_http import OpenAIChat
from vlmcal.elicit.models.refusals import Refused, parsed
from vlmcal.elicit.models.server import DEFAULT_KEY, Server, find_server
from vlmcal.errors import BackboneError, SpecError, require_known


class NativeChat(OpenAIChat):
    """A model on a server of another dialect; otherwise like :class:`OpenAIChat`.

    Attributes:
        identity: "KIND:MODEL@HOST/PATH", followed by what else is sent.
    """

    def __init__(self, kind: str, server: Server, model: str, **options: Any) -> None:
        super().__init__(server, model, **options)
        self.identity = kind + self.identity.removeprefix("openai")
        self._native = NATIVE[kind]

    async def _post(self, body: dict[str, Any]) -> Any:
        native = merged(self._native.to_native(body), self._extra)
        content = await self._call(self._native.path(self._model), native)
        return self._native.read(content)

    async def _names(self) -> list[str]:
        try:
            found = await self._call(self._native.models)
        except (TransientError, BackboneError, Refused):
            return []  # names only make a message better
        entries = found.get("data") or found.get("models") if isinstance(found, Mapping) else None
        listed = entries if isinstance(entries, list) else []
        known = [each for each in listed if isinstance(each, Mapping)]
        names = [str(each.get("id") or each.get("name") or "") for each in known]
        return [self._server.clean(name.removeprefix("models/")) for name in names if name]

    def _headers(self) -> dict[str, Any]:
        from openai import Omit

        # The client's own header would show the key a second time, to a server that expects another one.
        own = self._server.authorised(*self._native.header)
        return {"Authorization": Omit(), **dict(self._native.headers), **own}

    async def _content(self, path: str, body: Any = None) -> bytes:
        """What the server sends, as it is: the client's own reader of JSON minds neither depth nor halves."""
        from openai import HttpxBinaryResponseContent

        options: Any = {
            "cast_to": HttpxBinaryResponseContent,
            "options": {"headers": self._headers()},
        }
        with self._failures():
            async with asyncio.timeout(self._timeout):
                if body is None:
                    got = await self._client.get(path, **options)
                else:
                    got = await self._client.post(path, body=body, **options)
        content: bytes = got.content
        return content

    async def _call(self, path: str, body: Any = None) -> Any:
        return parsed(self._server, await self._content(path, body))


def merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``body`` with further fields, objects inside joined.

    Example:
        >>> merged({"options": {"num_predict": 9}}, {"options": {"num_ctx": 8192}})
        {'options': {'num_predict': 9, 'num_ctx': 8192}}
    """
    made = dict(body)
    for name, value in extra.items():
        inside = isinstance(value, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = merged(dict(made[name]), value) if inside else value
    return made


def native_chat(
    spec: str,
    *,
    model: str | None = None,
    api_key_env: str = DEFAULT_KEY,
    timeout: float = 120.0,
    extra: Mapping[str, Any] | None = None,
    batch: Path | None = None,
) -> NativeChat:
    """A model behind a dialect of its own; nothing is sent.

    Args:
        spec: ``KIND:MODEL`` at its maker, or ``KIND+URL`` with ``model``; KIND is "anthropic", "gemini",
            "ollama" or "responses".
        model: Name on the server.
        api_key_env: Environment variable of the key; the default stands for the usual one of KIND.
        timeout: Seconds from sending to the last byte.
        extra: Further fields of every request.
        batch: File of the batches under way, to ask through Anthropic's Message Batches.

    Raises:
        SpecError: No such kind or URL, no name of a model, or no batches.
        BackboneError: The package ``openai`` is missing.

    Example:
        >>> native_chat("ollama:qwen2.5vl:7b").identity
        'ollama:qwen2.5vl:7b@localhost:11434'
    """
    kind, mark, rest = spec.partition("+")
    if not mark or ":" in kind:
        kind, _, name = spec.partition(":")
        url, model = "", name or model
    else:
        url = rest
    require_known(kind, NATIVE, "model: unknown kind")
    if not model:
        raise SpecError(f'model "{spec}": name the model with --name')
    native = NATIVE[kind]
    own = api_key_env == DEFAULT_KEY
    server = find_server(url or native.host, native.key if own else api_key_env, optional=own)
    if batch is None:
        return NativeChat(kind, server, model, timeout=timeout, extra=extra)
    from vlmcal.elicit.models.batch_anthropic import AnthropicBatch

    if kind != "anthropic":
        raise SpecError(
            f"--batch: only http(s)://HOST/v1 and anthropic have batches here, got {spec}"
        )
    return AnthropicBatch(server, model, state=batch, timeout=timeout, extra=extra)
