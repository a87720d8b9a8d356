"""An OpenAI-compatible server that fails on purpose, the same way for the same seed.

In a test: ``with FaultServer(script=["500"]) as server: ... server.url``. As a process, which prints its
port: ``python tests/elicit/fault_server.py --port 0 --seed 1 --faults 0.3``; ``GET /counts`` then tells how
often each request was answered. It ends with the process that started it, or after ``--lifetime`` seconds.
"""

import argparse
import hashlib
import json
import math
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What may happen instead of an answer. "wrong-type" and "dribble" are answers all the same.
FAULTS = (
    "429",
    "429-wait",
    "429-date",
    "500",
    "503",
    "hang",
    "truncated",
    "cut",
    "html",
    "empty",
    "error-200",
    "reset",
    "wrong-type",
    "dribble",
)


@dataclass(frozen=True)
class Manner:
    """How a server departs from the format; the defaults are a server that takes everything."""

    models: tuple[str, ...] = ("tiny-vlm",)
    key: str = ""
    logprobs: str = "chat"
    most_alternatives: int = 20
    silent_limit: bool = False
    refuses: tuple[str, ...] = ()
    content: str = "text"
    usage: bool = True
    guide: str = ""
    cached: int | None = None


@dataclass
class FaultServer:
    """Serves on 127.0.0.1 until the ``with`` block ends.

    Attributes:
        faults: Probability that an attempt fails.
        seed: Of which attempts fail, and how; they depend on the request and the attempt's number alone.
        kinds: Faults to draw from.
        most: Most faults that one request meets.
        script: Faults of the next requests, whatever they are; "ok" is none.
        manner: How it answers.
        hang: Seconds that it is silent for, or that a dribbled answer takes.
        delay: Seconds before every answer.
        wait: Seconds that it asks to wait, in "429-wait".
    """

    faults: float = 0.0
    seed: int = 0
    kinds: tuple[str, ...] = FAULTS
    most: int = 3
    script: list[str] = field(default_factory=list)
    manner: Manner = field(default_factory=Manner)
    hang: float = 5.0
    delay: float = 0.0
    wait: float = 0.05
    port: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __enter__(self) -> "FaultServer":
        self._lock = threading.Lock()
        self._tries: Counter[str] = Counter()
        self.stopped = threading.Event()
        outer = self

        class Handler(_Handler):
            owner = outer

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients that are killed are part of the test."""

        self._http = Threads(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def counts(self) -> dict[str, Any]:
        with self._lock:
            return {
                "answered": dict(self.answered),
                "met": dict(self.met),
                "requests": sum(self._tries.values()),
            }

    def fate(self, name: str) -> str:
        with self._lock:
            attempt = self._tries[name]
            self._tries[name] += 1
            draw = random.Random(f"{self.seed}:{name}:{attempt}")
            fails = attempt < self.most and draw.random() < self.faults
            fault = self.script.pop(0) if self.script else draw.choice(self.kinds) if fails else ""
            fault = "" if fault == "ok" else fault
            self.met[fault or "none"] += 1
            return fault

    def enter(self, body: dict[str, Any], authorization: str) -> None:
        with self._lock:
            self.bodies.append(body)
            self.authorizations.append(authorization)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def leave(self, name: str, *, answered: bool) -> None:
        with self._lock:
            self.at_once -= 1
            self.answered[name] += answered


def body_name(body: dict[str, Any]) -> str:
    """The same for the same request."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def answer_of(body: dict[str, Any]) -> tuple[str, int]:
    """The answer and the stated percentage, by a hash of what is asked."""
    number = int(body_name({"messages": body["messages"], "seed": body.get("seed")})[:8], 16)
    return ("yes", "no")[number % 2], 50 + number // 2 % 50


