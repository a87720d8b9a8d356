"""The batch API of OpenAI and servers like it: requests in a file, answered within a day, for less."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vlmcal.elicit.models.base import TransientError
from vlmcal.elicit.models.openai_http import OpenAIChat
from vlmcal.elicit.models.server import Server
from vlmcal.hashing import digest
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.json_text import parse_json

ENDPOINT: Final = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")
# The API takes 50,000 requests and 200 MB in one file.
_MOST_REQUESTS = 50_000
_MOST_BYTES = 150_000_000
_TRIES = 6


class BatchChat(OpenAIChat):
    """A model that is asked in batches; otherwise like :class:`OpenAIChat`.

    Requests that come within ``quiet`` seconds of each other go into one batch, so what an elicitor asks
    after an answer is the next round. Names of batches under way are kept in ``state``: the same command,
    after any interruption, waits for them and submits nothing twice. The first, tiny question is asked at
    once, without a batch.

    Args:
        server: As for :class:`OpenAIChat`.
        model: Name on the server.
        state: File of the batches under way.
        quiet: Seconds without a new request after which those that wait are submitted.
        every: Seconds between looks at the batches.
        **options: As for :class:`OpenAIChat`.
    """

    def __init__(
        self,
        server: Server,
        model: str,
        *,
        state: Path,
        quiet: float = 1.0,
        every: float = 30.0,
        **options: Any,
    ) -> None:
        super().__init__(server, model, parallel=_MOST_REQUESTS, **options)
        self._state, self._quiet, self._every = state, quiet, every
        self._waiting: dict[str, tuple[dict[str, Any], asyncio.Future[Mapping[str, Any]]]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._at_once = False

    async def probe(self, *, images: bool = False) -> None:
        """As :meth:`OpenAIChat.probe`, without a batch."""
        self._at_once = True
        try:
            await super().probe(images=images)
        finally:
            self._at_once = False

    async def close(self) -> None:
        """Close the connections; batches under way go on at the server."""
        if self._runner is not None:
            self._runner.cancel()
            with suppress(asyncio.CancelledError):
                await self._runner
        await super().close()

    async def _post(self, body: dict[str, Any]) -> Any:
        if self._at_once:
            return await super()._post(body)
        whole = {**body, **self._extra}
        name = digest(whole)[:32]
        if name not in self._waiting:
            answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
            self._waiting[name] = whole, answer
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        line = await asyncio.shield(self._waiting[name][1])
        said = line.get("response")
        if not isinstance(said, Mapping) or not isinstance(said.get("body"), Mapping):
            raise TransientError(f"the batch holds no answer: {_short(line.get('error'))}")
        status = int(said.get("status_code") or 200)
        if status >= 400:
            self._fail(status, {}, json.dumps(said["body"]).encode())
        return said["body"]

    async def _run(self) -> None:
        failures = 0
        while self._waiting:
            try:
                before = -1
                while before != len(self._waiting):
                    before = len(self._waiting)
                    await asyncio.sleep(self._quiet)
                await self._submit()
                ended = await self._collect()
                failures = 0
                if not ended:
                    await asyncio.sleep(self._every)
            except TransientError as error:
                failures += 1
                if failures >= _TRIES:
                    self._give_up(error)
                await asyncio.sleep(min(self._every, 2.0**failures))
            except Exception as error:  # whatever it is, those who wait must hear of it
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        for name in list(self._waiting):
            future = self._waiting.pop(name)[1]
            if not future.done():
                future.set_exception(error)

    async def _submit(self) -> None:
        """Send what waits and is in no batch yet."""
        under_way = {name for names in self._batches().values() for name in names}
        new = {k: body for k, (body, _) in self._waiting.items() if k not in under_way}
        for names, content in _files(new):
            with self._failures():
                file = await self._client.files.create(
                    file=("requests.jsonl", content), purpose="batch"
                )
                batch = await self._client.batches.create(
                    input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h"
                )
            write_json(self._state, {**self._batches(), batch.id: names})

    async def _collect(self) -> bool:
        """Hand out the answers of batches that have ended; whether there was one."""
        ended = False
        for identity, names in self._batches().items():
            if not set(names) & set(self._waiting):
                continue
            with self._failures():
                batch = await self._client.batches.retrieve(identity)
                if batch.status not in ENDED:
                    continue
                files = [f for f in (batch.output_file_id, batch.error_file_id) if f]
                parts = [(await self._client.files.content(file)).content for file in files]
            ended = True
            lines = dict(_lines(b"\n".join(parts)))
            reason = f"the batch {identity} ended as {batch.status} without it"
            write_json(self._state, {k: v for k, v in self._batches().items() if k != identity})
            for name in names:
                if name in self._waiting:
                    future = self._waiting.pop(name)[1]
                    if not future.done():
                        future.set_result(lines.get(name, {"error": reason}))
        return ended

    def _batches(self) -> dict[str, list[str]]:
        return dict(read_json(self._state)) if self._state.is_file() else {}


def _files(requests: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[list[str], bytes]]:
    """Requests as files of a batch, none larger than the API takes, with the names in each."""
    names: list[str] = []
    lines: list[bytes] = []
    size = 0
    for name, body in requests.items():
        record = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(record).encode() + b"\n"
        if names and (len(names) >= _MOST_REQUESTS or size + len(line) > _MOST_BYTES):
            yield names, b"".join(lines)
            names, lines, size = [], [], 0
        names.append(name)
        lines.append(line)
        size += len(line)
    if names:
        yield names, b"".join(lines)


def _lines(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Lines of an output file by the name of their request; damaged ones are none."""
    for line in content.splitlines():
        with suppress(ValueError, RecursionError):
            record = parse_json(line)
            if isinstance(record, Mapping):
                yield str(record.get("custom_id")), record


def _short(error: Any) -> str:
    text = error if isinstance(error, str) else json.dumps(error)
    return text[:300]
