"""One process at a time where no operating system locks: claims that beat like a heart.

A claim is a document ``FOLDER/00001.json``, made by the one process that gets to make it. Its owner renews
the time in it. Whoever finds one that has not been renewed for :data:`STALE` seconds makes the next number,
and only one can: so a dead owner is followed by one other, not by all who noticed.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from vlmcal.errors import StoreError
from vlmcal.io.documents import Documents

BEAT: Final = 20.0  # seconds between renewals
# Seconds without renewal after which the owner is dead; clocks must agree to less.
STALE: Final = 120.0
POLL: Final = 2.0


@contextmanager
def claimed(
    documents: Documents,
    folder: str,
    about: Mapping[str, Any],
    *,
    wait: bool,
    stale: float = STALE,
    beat: float = BEAT,
) -> Iterator[bool]:
    """Hold a claim; yields False if another process has it and ``wait`` is off.

    Args:
        documents: Where claims are kept, which all processes see.
        folder: What is claimed.
        about: More to be read in the claim.
        wait: Wait until it is free, or its owner dead.
        stale: Seconds without renewal after which another process may take over.
        beat: Seconds between renewals.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from vlmcal.io.documents import FolderDocuments
        >>> place = FolderDocuments(Path(tempfile.mkdtemp()))
        >>> with claimed(place, "claims/a", {}, wait=False) as one:
        ...     with claimed(place, "claims/a", {}, wait=False) as two:
        ...         print(one, two)
        True False
    """
    own = {**about, **who(), "since": time.time(), "token": secrets.token_hex(8)}
    name = _take(documents, folder, own, stale)
    while name is None and wait:
        time.sleep(min(POLL, stale / 4))
        name = _take(documents, folder, own, stale)
    if name is None:
        yield False
        return
    stop = threading.Event()
    heart = threading.Thread(
        target=_renew, args=(documents, name, own, beat, stop), daemon=True, name="heartbeat"
    )
    heart.start()
    try:
        yield True
    finally:
        stop.set()
        heart.join()
        with suppress(StoreError):  # it goes stale
            documents.remove(name)


def who() -> dict[str, Any]:
    """This process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def alive(claim: Mapping[str, Any], stale: float = STALE) -> bool:
    """Whether the owner of a claim still renews it; one of this machine is asked for directly."""
    if claim.get("host") == socket.gethostname() and hasattr(os, "kill") and os.name == "posix":
        try:
            os.kill(int(claim["pid"]), 0)
        except ProcessLookupError:
            return False
        except OSError:  # somebody else's, and there
            pass
    return time.time() - float(claim.get("beat", 0.0)) < stale


def newest(documents: Documents, folder: str) -> tuple[int, dict[str, Any] | None]:
    """Number of the latest claim and what it says; (0, None) where there is none."""
    names = documents.names(folder)
    if not names:
        return 0, None
    return int(names[-1].rpartition("/")[2].removesuffix(".json")), documents.read(names[-1])


def claims_of(documents: Documents) -> list[dict[str, Any]]:
    """The latest claim of each run, with its id and whether its owner is alive."""
    found = []
    runs = dict.fromkeys(name.split("/")[1] for name in documents.names("claims"))
    for run in runs:
        _, claim = newest(documents, f"claims/{run}")
        if claim is not None and "key" in claim:
            found.append({**claim, "run": run, "alive": alive(claim)})
    return found


def _take(documents: Documents, folder: str, own: Mapping[str, Any], stale: float) -> str | None:
    number, claim = newest(documents, folder)
    if claim is not None and alive(claim, stale):
        return None
    name = f"{folder}/{number + 1:05}.json"
    if not documents.create(name, {**own, "beat": time.time()}):
        return None
    for old in documents.names(folder):
        if old < name:
            documents.remove(old)
    return name


def _renew(
    documents: Documents, name: str, own: Mapping[str, Any], beat: float, stop: threading.Event
) -> None:
    while not stop.wait(beat):
        with suppress(StoreError):  # the next beat may get through
            _, found = newest(documents, name.rpartition("/")[0])
            if found is None or found.get("token") != own["token"]:
                # Taken over while this machine slept: neither to be brought back nor, where a renewal was
                # on its way, to stay.
                documents.remove(name)
                return
            documents.write(name, {**own, "beat": time.time()})
