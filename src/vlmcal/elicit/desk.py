"""Where plans bring their requests: answered from the log if possible, else by the model, once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from vlmcal.elicit.models.base import NO_CONTENT, ChatModel
from vlmcal.elicit.pacing import Pace
from vlmcal.elicit.parse.thoughts import said
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.errors import DataError, SpecError
from vlmcal.hashing import digest_file
from vlmcal.types.chat import Request, Response, Speaker

# A reply that has no room for its answer is asked for again with so many times as much.
ROOMS = (1, 4, 16)
# Tries of a reply without content.
_TRIES = 3
_FEW = 20
Again = Literal["empty", "cut", "failed"]


class Stopped(Exception):  # noqa: N818  not an error: the user or a budget ended the run
    """No further request is sent; those under way still arrive."""


@dataclass
class Tally:
    """What happened to the requests of a run."""

    asked: int = 0
    from_log: int = 0
    failed: int = 0
    tokens: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thinking: int = 0
    seconds: float = 0.0
    values: set[float] = field(default_factory=set)
    with_tokens: int = 0

    @property
    def constant(self) -> bool:
        """Whether all log-probabilities that came, in twenty responses or more, are one number."""
        return self.with_tokens >= _FEW and len(self.values) == 1

    def count(self, response: Response) -> None:
        """Add what one call cost, as the server counts it."""
        self.tokens_in += response.prompt_tokens or 0
        self.tokens_out += response.completion_tokens or 0
        self.tokens_thinking += response.reasoning_tokens or 0
        self.tokens = self.tokens_in + self.tokens_out
        self.seconds += response.seconds

    def see(self, response: Response) -> None:
        """Note the log-probabilities of a response."""
        self.with_tokens += bool(response.tokens)
        for token in response.tokens or ():
            if len(self.values) > 1:
                return
            self.values |= {token.logprob, *(a.logprob for a in token.top)}


@dataclass
class Desk:
    """Answers requests; the same request is sent at most once, now and in later runs.

    Attributes:
        models: Who is asked, by role.
        log: Responses of this and earlier runs; open.
        paces: Retries, rate limits and budgets, by role.
        parallel: The most calls under way at the same time.
        reply_tokens: Room of every reply, thoughts included, where the request's own is less.
        rooms: How many times its own length a request is given, by role; learned from replies that were cut
            before their answer, and kept for the requests that follow.
        again: Recorded replies that are asked for again, once: "empty", "cut". Failed ones always are.
        stopping: Set to send nothing new.
        tally: What happened so far.
    """

    models: Mapping[Speaker, ChatModel]
    log: ResponseLog
    paces: Mapping[Speaker, Pace]
    parallel: int = 8
    reply_tokens: int | None = None
    rooms: dict[Speaker, int] = field(default_factory=dict)
    again: frozenset[Again] = frozenset()
    stopping: bool = False
    tally: Tally = field(default_factory=Tally)
    _under_way: dict[str, "asyncio.Task[Response]"] = field(default_factory=dict)
    _renewed: set[str] = field(default_factory=set)
    _gate: asyncio.Semaphore | None = None

    def key(self, request: Request) -> str:
        """Name of the request to the model that it is for."""
        return request.key(self._model(request).identity, _image_digest)

    async def ask(self, request: Request, room: int = 1) -> Response:
        """The response to a request, from the log, from a call under way, or from a new call.

        A reply that was cut before its answer is asked for again with 4 and 16 times the room, whether it
        comes now or is recorded; one without any content up to three times.

        Args:
            request: What is asked.
            room: How many times its own length the reply is given at least, if it was cut with less.

        Raises:
            Stopped: The run is ending and this request was not sent.
            VlmcalError: The budget is spent or the server cannot be used.
        """
        key = self.key(request)
        known = self.log.get(key)
        if known is not None and not self._is_asked_again(key, request, known, room):
            self.tally.from_log += 1
            self.tally.see(known)
            return known
        if key not in self._under_way:
            if self.stopping:
                raise Stopped
            self._renewed.add(key)
            task = asyncio.create_task(self._send(key, request, room))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Shielded, so that a plan that is given up does not lose a response that is already paid for.
        return await asyncio.shield(self._under_way[key])

    async def settle(self) -> None:
        """Wait for the calls under way and record them."""
        while self._under_way:
            # What went wrong with a call was told to the plan that waited for it.
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            await asyncio.sleep(0)  # lets finished calls take themselves off the list

    def _is_asked_again(self, key: str, request: Request, known: Response, room: int) -> bool:
        given = known.max_tokens or request.max_tokens
        if known.cut and given < self._length(request, room):
            return True
        if key in self._renewed:
            return False
        empty = not known.text.strip()
        if empty and known.cut and given < self._length(request, ROOMS[-1]):
            return True
        return (
            ("cut" in self.again and known.cut)
            or ("empty" in self.again and empty)
            or (empty and known.error == NO_CONTENT)
        )

    def _length(self, request: Request, room: int) -> int:
        return max(request.max_tokens * room, self.reply_tokens or 0)

    async def _send(self, key: str, request: Request, room: int) -> Response:
        if self._gate is None:
            self._gate = asyncio.Semaphore(self.parallel)
        async with self._gate:
            if self.stopping:
                raise Stopped
            response = await self._reply(request, room)
        self.log.put(key, request, response)
        self.tally.failed += response.status == "failed"
        self.tally.see(response)
        return response

    async def _reply(self, request: Request, room: int) -> Response:
        """The reply to a request in the least room that is enough for it."""
        start = max(room, self.rooms.get(request.speaker, 1))
        response = await self._call(request, start)
        for more in (each for each in ROOMS if each > start):
            if not (response.cut and (not response.text.strip() or said(response.text).unfinished)):
                break
            wider = await self._call(request, more)
            if wider.status == "failed":
                break  # it may be more than the server allows; what came before is kept
            response = wider
        given = (response.max_tokens or request.max_tokens) // request.max_tokens
        if not response.cut and given > self.rooms.get(request.speaker, 1):
            self.rooms[request.speaker] = max(each for each in ROOMS if each <= given)
            facts = self._model(request).capabilities
            facts.room = self.rooms[request.speaker]
            facts.note(
                f"its thoughts count inside the reply: it is given {facts.room} times the usual room"
            )
        return response

    async def _call(self, request: Request, room: int) -> Response:
        length = self._length(request, room)
        sent = request if length == request.max_tokens else replace(request, max_tokens=length)
        for tries in range(_TRIES):
            response = await self.paces[request.speaker].call(self._model(request), sent)
            self.tally.asked += 1
            self.tally.count(response)
            if (
                response.error != NO_CONTENT
                or response.text
                or tries + 1 == _TRIES
                or self.stopping
            ):
                break
        return response if sent is request else replace(response, max_tokens=length)

    def _model(self, request: Request) -> ChatModel:
        if request.speaker not in self.models:
            raise SpecError(
                f"no {request.speaker} model is given; name one with --{request.speaker} URL or hf:PATH"
            )
        return self.models[request.speaker]


@lru_cache(maxsize=100_000)
def _image_digest(path: str) -> str:
    try:
        return digest_file(Path(path))
    except OSError as error:
        raise DataError(f"{path}: the image cannot be read ({error.strerror})") from None
