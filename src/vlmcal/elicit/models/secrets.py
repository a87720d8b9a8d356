"""Keys that a server repeats: taken out of everything that is shown or kept."""

import base64
import html
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from html.entities import html5
from typing import Any
from urllib.parse import quote, quote_plus

from vlmcal.elicit.models.logprobs import join_tokens
from vlmcal.errors import SpecError
from vlmcal.types.chat import Response

HIDDEN = "[key]"
# The beginning and end of a shorter key might be those of ordinary words.
_LONG = 16
# Between the letters of a key that is broken over lines, cells or tags.
_BETWEEN = r"(?:<\w{1,4}>|\\[nrt]|[\W_]){0,9}?"
_URL_SAFE = str.maketrans("+/", "-_")
_LEFT_OUT = r"(?:[*•·…#]+|\.{2,}|x{3,}|_{3,}|-{3,})[*•·….#x_-]*"
_NAMES = re.compile(
    r"(?:^|[_.-])(?:api_?key|(?:access_?|auth_?)?token|secret|password|authori[sz]ation|bearer|credentials?)$",
    re.I,
)


def hide(text: str, key: str, *, answer: bool = False) -> str:
    r"""``text`` without ``key``: whole, URL-encoded, as HTML, in base64, or with a part of it starred out.

    Args:
        text: Anything that a server sent.
        key: The secret; keys of fewer than 16 letters are found only as whole words.
        answer: Whether ``text`` is a model's answer; then a key that is a short word may be meant as one.

    Example:
        >>> key = "sk-proj-0123456789abcd"
        >>> hide(f"Bearer {key}, sk-pr...abcd, ****abcd and no", key)
        'Bearer [key], [key], [key] and no'
    """
    if not key or not text or (answer and len(key) < 8 and key.isalpha()):
        return text
    shown = _pattern(key).sub(HIDDEN, text)
    end = key[len(key) // 2 :]
    if len(key) < _LONG or end.lower() not in shown.lower():
        return shown
    return _cut_at_its_beginning(key, len(end)).sub(HIDDEN, shown)


def without_key(response: Response, key: str) -> Response:
    """A response without the key; where its text or its tokens held it, without tokens, which spell it."""
    text = hide(response.text, key, answer=True)
    tokens = response.tokens or ()
    spelt = [join_tokens(tokens), *(other.text for token in tokens for other in token.top)]
    told = text != response.text or any(hide(each, key, answer=True) != each for each in spelt)
    return replace(
        response,
        text=text,
        reasoning=hide(response.reasoning, key, answer=True),
        error=hide(response.error, key),
        served_by=hide(response.served_by, key),
        finish_reason=hide(response.finish_reason, key),
        tokens=None if told else response.tokens,
    )


def require_no_secret(fields: Mapping[str, Any], where: str = "") -> None:
    """Refuse fields of a request that hold a secret: they would become a part of the model's name.

    Raises:
        SpecError: One does; its value is not repeated.

    Example:
        >>> require_no_secret({"reasoning_effort": "low", "max_tokens": 9})
    """
    for name, value in fields.items():
        if isinstance(value, Mapping):
            require_no_secret(value, f"{where}{name}.")
        elif _NAMES.search(str(name)) and isinstance(value, str):
            raise SpecError(
                f"--body {where}{name}: what is sent beside the questions is written to run.json; put "
                "the key into an environment variable and name that with --api-key-env"
            )


@lru_cache(maxsize=16)
def _pattern(key: str) -> re.Pattern[str]:
    if len(key) < _LONG:
        encoded = base64.b64encode(key.encode()).decode().rstrip("=")
        whole = {key, quote(key, safe=""), quote_plus(key), html.escape(key), encoded}
        forms = [re.escape(form) for form in sorted(whole, key=len, reverse=True)]
        return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})=*(?!\w)", re.I)
    tails = "|".join(re.escape(key[-n:]) for n in range(8, 1, -1))
    long_tails = "|".join(re.escape(key[-n:]) for n in range(8, 3, -1))
    wholes = [key, *_encoded(key)]
    forms = [
        # As it is or encoded, whole or cut off in the middle.
        *(rf"{_beginning(form, max(12, len(form) // 2))}=*" for form in wholes),
        # The first letters, then stars or dots, and perhaps the last ones.
        rf"{_plain_beginning(key, 3)}{_LEFT_OUT}(?:{tails})(?!\w)",
        rf"{_plain_beginning(key, 6)}{_LEFT_OUT}",
        rf"{_LEFT_OUT}(?:{long_tails})(?!\w)",
    ]
    # Few letters begin any of them, so that a long text is gone through quickly.
    first = re.escape("".join(sorted({form[0] for form in wholes} | set(r"\%&*•·…#.x_-"))))
    return re.compile(rf"(?=[{first}])(?:{'|'.join(forms)})", re.I)


@lru_cache(maxsize=16)
def _cut_at_its_beginning(key: str, least: int) -> re.Pattern[str]:
    ends = (re.escape(key[-n:]) for n in range(len(key) - 1, least - 1, -1))
    return re.compile("|".join(ends), re.I)


def _encoded(key: str) -> list[str]:
    """A key in hexadecimal, and in base64 also behind other text ("Bearer ", "user:"), which shifts it."""
    found = [key.encode().hex()]
    for shift in range(3):
        # Of the letters at its ends, those that depend on its neighbours too are left out.
        whole = base64.b64encode(bytes(shift) + key.encode()).decode().rstrip("=")
        bits = 8 * (shift + len(key))
        found.append(whole[-(-8 * shift // 6) : bits // 6])
    return [*found, *(form.translate(_URL_SAFE) for form in found if set("+/") & set(form))]


def _beginning(form: str, least: int) -> str:
    """The first ``least`` letters or more, each in any of its spellings, also broken over lines."""
    spelt = [_spelt(letter) for letter in form]
    rest = "".join(f"(?:{_BETWEEN}{letter}" for letter in spelt[least:])
    return _BETWEEN.join(spelt[:least]) + rest + ")?" * len(spelt[least:])


def _spelt(letter: str) -> str:
    """A letter as it is, or as JSON, HTML and URLs write it, also twice over."""
    code = f"{ord(letter):02x}"
    plain = re.escape(letter)
    named = "|".join(name for name, text in html5.items() if text == letter and name[-1] == ";")
    entity = rf"&(?:amp;)?(?:#(?:x0*{code}|0*{ord(letter)});{'|' + named if named else ''})"
    space = r"|\s" if letter == "+" else ""  # as forms are read
    return rf"(?:\\{{1,3}}(?:u00|x){code}|%(?:25)*{code}|{entity}|\\{{0,3}}{plain}{space})"


def _plain_beginning(key: str, least: int) -> str:
    """The first letters of a key, ``least`` or more of them."""
    rest = "".join(f"(?:{re.escape(letter)}" for letter in key[least:-1])
    return re.escape(key[:least]) + rest + ")?" * len(key[least:-1])