class _Handler(BaseHTTPRequestHandler):
    owner: FaultServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Tests read no log."""

    def do_GET(self) -> None:
        if self.path == "/counts":
            self._send(200, self.owner.counts())
        elif self._found("/v1/models") and self._allowed():
            listed = [{"id": name, "object": "model"} for name in self.owner.manner.models]
            self._send(200, {"object": "list", "data": listed})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body_name(body)
        self.owner.enter(body, self.headers.get("Authorization", ""))
        answered = False
        try:
            served = self._found("/v1/chat/completions") and self._allowed()
            answered = served and self._accepted(body) and self._answer(body, name)
        finally:
            self.owner.leave(name, answered=answered)

    def _found(self, path: str) -> bool:
        if self.path == path:
            return True
        self._raw(b"<html><body>Not Found</body></html>", "text/html", status=404)
        return False

    def _allowed(self) -> bool:
        key = self.owner.manner.key
        given = self.headers.get("Authorization", "")
        if not key or given == f"Bearer {key}":
            return True
        starred = given.removeprefix("Bearer ")
        starred = starred[:8] + "****" + starred[-4:]
        self._error(401, f"Incorrect API key provided: {starred}. Full header: {given}.")
        return False

    def _accepted(self, body: dict[str, Any]) -> bool:
        manner = self.owner.manner
        if body["model"] not in manner.models:
            self._error(404, f"The model `{body['model']}` does not exist.", code="model_not_found")
            return False
        roles = {message["role"] for message in body["messages"]}
        sent = set(body) | ({"system"} if "system" in roles else set())
        if any(isinstance(message["content"], list) for message in body["messages"]):
            sent.add("images")
        for part in manner.refuses:
            if part in sent:
                message, param = _REFUSALS[part]
                self._error(400, message, param=param, code="unsupported_parameter")
                return False
        limit = manner.most_alternatives
        if (asked := body.get("top_logprobs", 0)) > limit:
            named = "" if manner.silent_limit else f": {limit}"
            said = f"Requested sample logprobs of {asked}, which is greater than max allowed{named}"
            self._error(400, said)
            return False
        return True

    def _answer(self, body: dict[str, Any], name: str) -> bool:
        fault = self.owner.fate(name)
        if self.owner.delay:
            time.sleep(self.owner.delay)
        if fault.startswith("429"):
            wait = self.owner.wait
            self._error(
                429,
                "Rate limit reached",
                headers={
                    "429-wait": {"retry-after-ms": str(int(wait * 1000)), "Retry-After": "1"},
                    "429-date": {"Retry-After": formatdate(time.time() - 1, usegmt=True)},
                }.get(fault, {}),
            )
        elif fault in ("500", "503"):
            self._error(int(fault), "The server had an error")
        elif fault == "html":
            self._raw(b"<html><title>Gateway</title><body>Please log in</body></html>", "text/html")
        elif fault == "empty":
            self._send(200, {"id": "1", "object": "chat.completion", "choices": []})
        elif fault == "error-200":
            self._send(200, {"error": {"message": "Provider returned error", "code": 502}})
        elif fault == "hang":
            self.owner.stopped.wait(self.owner.hang)
            self.close_connection = True
        elif fault == "reset":
            self._reset()
        else:
            return self._complete(body, fault)
        return False

    def _complete(self, body: dict[str, Any], fault: str) -> bool:
        content = json.dumps(completion(body, self.owner.manner)).encode()
        if fault == "truncated":
            self._raw(content[: len(content) // 2])
            return False
        if fault == "cut":
            self._raw(content[: len(content) // 2], length=len(content))
            self.close_connection = True
            return False
        if fault == "dribble":
            self._head(200, "application/json", len(content))
            for part in range(0, len(content), 1 + len(content) // 50):
                self.wfile.write(content[part : part + 1 + len(content) // 50])
                self.owner.stopped.wait(self.owner.hang / 50)
            return True
        self._raw(content, "text/plain" if fault == "wrong-type" else "application/json")
        return True

    def _reset(self) -> None:
        # Closing with a lingering time of zero sends a reset in place of a proper end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115  the handler closes it
        self.connection.close()

    def _error(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        said = {"message": message, "type": "error", "param": param, "code": code or None}
        self._send(status, {"error": said}, headers)

    def _send(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        self._raw(json.dumps(data).encode(), status=status, headers=headers)

    def _raw(
        self,
        content: bytes,
        kind: str = "application/json",
        *,
        status: int = 200,
        length: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._head(status, kind, len(content) if length is None else length, headers)
        self.wfile.write(content)
        self.wfile.flush()

    def _head(
        self, status: int, kind: str, length: int, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": length,
            **(headers or {}),
        }.items():
            self.send_header(name, str(value))
        self.end_headers()


# As real servers say it.
_REFUSALS: dict[str, tuple[str, str | None]] = {
    "max_tokens": (
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "max_tokens",
    ),
    "temperature": (
        "Unsupported value: 'temperature' does not support 0.7 with this model. "
        "Only the default (1) value is supported.",
        "temperature",
    ),
    "seed": ("[{'type': 'extra_forbidden', 'loc': ('body', 'seed')}]", None),
    "system": ("System role not supported", None),
    "logprobs": ("You are not allowed to request logprobs from this model", None),
    "top_logprobs": ("Unrecognized request argument supplied: top_logprobs", None),
    "images": ("tiny-vlm is not a multimodal model", None),
    "structured_outputs": ("Extra inputs are not permitted: structured_outputs", None),
    "guided_choice": ("guided_choice is not supported", None),
}


def completion(body: dict[str, Any], manner: Manner) -> dict[str, Any]:
    """The answer to a request as JSON."""
    answer, percent = answer_of(body)
    pieces = ["Answer", ":", f" {answer}", "\n", "Confidence", ":", f" {percent}", "%"]
    if manner.guide in body:
        told = body[manner.guide]
        choices = told["choice"] if isinstance(told, dict) else told
        pieces = [choices[percent % len(choices)]]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces)}
    reason = "stop"
    if manner.content == "parts":
        thought = {"type": "thinking", "thinking": "Hm."}
        message["content"] = [thought, {"type": "text", "text": message["content"]}]
    elif manner.content == "null":
        message["content"] = None
    elif manner.content == "refusal":
        message |= {"content": None, "refusal": "I cannot help with this."}
    elif manner.content == "filter":
        message["content"], reason = "Answer", "content_filter"
    elif manner.content == "length":
        message["content"], reason = "Answer", "length"
    elif manner.content == "reasoning":
        message["reasoning_content"] = "The answer is surely: maybe."
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    if body.get("logprobs") and isinstance(message["content"], (str, list)):
        said = pieces if reason == "stop" else ["Answer"]
        choice["logprobs"] = _logprobs(said, percent, body.get("top_logprobs", 0), manner.logprobs)
    data: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1}
    data |= {"model": body["model"] + "-2026", "choices": [choice]}
    if manner.usage:
        letters = sum(len(json.dumps(message["content"])) for message in body["messages"])
        data["usage"] = {"prompt_tokens": letters // 4, "completion_tokens": len(pieces)}
        if manner.cached is not None:
            data["usage"]["prompt_tokens_details"] = {"cached_tokens": manner.cached}
    return data


def _logprobs(pieces: list[str], percent: int, top: int, form: str) -> dict[str, Any] | None:
    if form == "dropped":
        return None
    entries = []
    for piece in pieces:
        opposite = {" yes": " no", " no": " yes"}.get(piece)
        share = percent / 100 if opposite else 0.97
        named = [(piece, share), (opposite or " the", (1 - share) * 0.8)]
        rest = [(f" w{number}", (1 - share) * 0.1 / 2**number) for number in range(18)]
        values = [(text, math.log(each)) for text, each in [*named, *rest]]
        if form == "sentinel":
            values = [*values[:2], *((text, -9999.0) for text, _ in values[2:])]
        entries.append({**_entry(*values[0]), "top_logprobs": [_entry(*v) for v in values[:top]]})
    if form == "sentinel-chosen":
        entries[2]["logprob"] = -9999.0
    elif form == "nan":
        entries[2]["logprob"] = math.nan
    elif form == "positive":
        entries[2]["top_logprobs"][1]["logprob"] = 0.5
    elif form == "null-bytes":
        entries = [{**entry, "bytes": None} for entry in entries]
    elif form == "no-top":
        entries = [{k: v for k, v in entry.items() if k != "top_logprobs"} for entry in entries]
    elif form == "completion":
        return {
            "tokens": [entry["token"] for entry in entries],
            "token_logprobs": [entry["logprob"] for entry in entries],
            "top_logprobs": [
                {each["token"]: each["logprob"] for each in entry["top_logprobs"]}
                for entry in entries
            ],
        }
    elif form == "llama":
        entries = [
            {**_as_prob(entry), "top_probs": [_as_prob(each) for each in entry["top_logprobs"]]}
            for entry in entries
        ]
    elif form == "empty":
        entries = []
    return {"content": entries, "refusal": None}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _as_prob(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "bytes": entry["bytes"], "prob": math.exp(entry["logprob"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--kinds", default=",".join(FAULTS))
    parser.add_argument("--logprobs", default="chat")
    parser.add_argument("--hang", type=float, default=0.5)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--lifetime", type=float, default=300.0)
    options = parser.parse_args()
    server = FaultServer(
        faults=options.faults,
        seed=options.seed,
        kinds=tuple(options.kinds.split(",")),
        manner=Manner(logprobs=options.logprobs),
        hang=options.hang,
        delay=options.delay,
        port=options.port,
    )
    parent, end = os.getppid(), time.monotonic() + options.lifetime
    with server:
        print(server.port, flush=True)
        while time.monotonic() < end and os.getppid() == parent:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
