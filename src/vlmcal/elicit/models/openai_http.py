"""Chat models behind an OpenAI-compatible server, through the ``openai`` client."""

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from vlmcal.elicit.images import image_bytes
from vlmcal.elicit.models.base import Capabilities, PermanentError, TransientError
from vlmcal.elicit.models.completions import (
    Completion,
    data_url,
    read_complaint,
    read_completion,
    request_body,
)
from vlmcal.elicit.models.dialect import GUIDES, MOST_ALTERNATIVES, Complaint, Dialect, adapted
from vlmcal.elicit.models.lasting import ADVICE, lasting
from vlmcal.elicit.models.logprobs import join_tokens
from vlmcal.elicit.models.refusals import Refused, fail, failures, parsed, stop
from vlmcal.elicit.models.secrets import require_no_secret
from vlmcal.elicit.models.server import DEFAULT_KEY, Server, find_server
from vlmcal.elicit.pacing import Pace
from vlmcal.errors import BackboneError, nearest
from vlmcal.types.chat import ImageRef, Message, Request, Response

Detail = Literal["low", "high", "auto"]
_ODD = "seventeen"  # no answer to the question of the probe

_FILTER_CODES = ("content_filter", "content_policy_violation")


class OpenAIChat:
    """A model on an OpenAI-compatible server; use it in one event loop and close it there.

    Answers are taken whole, not as streams. The client's own repetitions are switched off: see
    :class:`vlmcal.elicit.pacing.Pace`. When the server refuses a part of the format (see
    :mod:`vlmcal.elicit.models.dialect`), the request is written without it and sent again at once; what
    then works is noted in ``capabilities`` and kept for later requests.

    Attributes:
        identity: "openai:MODEL@HOST/PATH", followed by "#detail=..." and what else is sent where that is
            set, since both change the answers.
        capabilities: What was found out.
        parallel: Most requests on their way at the same time; others wait for one of them.
    """

    def __init__(
        self,
        server: Server,
        model: str,
        *,
        timeout: float = 120.0,
        parallel: int = 64,
        detail: Detail | None = None,
        extra: Mapping[str, Any] | None = None,
        guided: bool = False,
    ) -> None:
        require_no_secret(extra or {})
        told = {**(extra or {}), **({"guided": True} if guided else {})}
        self.identity = f"openai:{model}@{server.place}" + _told(detail, told)
        self.capabilities = Capabilities()
        self.parallel = parallel
        self._server = server
        self._client = server.client(timeout)
        self._model = model
        self._timeout = timeout
        self._detail = detail
        self._extra = dict(extra or {})
        self._guided = guided
        self._dialect = Dialect()
        self._free = asyncio.Semaphore(parallel)

    def __repr__(self) -> str:
        """The identity."""
        return f"OpenAIChat({self.identity!r})"

    async def probe(self, *, images: bool = False) -> None:
        """Ask one tiny question with log-probabilities, about a grey image where images will be sent.

        Raises:
            BackboneError: The server cannot be reached, refuses the key, or has no such model, or one that
                takes no images; says what to do.
        """
        with _grey_image() if images else nullcontext() as image:
            response = await Pace(attempts=3, base=0.5).call(self, _probe(image))
        if response.status == "failed":
            raise await self._no_model(response.error)
        if self._guided:
            await self._find_guide()

    async def _find_guide(self) -> None:
        """How the server takes replies to choose from: it has to say a word that nobody would answer."""
        asked = replace(_probe(None), logprobs=None, choices=(_ODD,))
        for guide in GUIDES:
            dialect = replace(self._dialect, guide=guide)
            try:
                data = await self._post(request_body(asked, self._model, dialect, {}))
                said = read_completion(data, logprobs=False).response.text
            except (Refused, TransientError, PermanentError):
                continue
            if said.strip() == _ODD:
                self._dialect = dialect
                self.capabilities.note(
                    f"its replies to closed questions are guided to the options ({guide}), except where "
                    "log-probabilities are asked for, which are those of free replies"
                )
                return
        self.capabilities.note("it has no guided choice: questions are asked without it")

    async def _no_model(self, said: str) -> BackboneError:
        """Why a first question got no answer, with the names that the server knows."""
        names = await self._names()
        if names and self._model not in names:
            return BackboneError(
                f'{self._server.place}: no model "{self._model}"; {nearest(self._model, names)} '
                f"(it said: {said})"
            )
        kind = lasting(Complaint(said))
        mend = (
            ADVICE[kind]
            if kind
            else (
                "check that the server is running and that the URL is the one before /chat/completions, "
                "usually ending in /v1"
            )
        )
        told = said if mend in said else f"{said}; {mend}"
        return BackboneError(f"{self._server.place}: a first question got no answer: {told}")

    async def _names(self) -> list[str]:
        """Names that the server lists; none where it lists none."""
        try:
            return await asyncio.to_thread(self._server.names, self._timeout)
        except BackboneError:
            return []

    async def generate(self, request: Request) -> Response:
        """Answer one request, once; see :class:`vlmcal.elicit.models.base.ChatModel`.

        Raises:
            TransientError: Time-out, connection error, status 408, 409, 425, 429 or 5xx, or an answer that
                is no completion.
            PermanentError: The server refuses this request.
            BackboneError: The server refuses the key, or the account has no credit.
            DataError: An image cannot be read.
        """
        async with self._free:
            urls = await asyncio.to_thread(_urls, request)
            dialect = self._dialect
            while True:
                body = request_body(request, self._model, dialect, urls, self._detail)
                start = time.perf_counter()
                try:
                    data = await self._post(body)
                except Refused as refusal:
                    if refusal.complaint.code in _FILTER_CODES:
                        return Response(status="filtered", error=str(refusal))
                    arguable = 400 <= refusal.status < 500 or refusal.status == 501
                    other = adapted(dialect, body, refusal.complaint) if arguable else None
                    if other is None:
                        raise self._refusal(request, refusal) from None
                    dialect = other
                else:
                    break
            seconds = time.perf_counter() - start
        completion = read_completion(data, logprobs="logprobs" in body)
        self._learn(request, body, dialect, completion)
        return replace(self._server.without_key(completion.response), seconds=seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _post(self, body: dict[str, Any]) -> Any:
        completions = self._client.chat.completions.with_raw_response
        with self._failures():
            # The client's own time-out is for each piece; a server that dribbles never reaches it.
            own = {name: body[name] for name in GUIDES if name in body}
            sent = {name: value for name, value in body.items() if name not in own}
            async with asyncio.timeout(self._timeout):
                raw = await completions.create(**sent, extra_body={**own, **self._extra} or None)
        data = parsed(self._server, raw.content)
        if isinstance(data, dict) and data.get("error") and not data.get("choices"):
            # Gateways report the failure of the server behind them with status 200.
            code = read_complaint(raw.content).code
            status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 502
            self._fail(status, raw.headers, raw.content)
        return data

    def _failures(self) -> AbstractContextManager[None]:
        return failures(self._server, self._timeout)

    def _fail(self, status: int, headers: Mapping[str, str], content: bytes) -> NoReturn:
        fail(self._server, status, headers, content)

    def _refusal(self, request: Request, refusal: Refused) -> PermanentError | BackboneError:
        kind = lasting(refusal.complaint)
        said = f"status {refusal.status}: {refusal}"
        if kind == "images" and any(m.images for m in request.messages):
            # The probe stops a run before this; a model that took other images refuses this one alone.
            self.capabilities.images = bool(self.capabilities.images)
            self.capabilities.note(f"it refuses images: {refusal}")
        if kind in ("key", "credit"):
            return stop(self._server, kind, said)
        return PermanentError(f"{said}; {ADVICE[kind]}" if kind in ("context", "images") else said)

    def _learn(
        self, request: Request, body: Mapping[str, Any], dialect: Dialect, completion: Completion
    ) -> None:
        facts = self.capabilities
        # Others may have learned something else meanwhile.
        self._dialect = self._dialect.joined(dialect)
        for note in self._dialect.notes():
            facts.note(note)
        if any(m.images for m in request.messages):
            facts.images = True
        if completion.response.cached_tokens:
            facts.note("it reads the beginnings of prompts, images included, once (prefix caching)")
        if request.logprobs is not None:
            self._learn_logprobs(body, completion)

    def _learn_logprobs(self, body: Mapping[str, Any], completion: Completion) -> None:
        facts = self.capabilities
        response, reading = completion
        for defect in reading.defects:
            facts.note(defect)
        if reading.sentinel:
            facts.sentinel = True
            facts.note(
                "it writes -9999 for log-probabilities that it does not tell; they are left out"
            )
        if "logprobs" not in body:
            facts.logprobs = False
        elif reading.tokens is None:
            # An answer that was cut before its first letter has no tokens either.
            if response.text and response.status == "ok":
                facts.logprobs = bool(facts.logprobs)
                facts.note(
                    "asked for log-probabilities, it gave none (or none usable) with some answers"
                )
        else:
            facts.logprobs = True
            given = body.get("top_logprobs", 0) if any(t.top for t in reading.tokens) else 0
            known = max(given, facts.top_logprobs or 0)
            facts.top_logprobs = min(known, self._dialect.alternatives)
            facts.sentinel = bool(facts.sentinel)
            if response.text.strip() not in join_tokens(reading.tokens):
                facts.note("the tokens of some answers do not spell their text")


def openai_chat(
    url: str,
    *,
    model: str | None = None,
    api_key_env: str = DEFAULT_KEY,
    timeout: float = 120.0,
    parallel: int = 64,
    detail: Detail | None = None,
    extra: Mapping[str, Any] | None = None,
    guided: bool = False,
) -> OpenAIChat:
    """A model on an OpenAI-compatible server; nothing is sent unless its name must be looked up.

    Args:
        url: The part before ``/chat/completions``, usually ending in ``/v1``. It holds no password; the
            only query that it may have is ``api-version``.
        model: Name on the server; None takes the only one that the server lists.
        api_key_env: Environment variable that holds the key. Without the default one no key is sent.
        timeout: Seconds from sending to the last byte.
        parallel: Most requests on their way at the same time.
        detail: Resolution at which the server should look at images ("low", "high", "auto").
        extra: Further fields of every request, such as ``{"reasoning_effort": "low"}``; they win over those
            of the program.
        guided: Whether replies to closed questions are held to the options by the server's guided choice
            where it has one; see :class:`vlmcal.types.chat.Request`.

    Raises:
        SpecError: ``url`` is no such URL, or the key cannot be used.
        BackboneError: The package ``openai`` is missing, or the model's name cannot be found out.

    Example:
        >>> openai_chat("http://localhost:8000/v1/", model="qwen").identity
        'openai:qwen@localhost:8000/v1'
    """
    server = find_server(url, api_key_env)
    name = model or _only(server.names(timeout), server.place)
    return OpenAIChat(
        server, name, timeout=timeout, parallel=parallel, detail=detail, extra=extra, guided=guided
    )


def _told(detail: Detail | None, extra: Mapping[str, Any]) -> str:
    """What is sent beside the messages, as a part of the model's identity."""
    told = ({"detail": detail} if detail else {}) | dict(sorted(extra.items()))
    texts = [
        f"{k}={v if isinstance(v, str) else json.dumps(v, sort_keys=True)}" for k, v in told.items()
    ]
    return "#" + ",".join(texts) if texts else ""


@contextmanager
def _grey_image() -> Iterator[ImageRef]:
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grey.png")
        Image.new("RGB", (64, 64), "grey").save(path)
        yield ImageRef(str(path))


def _probe(image: ImageRef | None) -> Request:
    return Request(
        messages=(
            Message("system", "You answer questions."),
            Message("user", "Is water wet? Answer with yes or no only.", (image,) if image else ()),
        ),
        max_tokens=16,
        logprobs=MOST_ALTERNATIVES,
    )


def _urls(request: Request) -> dict[ImageRef, str]:
    refs = {ref for message in request.messages for ref in message.images}
    return {ref: data_url(*image_bytes(ref)) for ref in refs}


def _only(names: list[str], place: str) -> str:
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    raise BackboneError(
        f"{place} has {len(names)} models; name one of them{': ' + listed if listed else ''}"
    )
