"""Answers of a server that no server should give, and a server that gives each to a question of its own."""

import base64
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

KEY = "sk-proj-Zq8/+x0123456789wxyz"


def completion(**message: Any) -> dict[str, Any]:
    """A completion of the usual form with another message."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}


def changed(**parts: Any) -> dict[str, Any]:
    """A good completion with other parts."""
    return {**completion(content="Answer: yes\nConfidence: 80%"), **parts}


def choice(**parts: Any) -> dict[str, Any]:
    """A good completion whose choice has other parts."""
    good = changed()
    return {**good, "choices": [{**good["choices"][0], **parts}]}


def tokens(value: Any) -> dict[str, Any]:
    """A good completion with other log-probabilities."""
    return choice(logprobs=value)


ENTRY = {"token": "yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}
DEEP = "[" * 100_000 + "]" * 100_000

# Bodies by name: bytes as they are, anything else as JSON.
ODD: dict[str, Any] = {
    "surrogate": b'{"choices": [{"message": {"content": "yes \\ud800 Confidence: 80%"}}]}',
    "surrogate-key": b'{"\\ud800": 1, "choices": [{"message": {"content": "yes", "\\udfff": 2}}]}',
    "surrogate-reason": b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "\\ud800"}]}',
    "surrogate-model": b'{"model": "\\ud800", "choices": [{"message": {"content": "yes"}}]}',
    "surrogate-thought": b'{"choices": [{"message": {"content": "yes", "reasoning": "\\udc00"}}]}',
    "surrogate-token": b'{"choices": [{"message": {"content": "yes"}, "logprobs": {"content": '
    b'[{"token": "\\ud800", "logprob": -1, "bytes": [237], "top_logprobs": []}]}}]}',
    "deep": DEEP.encode(),
    "deep-content": b'{"choices": [{"message": {"content": ' + DEEP.encode() + b"}}]}",
    "deep-error": b'{"error": ' + DEEP.encode() + b"}",
    "long": completion(content="y" * 20_000_000),
    "long-thought": completion(content="yes", reasoning_content="h" * 2_000_000),
    "long-number": b'{"choices": ' + b"9" * 100_000 + b"}",
    "long-digits": completion(content="9" * 100_000 + "%"),
    "null-content": completion(content=None),
    "no-content": completion(),
    "blank": completion(content="  \n\t "),
    "zero-width": completion(content="\u200b\u2060\ufeff"),
    "nul": completion(content="yes\0no\0"),
    "controls": completion(content="\x1b[31myes\x1b[0m\x07\r\x08"),
    "right-to-left": completion(content="\u202eyes\u202c"),
    "latin": b'{"choices": [{"message": {"content": "f\xfcr"}}]}',
    "utf16": json.dumps(changed()).encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + json.dumps(changed()).encode(),
    "nan": b'{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": NaN}}',
    "infinite": b'{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": 1e999}}',
    "twice": b'{"choices": [], "choices": [{"message": {"content": "yes"}}]}',
    "number": 3,
    "text": "yes",
    "true": True,
    "null": None,
    "list": [completion(content="yes")],
    "nothing": b"",
    "blanks": b" " * 1000,
    "content-number": completion(content=7),
    "content-true": completion(content=True),
    "content-object": completion(content={"text": "yes"}),
    "content-nested": completion(content=[[["yes"]]]),
    "parts-odd": completion(content=[None, 3, {"type": "text"}, {"type": "text", "text": 5}]),
    "parts-null": completion(content=[{"type": None, "text": None}]),
    "choices-object": changed(choices={"0": 1}),
    "choices-text": changed(choices="yes"),
    "choices-null": changed(choices=None),
    "choices-nulls": changed(choices=[None]),
    "message-null": choice(message=None),
    "message-text": choice(message="yes"),
    "message-list": choice(message=["yes"]),
    "reason-list": choice(finish_reason=["stop"]),
    "reason-object": choice(finish_reason={"a": 1}),
    "reason-number": choice(finish_reason=3),
    "refusal-object": completion(content=None, refusal={"a": 1}),
    "refusal-list": completion(content=None, refusal=["no"]),
    "reasoning-object": completion(content="yes", reasoning={"a": 1}),
    "reasoning-number": completion(content="yes", reasoning_content=3),
    "model-object": changed(model={"a": 1}),
    "model-list": changed(model=["a"]),
    "model-null": changed(model=None),
    "usage-text": changed(usage="many"),
    "usage-list": changed(usage=[1]),
    "usage-negative": changed(usage={"prompt_tokens": -5, "completion_tokens": -1}),
    "usage-texts": changed(usage={"prompt_tokens": "5", "completion_tokens": None}),
    "usage-floats": changed(usage={"prompt_tokens": 1.5, "completion_tokens": 2.0}),
    "usage-huge": changed(usage={"prompt_tokens": 10**400, "completion_tokens": 10**30}),
    "usage-true": changed(usage={"prompt_tokens": True}),
    "usage-details": changed(usage={"prompt_tokens_details": 3, "completion_tokens_details": [1]}),
    "logprobs-text": tokens("yes"),
    "logprobs-list": tokens([1]),
    "logprobs-number": tokens({"content": 3}),
    "logprobs-nulls": tokens({"content": [None]}),
    "logprobs-texts": tokens({"content": ["yes"]}),
    "logprobs-bytes": tokens({"content": [{**ENTRY, "bytes": [300, -1, "x"]}]}),
    "logprobs-bytes-text": tokens({"content": [{**ENTRY, "bytes": "yes"}]}),
    "logprobs-token": tokens({"content": [{**ENTRY, "token": 3}]}),
    "logprobs-logprob": tokens({"content": [{**ENTRY, "logprob": "low"}]}),
    "logprobs-logprob-null": tokens({"content": [{**ENTRY, "logprob": None}]}),
    "logprobs-logprob-true": tokens({"content": [{**ENTRY, "logprob": True}]}),
    "logprobs-logprob-huge": tokens({"content": [{**ENTRY, "logprob": -(10**400)}]}),
    "logprobs-top": tokens({"content": [{**ENTRY, "top_logprobs": 3}]}),
    "logprobs-top-nulls": tokens({"content": [{**ENTRY, "top_logprobs": [None, 3, "a"]}]}),
    "logprobs-top-object": tokens({"content": [{**ENTRY, "top_logprobs": {"a": "b"}}]}),
    "logprobs-old": tokens({"tokens": [1], "token_logprobs": "a", "top_logprobs": [None]}),
    "error-text": {"error": "broken"},
    "error-number": {"error": 5},
    "error-list": {"error": [None]},
    "error-code-list": {"error": {"message": ["a"], "code": ["429"], "param": {}}},
    "error-code-float": {"error": {"message": None, "code": 4.5}},
    "error-surrogate": b'{"error": {"message": "\\ud800 no", "code": "500"}}',
    "error-key": {"error": {"message": f"Incorrect key {KEY}", "code": 400}},
    "key-answer": completion(content=f"Answer: yes, Bearer {KEY}\nConfidence: 80%"),
    "key-thought": completion(content="yes", reasoning_content=f"The key is {KEY}."),
    "key-refusal": completion(content=None, refusal=f"I may not say {KEY}"),
    "key-model": changed(model=f"tiny {KEY}"),
    "key-reason": choice(finish_reason=KEY),
    "key-parts": completion(content=[{"type": "text", "text": f"yes {KEY}"}]),
    "key-page": f"<html><title>Hello {KEY}</title><body>Bearer {KEY}</body></html>".encode(),
    "key-escaped": completion(content="".join(f"\\u{ord(letter):04x}" for letter in KEY)),
    "key-percent": completion(content=f"yes {quote(KEY, safe='')}"),
    "key-base64": completion(content=base64.b64encode(f"Bearer {KEY}".encode()).decode()),
    "key-lines": completion(content="\n> ".join((KEY[:9], KEY[9:17], KEY[17:]))),
    "key-entities": "".join(f"&#{ord(letter)};" for letter in KEY).encode(),
    "key-token": tokens({"content": [{**ENTRY, "token": KEY}]}),
}
STATUSES: dict[str, tuple[int, dict[str, str]]] = {
    "key-status-400": (400, {}),
    "key-status-500": (500, {}),
    "key-status-418": (418, {}),
    "status-299": (299, {}),
    "wait-words": (429, {"Retry-After": "soon"}),
    "wait-minus": (503, {"Retry-After": "-5"}),
    "key-header": (400, {"X-Request-Id": KEY, "WWW-Authenticate": f"Bearer {KEY}"}),
}
NAMES = (*ODD, *STATUSES)


class OddServer:
    """Gives question N the N-th of the answers, however often it is asked; any other question a good one.

    Attributes:
        asked: How often each answer was given, by name.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __enter__(self) -> "OddServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Tests read no log."""

            def do_GET(self) -> None:
                self._send(json.dumps({"data": [{"id": "m"}]}).encode())

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                name = next((n for i, n in enumerate(NAMES) if f"finding {i} " in text), "")
                outer.asked[name] += 1
                status, headers = STATUSES.get(name, (200, {}))
                body = ODD.get(name, changed())
                if name in STATUSES:
                    body = {"error": {"message": f"{name}: your key {KEY} is odd", "code": None}}
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self._send(content, status, headers)

            def _send(
                self, content: bytes, status: int = 200, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                about = {"Content-Type": "application/json", "Content-Length": str(len(content))}
                for field, value in {**about, **(headers or {})}.items():
                    self.send_header(field, value)
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
