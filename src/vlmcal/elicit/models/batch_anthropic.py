"""Anthropic's Message Batches: messages handed in together, answered within a day, for half the price."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from vlmcal.elicit.models.batch import Batched, Body, Found, records
from vlmcal.elicit.models.native_http import NativeChat, merged
from vlmcal.elicit.models.server import Server

_PATH = "/v1/messages/batches"
# Clocks differ by less.
_SLACK = 300.0


class AnthropicBatch(Batched, NativeChat):
    """A model behind Anthropic's Message Batches; see :class:`Batched`.

    Its batches have no labels: one whose name was lost is looked for by its size and the time when it was
    handed in. One of somebody else's that is taken for it holds none of the answers, so these are asked for
    again.

    Args:
        server: Where it is.
        model: Its name there.
        state: File of the batches under way.
        **options: As for :class:`Batched` and :class:`NativeChat`.
    """

    def __init__(self, server: Server, model: str, *, state: Path, **options: Any) -> None:
        super().__init__("anthropic", server, model, state=state, **options)

    def _whole(self, body: Body) -> Body:
        return merged(self._native.to_native(body), self._extra)

    async def _create(self, requests: Mapping[str, Body], tag: str) -> str:
        asked = [{"custom_id": name, "params": body} for name, body in requests.items()]
        made = await self._call(_PATH, {"requests": asked})
        return str(made["id"])

    async def _find(self, tag: str, since: float, count: int) -> str | None:
        known = self._batches()
        listed = await self._call(f"{_PATH}?limit=100")
        for batch in listed.get("data") or ():
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                made = datetime.fromisoformat(str(batch["created_at"])).timestamp()
                same = sum(batch["request_counts"].values()) == count
                if same and made >= since - _SLACK and batch["id"] not in known:
                    return str(batch["id"])
        return None

    async def _look(self, identity: str) -> Found:
        batch = await self._call(f"{_PATH}/{identity}")
        status = str(batch.get("processing_status"))
        if status != "ended":
            return None
        content = await self._content(f"{_PATH}/{identity}/results")
        return {
            str(r.get("custom_id")): self._answer(r.get("result")) for r in records(content)
        }, status

    def _answer(self, result: Any) -> Body:
        """A result as a line of OpenAI's output file."""
        told = result if isinstance(result, Mapping) else {}
        message = told.get("message")
        if told.get("type") == "succeeded" and isinstance(message, Mapping):
            return {"response": {"status_code": 200, "body": self._native.from_native(message)}}
        error = told.get("error")
        inner = error.get("error", error) if isinstance(error, Mapping) else {}
        if isinstance(inner, Mapping) and inner.get("type") == "invalid_request_error":
            return {"response": {"status_code": 400, "body": {"error": dict(inner)}}}
        return {"error": inner or f"{told.get('type')}"}
