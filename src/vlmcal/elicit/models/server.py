"""Where an OpenAI-compatible server is and how it is reached; the key never leaves this object but to it."""

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from vlmcal.elicit.models.completions import shorten
from vlmcal.elicit.models.secrets import HIDDEN, hide, without_key
from vlmcal.errors import BackboneError, SpecError
from vlmcal.io.json_text import parse_reply
from vlmcal.types.chat import Response

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_KEY = "OPENAI_API_KEY"
_NO_KEY = "none"
# The first letters of a shorter one might begin ordinary words.
_LONG_KEY = 16
_LONGEST = 2000
# Looking up names is a matter of seconds even where answers take minutes.
_LOOK_UP = 30.0


@dataclass(frozen=True)
class Server:
    """An address with its key.

    Attributes:
        place: Host and path, without scheme, credentials or query.
        url: What is called.
        query: Sent with every call.
        hint: How to mend a refused key.
    """

    place: str
    url: str
    query: dict[str, str]
    hint: str
    _key: str = field(repr=False)

    def client(self, timeout: float) -> "AsyncOpenAI":
        """A client that repeats nothing by itself."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(timeout=timeout, **self._address())

    def _address(self) -> dict[str, Any]:
        told = {"base_url": self.url, "api_key": self._key, "default_query": self.query}
        return {**told, "max_retries": 0}

    def names(self, timeout: float = _LOOK_UP) -> list[str]:
        """Names of its models; waits for the answer.

        Raises:
            BackboneError: It cannot be reached, refuses the key, or lists none.
        """
        import openai

        client = openai.OpenAI(timeout=min(timeout, _LOOK_UP), **self._address())
        try:
            with client:
                data = parse_reply(client.models.with_raw_response.list().content)
            return [self.clean(str(each["id"])) for each in data["data"]]
        except openai.AuthenticationError:
            reason = f"the server refuses the key; {self.hint}"
        except openai.APIStatusError as error:
            reason = f"status {error.status_code}; give the model's name if the server lists none"
        except openai.APIConnectionError as error:
            cause = self.clean(shorten(str(error.__cause__ or error)))
            reason = f"it cannot be reached ({cause}); is it running?"
        except (ValueError, KeyError, TypeError):
            reason = "the answer is no list of models; does the URL end in /v1?"
        raise BackboneError(f"{self.place}/models: {reason}")

    def authorised(self, header: str, prefix: str) -> dict[str, str]:
        """A header with the key; none where there is no key."""
        return {} if self._key == _NO_KEY else {header: prefix + self._key}

    def clean(self, text: str) -> str:
        """A server's words without the key, which some repeat in part with its middle starred out."""
        if self._key == _NO_KEY:
            return text
        text = hide(text, self._key)
        if len(self._key) < _LONG_KEY:
            return text
        return re.sub(rf"[^\s\"']*{re.escape(self._key[:6])}[^\s\"']*", HIDDEN, text)

    def without_key(self, response: Response) -> Response:
        """A response without the key, wherever the server repeats it."""
        return response if self._key == _NO_KEY else without_key(response, self._key)


def find_server(url: str, api_key_env: str = DEFAULT_KEY, *, optional: bool = False) -> Server:
    """The server at a URL; nothing is sent.

    Args:
        url: The part before ``/chat/completions``. It holds no password; the only query that it may have is
            ``api-version``.
        api_key_env: Environment variable that holds the key. Without the default one no key is sent.

        optional: Whether no key is sent where the variable is not set, as with the default one.

    Raises:
        SpecError: ``url`` is no such URL, or the key cannot be used. The message repeats neither a password
            nor what was given as the variable's name, which may be the key itself.
        BackboneError: The package ``openai`` is missing.

    Example:
        >>> find_server("http://localhost:8000/v1/").place
        'localhost:8000/v1'
    """
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise BackboneError(
            'models behind a server need the package openai; run: pip install "vlmcal[mllm]"'
        ) from error
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SpecError("model: expected a URL such as http://localhost:8000/v1") from None
    shown = url.partition("?")[0].rpartition("@")[2]
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = re.fullmatch(r"[\w.:%-]+", parts.hostname or "")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        told = shown[:_LONGEST].encode(errors="backslashreplace").decode()
        raise SpecError(f'model: expected a URL such as http://localhost:8000/v1, got "{told}"')
    if len(url) > _LONGEST:
        raise SpecError(f"model: a URL of {len(url):,} letters; expected at most {_LONGEST}")
    if "@" in parts.netloc or set(query) - {"api-version"}:
        raise SpecError(
            f"model: the URL of {shown} must hold no password and no query but api-version; put the key "
            "into an environment variable and name that"
        )
    path = parts.path.rstrip("/")
    if path.endswith("/chat/completions"):
        raise SpecError(f'model: leave "/chat/completions" out of the URL {shown}')
    place = f"{parts.netloc.lower()}{path}"
    key, hint = _key(api_key_env, optional)
    return Server(place, f"{parts.scheme}://{place}", query, hint, key)


def _key(variable: str, optional: bool) -> tuple[str, str]:
    if not re.fullmatch(r"[A-Za-z_]\w*", variable):
        raise SpecError("API key: expected the name of an environment variable, not the key itself")
    key = os.environ.get(variable, "").strip()
    if not key and variable != DEFAULT_KEY and not optional:
        raise SpecError("API key: the environment variable that should hold it is empty or not set")
    if not re.fullmatch(r"[!-~]*", key):
        raise SpecError(f"API key: {variable} holds characters that cannot be part of a key")
    hint = f"the key in {variable} is not valid here" if key else f"put a key into {variable}"
    return key or _NO_KEY, hint
