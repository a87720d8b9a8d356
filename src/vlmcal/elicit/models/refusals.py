"""What goes wrong with a call to a server: what passes, what lasts, and what is to be done about it."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from vlmcal.elicit.models.base import PermanentError, TransientError
from vlmcal.elicit.models.completions import page_text, read_complaint, shorten
from vlmcal.elicit.models.dialect import Complaint
from vlmcal.elicit.models.lasting import ADVICE, Kind, lasting
from vlmcal.elicit.models.server import Server
from vlmcal.elicit.pacing import RateLimited
from vlmcal.errors import BackboneError
from vlmcal.io.json_text import parse_reply

_PASSING = (408, 409, 425, 429)


class Refused(Exception):  # noqa: N818  becomes a PermanentError unless another wording helps
    """A server's refusal of a request, with its status and what it says."""

    def __init__(self, status: int, complaint: Complaint) -> None:
        super().__init__(complaint.message)
        self.status = status
        self.complaint = complaint


@contextmanager
def failures(server: Server, timeout: float) -> Iterator[None]:
    """What goes wrong with a call inside, in this project's errors.

    Raises:
        TransientError: Time-out, connection error, or a status that passes.
        PermanentError: A text that is no UTF-8.
        Refused: A status that lasts.
        BackboneError: No key, or no credit.
    """
    import openai

    try:
        yield
    except (TimeoutError, openai.APITimeoutError):
        raise TransientError(f"no complete answer within {timeout:g} s") from None
    except openai.APIStatusError as error:
        fail(server, error.status_code, error.response.headers, error.response.content)
    except openai.APIConnectionError as error:
        cause = server.clean(shorten(str(error.__cause__ or error)))
        kind = type(error.__cause__ or error).__name__
        raise TransientError(f"connection failed: {kind} {cause}".strip()) from None
    except UnicodeEncodeError as error:
        raise PermanentError(f"the text cannot be sent as UTF-8: {error.reason}") from None


def fail(server: Server, status: int, headers: Mapping[str, str], content: bytes) -> NoReturn:
    """Raise what a status and its answer mean; see :func:`failures`."""
    complaint = read_complaint(content)
    complaint = complaint._replace(message=server.clean(complaint.message))
    said = f"status {status}: {complaint.message}".rstrip(": ")
    kind = lasting(complaint)
    if status == 401:
        raise stop(server, "key", said) from None
    if status == 402 or complaint.code == "insufficient_quota":
        raise stop(server, "credit", said) from None
    if status == 429 and kind != "context":
        raise RateLimited(said, retry_after(headers)) from None
    # Some servers report as their own failure what no repetition mends.
    if (status in _PASSING or (status >= 500 and status != 501)) and kind is None:
        raise TransientError(said, retry_after(headers)) from None
    raise Refused(status, complaint) from None


def stop(server: Server, kind: Kind, said: str) -> BackboneError:
    """The error that ends a run, with what to do."""
    mend = f"; {server.hint}" if kind == "key" else ""
    return BackboneError(f"{server.place}: {ADVICE[kind]} ({said}){mend}")


def parsed(server: Server, content: bytes) -> Any:
    """An answer as JSON.

    Raises:
        TransientError: It is none, such as a page of a gateway; says what it reads.
    """
    try:
        return parse_reply(content)
    except ValueError:
        said = server.clean(shorten(page_text(content.decode("utf-8", "replace"))))
        raise TransientError(f"expected JSON, got: {said or 'nothing'}") from None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date.

    Example:
        >>> retry_after({"retry-after-ms": "1500"}), retry_after({"retry-after": "2"}), retry_after({})
        (1.5, 2.0, None)
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d*)?", said):
            return float(said) * unit
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
