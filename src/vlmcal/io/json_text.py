"""JSON that came from outside, as plain data."""

import json
import re
from typing import Any

from vlmcal.io.unicode_text import not_utf8

__all__ = ["is_whole", "mended", "parse_json", "parse_reply"]


def is_whole(text: str) -> bool:
    r"""Whether a text can be written: JSON lets halves of characters ("lone surrogates") through.

    Example:
        >>> is_whole("\u00e9"), is_whole("\ud800")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(text: str) -> str:
    r"""``text`` with halves of characters joined, and "\ufffd" for those alone, which no file can hold.

    Example:
        >>> mended("left\ud83d\ude00"), mended("left\ud83d")
        ('left😀', 'left�')
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_json(text: str | bytes) -> Any:
    """Plain data of a JSON text; whatever is wrong with the text is one kind of error.

    Python's reader gives up on lists inside lists inside lists with a ``RecursionError``, which is not
    what a reader of files or replies expects: here that is a text that is not readable, too.

    Raises:
        json.JSONDecodeError: The text is not JSON, or it is nested more deeply than Python reads.

    Examples:
        >>> parse_json('{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
        >>> parse_json("[" * 200_000)
        Traceback (most recent call last):
        json.decoder.JSONDecodeError: nested too deeply: line 1 column 1 (char 0)
    """
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(not_utf8(error), "", 0) from None
    except RecursionError:
        written = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise json.JSONDecodeError("nested too deeply", written, 0) from None


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_reply(content: bytes) -> Any:
    r"""As :func:`parse_json`, of what a server sent: every text in it is one that can be written.

    Raises:
        json.JSONDecodeError: As there.

    Example:
        >>> parse_reply(b'{"a": ["left\\ud83d", 1]}')
        {'a': ['left�', 1]}
    """
    data = parse_json(content)
    try:
        return _whole(data) if _HALF.search(content) else data
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None


def _whole(data: Any) -> Any:
    if isinstance(data, str):
        return mended(data)
    if isinstance(data, list):
        return [_whole(item) for item in data]
    if isinstance(data, dict):
        return {mended(key): _whole(value) for key, value in data.items()}
    return data
