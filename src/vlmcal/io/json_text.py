"""JSON that came from outside, as plain data."""

import json
from typing import Any

__all__ = ["is_whole", "parse_json"]


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
    except RecursionError:
        written = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise json.JSONDecodeError("nested too deeply", written, 0) from None
