"""Serving a review to browsers, on this machine unless told otherwise."""

import os
import secrets
import socket
import sqlite3
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvicorn

from vlmcal.errors import SpecError, VlmcalError
from vlmcal.review.database import Review
from vlmcal.review.web.access import Access, one_person, several_people
from vlmcal.review.web.app import create_app

HOST: Final = "127.0.0.1"
PORT: Final = 8765


def serve(
    db: str | os.PathLike[str],
    host: str = HOST,
    port: int = PORT,
    browser: bool = True,
    *,
    users: Path | None = None,
    header: str = "",
    proxies: Sequence[str] = (),
    hosts: Sequence[str] = (),
    code: str = "user-1",
    told: Callable[[str], object] = print,
) -> None:
    """Serve a review until it is stopped.

    Args:
        db: The SQLite file.
        host: Address to listen at.
        port: Port; 0 takes a free one.
        browser: Open a browser.
        users: File with a line ``CODE,ROLE,TOKEN`` for each user; without it one person has the whole page by
            a link with a random token.
        header: Request header in which a reverse proxy says the code of the user.
        proxies: Addresses from which the header is believed; this machine if none is named.
        hosts: Further host names under which the server may be asked, such as that of the proxy.
        code: Of the one person, without ``users``.
        told: Takes the lines that say where the page is.

    Raises:
        StoreError: No such review.
        DataError: The file of users is wrong.
        SpecError: The port is taken or not allowed, or a header is named without users.
    """
    review = Review.open(db)
    listening = _listening(host, port)
    port = int(listening.getsockname()[1])
    access, token = _access(users, header, proxies, code, port)
    address = f"http://{_in_address(host)}:{port}/"
    link = f"{address}?token={token}" if token else address
    told(f"review of {review.path}: {link}")
    if token is None and not header:
        told(f"each user opens {address}?token=TOKEN once")
    told("Ctrl-C stops it; what was saved stays saved.")
    app = create_app(review, access, bound=host, hosts=(*hosts, socket.gethostname()))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False
    )
    threading.Thread(target=_read_ahead, args=(review,), daemon=True).start()
    if browser:
        threading.Timer(0.5, webbrowser.open, [link]).start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _read_ahead(review: Review) -> None:
    """What pages need that go through all of a long log; it is there when they are opened."""
    with suppress(VlmcalError, sqlite3.Error):
        review.standing.cases()
        review.alarms()
    review.close()


def _access(
    users: Path | None, header: str, proxies: Sequence[str], code: str, port: int
) -> tuple[Access, str | None]:
    cookie = f"vlmcal_review_{port}"  # cookies know no ports: two servers would take each other's
    if users is not None:
        return replace(several_people(users, header, proxies), cookie=cookie), None
    if header:
        raise SpecError(
            "a header of a proxy names users; say who they are: --users FILE with CODE,ROLE lines"
        )
    token = secrets.token_urlsafe(24)
    return replace(one_person(token, code), cookie=cookie), token


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(
            f"port {port} of {host}: {reason.lower()}; another review may run there: give another --port"
        ) from error


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
