"""How calls of one model are spaced, repeated, bounded and given up."""

import asyncio
import contextlib
import math
import random
from dataclasses import dataclass, field

from vlmcal.elicit.models.base import ChatModel, PermanentError, TransientError
from vlmcal.errors import BackboneError, SpecError, VlmcalError
from vlmcal.types.chat import Request, Response

# Rough costs before the server has counted: English text, and an image of usual size.
_LETTERS_PER_TOKEN = 4
_TOKENS_PER_IMAGE = 1000


class BudgetSpent(VlmcalError):  # noqa: N818  not a fault: the user's own bound was reached
    """The next call would exceed the number of requests or tokens that the user allowed."""


class RateLimited(TransientError):  # noqa: N818  named for the state, as BudgetSpent is
    """The server says that too much is asked of it, so every caller waits, not this one alone."""


_SLOWEST = 0.01  # per minute: one call in 100 minutes; less is a slip, and would seem to hang


@dataclass
class Pace:
    """Sends requests to one model, no faster and no more of them than allowed; for one event loop.

    Calls start evenly spaced: in any 60 seconds at most ``requests_per_minute``, and no call starts before
    the tokens of those before it have been worked off at ``tokens_per_minute``. A call's tokens are
    estimated before it is sent and corrected by the server's count.

    After a failure that may pass, attempt k waits a random time between 0 and min(``cap``, ``base`` *
    ``factor`` ** k) seconds ("full jitter"; M. Brooker, Exponential Backoff And Jitter, AWS Architecture
    Blog 2015). When the server says how long to wait, or that its rate limit is reached, all callers wait.
    A rate-limited call uses up an attempt only if nothing else was answered since its last one, so a long
    queue before a slow server is no failure.

    Attributes:
        requests_per_minute: Of this model; None is unlimited.
        tokens_per_minute: Sent and generated, of this model.
        max_requests: Most requests ever sent, repeated ones included.
        max_tokens: Most tokens; a call is not sent while those spent, those under way and its own estimate
            exceed it. A call without an answer counts as a request and costs no tokens.
        attempts: Of one request.
        base, factor, cap: Of the waits between attempts, in seconds.
        longest_wait: Most seconds that a server's request to wait is honoured.
        give_up_after: This many failed calls in a row end the run.
        jitter: Source of the random waits; time itself is the event loop's.
        requests, tokens, retries: What was used so far.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    attempts: int = 6
    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    longest_wait: float = 300.0
    give_up_after: int = 20
    jitter: random.Random = field(default_factory=random.Random)
    requests: int = field(default=0, init=False)
    tokens: int = field(default=0, init=False)
    retries: int = field(default=0, init=False)
    _answered: int = field(default=0, init=False)
    _failed_in_a_row: int = field(default=0, init=False)
    _under_way: dict[object, int] = field(default_factory=dict, init=False)
    _next_request: float = field(default=0.0, init=False)
    _next_tokens: float = field(default=0.0, init=False)
    _paused_until: float = field(default=0.0, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _settled: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _down: BackboneError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Refuse bounds that no call could keep."""
        for name in (
            "requests_per_minute",
            "tokens_per_minute",
            "max_requests",
            "max_tokens",
            "attempts",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SpecError(f"{name.replace('_', ' ')}: expected a number above 0, got {value}")
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and value < _SLOWEST:
                raise SpecError(
                    f"{name.replace('_', ' ')}: expected at least {_SLOWEST:g}, got {value:g}"
                )

    async def call(self, model: ChatModel, request: Request) -> Response:
        """Answer a request, repeating it where that may help.

        Returns:
            The response; with status "failed" and the reason when there is none, so that one bad request
            does not stop the others.

        Raises:
            BudgetSpent: The budget does not allow the call.
            BackboneError: ``give_up_after`` calls in a row failed, so the server seems to be down.
            VlmcalError: As the model raises it, for what no other request would survive either.
        """
        tries = 0
        while True:
            answered = self._answered
            try:
                response = await self._attempt(model, request)
            except PermanentError as error:
                return self._give_up(model, str(error))
            except TransientError as error:
                tries += not (isinstance(error, RateLimited) and self._answered > answered)
                if tries >= self.attempts:
                    return self._give_up(model, f"{error} (after {tries} attempts)")
                self.retries += 1
                await self._back_off(self._wait(error, max(0, tries - 1)))
            else:
                self._answered += 1
                self._failed_in_a_row = 0
                return response

    async def _attempt(self, model: ChatModel, request: Request) -> Response:
        estimate = estimate_tokens(request)
        ticket = object()
        await self._start(ticket, estimate)
        used = 0
        try:
            response = await model.generate(request)
            used = _counted(response, estimate)
            return response
        finally:
            # Also after a cancellation, so that nothing stays booked for a call that is gone.
            del self._under_way[ticket]
            self.tokens += used
            if self.tokens_per_minute is not None:
                self._next_tokens += (used - estimate) * 60 / self.tokens_per_minute
            self._settled.set()

    async def _start(self, ticket: object, estimate: int) -> None:
        # One caller at a time waits for the clock, the others queue behind it in order.
        async with self._turn:
            while True:
                await self._afford(estimate)
                if self._down is not None:
                    raise self._down
                now = _now()
                wait = max(self._next_request, self._next_tokens, self._paused_until) - now
                if wait <= 0:
                    break
                await self._rest(wait)
            if self.requests_per_minute is not None:
                self._next_request = now + 60 / self.requests_per_minute
            if self.tokens_per_minute is not None:
                begin = max(now, self._next_tokens)
                self._next_tokens = begin + estimate * 60 / self.tokens_per_minute
            self.requests += 1
            self._under_way[ticket] = estimate

    async def _afford(self, estimate: int) -> None:
        if self.max_requests is not None and self.requests >= self.max_requests:
            raise self._spent(f"{self.max_requests:,} requests")
        while self.max_tokens is not None and (
            self.tokens + sum(self._under_way.values()) + estimate > self.max_tokens
        ):
            if not self._under_way:
                raise self._spent(
                    f"{self.max_tokens:,} tokens (the next call may need {estimate:,})"
                )
            # Calls under way may turn out cheaper than their estimates.
            self._settled.clear()
            await self._settled.wait()

    async def _rest(self, seconds: float) -> None:
        # Ends early when a call has settled: its tokens may cost less, or the server be given up.
        self._settled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    async def _back_off(self, seconds: float) -> None:
        until = _now() + seconds
        while self._down is None and (left := until - _now()) > 0:
            await self._rest(left)

    def _wait(self, error: TransientError, retry: int) -> float:
        wait = self.jitter.uniform(0, min(self.cap, self.base * self.factor**retry))
        pause = min(error.wait, self.longest_wait) if error.wait is not None else None
        if pause is None and isinstance(error, RateLimited):
            pause = wait
        if pause is not None:
            self._paused_until = max(self._paused_until, _now() + pause)
        return wait

    def _give_up(self, model: ChatModel, reason: str) -> Response:
        self._failed_in_a_row += 1
        if self._down is None and self._failed_in_a_row >= self.give_up_after:
            self._down = BackboneError(
                f"{model.identity}: {self._failed_in_a_row} calls in a row failed, the last one with: "
                f"{reason}. Nothing that was answered is lost; when the server works again, the same "
                "command goes on"
            )
            self._settled.set()
        if self._down is not None:
            raise self._down
        return Response(status="failed", error=reason)

    def _spent(self, bound: str) -> BudgetSpent:
        return BudgetSpent(
            f"the budget of {bound} is spent: {self.requests:,} requests and {self.tokens:,} tokens were "
            "used. Nothing that was answered is lost; the same command with a higher budget goes on"
        )


def estimate_tokens(request: Request) -> int:
    """Tokens that a request may cost: a quarter of its letters, 1000 per image, and the longest answer.

    Example:
        >>> from vlmcal.types.chat import Message
        >>> estimate_tokens(Request(messages=(Message("user", "Is it broken?"),), max_tokens=64))
        68
    """
    letters = sum(len(message.text) for message in request.messages)
    images = sum(len(message.images) for message in request.messages)
    sent = -(-letters // _LETTERS_PER_TOKEN) + images * _TOKENS_PER_IMAGE
    return sent + request.max_tokens


def _counted(response: Response, estimate: int) -> int:
    if response.prompt_tokens is None and response.completion_tokens is None:
        return estimate
    return (response.prompt_tokens or 0) + (response.completion_tokens or 0)


def _now() -> float:
    return asyncio.get_running_loop().time()
