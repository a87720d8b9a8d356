"""What every request passes: host name, origin and size of a form; and the headers of every answer."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_FORM: Final = 64 * 1024  # bytes
POLICY: Final = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# "same-origin": with "no-referrer" browsers send forms with the origin "null".
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_EVERYWHERE: Final = ("0.0.0.0", "::")
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def host_allowed(stated: str, bound: str, named: Sequence[str] = ()) -> bool:
    """Whether a Host header names this server, so that no other name can be led to it (DNS rebinding).

    Args:
        stated: The header.
        bound: Address that the server listens at; at every address of the machine, any address will do.
        named: Further names.

    Example:
        >>> [host_allowed(host, "127.0.0.1") for host in ("localhost:8765", "[::1]:8765", "a.example")]
        [True, True, False]
    """
    try:
        host = urlsplit(f"//{stated}").hostname or ""
    except ValueError:
        return False
    if host in (*_LOCAL, bound.lower(), *(name.lower() for name in named)):
        return True
    return bound in _EVERYWHERE and _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Middleware around the whole application.

    Args:
        app: What is guarded.
        bound: Address that the server listens at.
        named: Further host names under which it may be asked.
    """

    def __init__(self, app: ASGIApp, bound: str, named: Sequence[str] = ()) -> None:
        self._app, self._bound, self._named = app, bound, tuple(named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on and add the headers."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, with_headers)
            return
        await self._app(scope, _bounded(receive), with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not host_allowed(host, self._bound, self._named):
            return PlainTextResponse(
                "This server does not answer to that host name; name it with --hosts.\n", 421
            )
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return PlainTextResponse("Only GET and POST.\n", 405)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return PlainTextResponse("This form comes from another site; nothing was saved.\n", 403)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_FORM:
            return PlainTextResponse(f"A form has at most {LARGEST_FORM} bytes.\n", 413)
        return None


def _bounded(receive: Receive) -> Receive:
    """The request, cut off where it goes on beyond what a form may have."""
    left = LARGEST_FORM

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return bounded
