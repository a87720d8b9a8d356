"""Batch APIs: requests handed in together, answered within a day, for less. OpenAI's, and what all share."""

import asyncio
import json
import secrets
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vlmcal.elicit.models.base import TransientError
from vlmcal.elicit.models.dialect import Complaint
from vlmcal.elicit.models.openai_http import OpenAIChat
from vlmcal.elicit.models.refusals import Refused
from vlmcal.errors import BackboneError
from vlmcal.hashing import digest
from vlmcal.io.json_files import read_sealed, write_sealed
from vlmcal.io.json_text import parse_reply

ENDPOINT: Final = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")
# What a batch is labelled with at the server, to be found again.
TAG: Final = "vlmcal"
# Both APIs take 50,000 requests and 200 MB at once.
_MOST_REQUESTS = 50_000
_MOST_BYTES = 150_000_000
_TRIES = 6
_SUBMITTING = "submitting:"
# Pages of the list of batches in which one is looked for.
_PAGES = 20

Body = dict[str, Any]
# Answers by the name of the request; None while the batch is under way.
Found = tuple[Mapping[str, Mapping[str, Any]], str] | None


class Batched(OpenAIChat):
    """A model that is asked in batches; otherwise like the class beside it.

    Requests that come within ``quiet`` seconds of each other go into one batch, so what an elicitor asks
    after an answer is the next round. Names of batches under way are kept in ``state``: the same command,
    after any interruption, waits for them and submits nothing twice. What is about to be submitted is
    written there first, under a tag by which the batch is found at the server where the command was killed
    before it knew its name. The first, tiny question is asked at once, without a batch.

    Args:
        *given: As for the class beside it.
        state: File of the batches under way.
        quiet: Seconds without a new request after which those that wait are submitted.
        every: Seconds between looks at the batches.
        **options: As for the class beside it.
    """

    def __init__(
        self, *given: Any, state: Path, quiet: float = 1.0, every: float = 30.0, **options: Any
    ) -> None:
        super().__init__(*given, parallel=_MOST_REQUESTS, **options)
        self._state, self._quiet, self._every = state, quiet, every
        self._waiting: dict[str, tuple[Body, asyncio.Future[Mapping[str, Any]]]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._at_once = False

    @abstractmethod
    async def _create(self, requests: Mapping[str, Body], tag: str) -> str:
        """Hand in requests; the name of their batch."""

    @abstractmethod
    async def _find(self, tag: str, since: float, count: int) -> str | None:
        """The name of a batch that was handed in under a tag, or None where there is none."""

    @abstractmethod
    async def _look(self, identity: str) -> Found:
        """The answers of a batch by the names of their requests, and how it ended; None before that."""

    @abstractmethod
    def _whole(self, body: Body) -> Body:
        """A request as it stands in a batch."""

    async def probe(self, *, images: bool = False) -> None:
        """As without batches: at once."""
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

    async def _post(self, body: Body) -> Any:
        if self._at_once:
            return await super()._post(body)
        whole = self._whole(body)
        name = digest(whole)[:32]
        if name not in self._waiting:
            answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
            self._waiting[name] = whole, answer
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        line = await asyncio.shield(self._waiting[name][1])
        said = line.get("response")
        if not isinstance(said, Mapping) or not isinstance(said.get("body"), Mapping):
            error = line.get("error")
            told = error if isinstance(error, str) else json.dumps(error)
            raise TransientError(f"the batch holds no answer: {told[:300]}")
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
                await self._recover()
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

    async def _recover(self) -> None:
        """Find the batches of which it is not known whether they were handed in."""
        for entry, names in self._batches().items():
            if not entry.startswith(_SUBMITTING):
                continue
            _, tag, since = entry.split(":")
            try:
                identity = await self._find(tag, float(since), len(names))
            except Refused as error:
                raise BackboneError(
                    f"{self._server.place}: a batch may have been handed in when the command was "
                    f"interrupted, and the server does not list its batches ({error}). If it was "
                    f'not, or to pay for it again, take the entry "{entry}" out of {self._state}'
                ) from None
            rest = {k: v for k, v in self._batches().items() if k != entry}
            self._save(rest if identity is None else {**rest, identity: names})

    async def _submit(self) -> None:
        """Send what waits and is in no batch yet."""
        under_way = {name for names in self._batches().values() for name in names}
        new = {k: body for k, (body, _) in self._waiting.items() if k not in under_way}
        for part in _parts(new):
            known = self._batches()
            tag = secrets.token_hex(8)
            self._save({**known, f"{_SUBMITTING}{tag}:{time.time():.0f}": list(part)})
            try:
                identity = await self._create(part, tag)
            except Refused:
                self._save(known)
                raise
            self._save({**known, identity: list(part)})

    async def _collect(self) -> bool:
        """Hand out the answers of batches that have ended; whether there was one."""
        ended = False
        for identity, names in self._batches().items():
            if not set(names) & set(self._waiting):
                continue
            found = await self._look(identity)
            if found is None:
                continue
            ended = True
            lines, status = found
            reason = f"the batch {identity} ended as {status} without it"
            self._save({k: v for k, v in self._batches().items() if k != identity})
            for name in names:
                if name in self._waiting:
                    future = self._waiting.pop(name)[1]
                    if not future.done():
                        future.set_result(lines.get(name, {"error": reason}))
        return ended

    def _batches(self) -> dict[str, list[str]]:
        return dict(read_sealed(self._state)) if self._state.is_file() else {}

    def _save(self, batches: Mapping[str, list[str]]) -> None:
        write_sealed(self._state, dict(batches))


class BatchChat(Batched):
    """A model behind the batch API of OpenAI, or of a server like it; see :class:`Batched`."""

    def _whole(self, body: Body) -> Body:
        return {**body, **self._extra}

    async def _create(self, requests: Mapping[str, Body], tag: str) -> str:
        content = b"".join(_line(name, body) for name, body in requests.items())
        with self._failures():
            file = await self._client.files.create(
                file=("requests.jsonl", content), purpose="batch"
            )
            batch = await self._client.batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={TAG: tag},
            )
        return batch.id

    async def _find(self, tag: str, since: float, count: int) -> str | None:
        with self._failures():
            page = await self._client.batches.list(limit=100)
            for _ in range(_PAGES):
                if not isinstance(page.data, list):
                    raise Refused(501, Complaint("its answer is no list of batches"))
                for batch in page.data:
                    if (batch.metadata or {}).get(TAG) == tag:
                        return batch.id
                if not page.data or not page.has_next_page():
                    break
                page = await page.get_next_page()
        return None

    async def _look(self, identity: str) -> Found:
        with self._failures():
            batch = await self._client.batches.retrieve(identity)
            if batch.status not in ENDED:
                return None
            files = [f for f in (batch.output_file_id, batch.error_file_id) if f]
            parts = [(await self._client.files.content(file)).content for file in files]
        return {str(r.get("custom_id")): r for r in records(b"\n".join(parts))}, batch.status


def _line(name: str, body: Mapping[str, Any]) -> bytes:
    record = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(record).encode() + b"\n"


def _parts(requests: Mapping[str, Body]) -> Iterator[dict[str, Body]]:
    """Requests in parts, none larger than the APIs take."""
    part: dict[str, Body] = {}
    size = 0
    for name, body in requests.items():
        length = len(_line(name, body))
        if part and (len(part) >= _MOST_REQUESTS or size + length > _MOST_BYTES):
            yield part
            part, size = {}, 0
        part[name] = body
        size += length
    if part:
        yield part


def records(content: bytes) -> Iterator[Mapping[str, Any]]:
    """Objects of a file of JSON lines; damaged ones are none."""
    for line in content.splitlines():
        with suppress(ValueError, RecursionError):
            record = parse_reply(line)
            if isinstance(record, Mapping):
                yield record
