"""Token log-probabilities as servers write them; what is unknown stays unknown and is never filled in."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from vlmcal.io.json_text import mended
from vlmcal.types.chat import Alternative, Token

# A log-probability that no 64-bit float could tell from zero: servers put -9999 for "not among those
# that were kept" or for what a sampling filter removed.
SENTINEL = -9999.0
# Log-probabilities of 32-bit softmaxes exceed zero by a rounding error.
_ROUNDING = 1e-6
# Tokens may spell marks that the text lacks; and so many equal values are no coincidence.
_SLACK = 64
_CONSTANT = 8
_ESCAPED = re.compile(r"(?:bytes:)?((?:\\x[0-9a-fA-F]{2})+)")
_STOP = re.compile(r"<[^<>\s]{1,40}>|\[(?:EOS|PAD|SEP)\]")
_BYTE_TOKEN = re.compile(r"<0x([0-9a-fA-F]{2})>")


class TokenReading(NamedTuple):
    """What was read.

    Attributes:
        tokens: The generated tokens; None where there are none or where one of them has no usable
            log-probability.
        sentinel: Whether a sentinel stood in the place of a log-probability.
        defects: What was wrong, in sentences.
    """

    tokens: tuple[Token, ...] | None
    sentinel: bool
    defects: tuple[str, ...]


def read_tokens(logprobs: Any) -> TokenReading:
    """The tokens in ``choices[0].logprobs``, in any of the forms that servers use.

    Read are the chat form (``content`` with ``token``, ``logprob``, ``bytes``, ``top_logprobs``), the same
    with probabilities (``prob``, ``top_probs``, as llama.cpp names them after sampling filters), and the
    form of text completions (``tokens``, ``token_logprobs``, ``top_logprobs`` as mappings).

    An alternative is dropped when its value is a sentinel (at or below -9999, so minus infinity too), not a
    number, or above zero. Entries without text and bytes are left out: they stand for the end of the
    answer. When the chosen token's own value is such, no token is returned, because sums
    over a part of an answer would pass for sums over the whole.

    Args:
        logprobs: Decoded JSON.

    Example:
        >>> said = {"content": [{"token": "No", "logprob": -0.25, "top_logprobs": [
        ...     {"token": "No", "logprob": -0.25}, {"token": "Yes", "logprob": -9999.0}]}]}
        >>> read_tokens(said)
        TokenReading(tokens=(Token(text='No', logprob=-0.25, top=(Alternative(text='No', logprob=-0.25),),
        raw=None),), sentinel=True, defects=())
    """
    reader = _Reader()
    entries = [entry for entry in _entries(logprobs) if not _is_empty(entry)]
    while entries and _closes(entries[-1]):
        entries.pop()
    tokens = [reader.token(entry) for entry in entries]
    whole = tuple(token for token in tokens if token is not None)
    complete = bool(entries) and len(whole) == len(entries)
    return TokenReading(whole if complete else None, reader.sentinel, tuple(reader.defects))


def spelling(reading: TokenReading, text: str) -> TokenReading:
    """The tokens that spell ``text``, without those of thoughts before it, which servers leave out of it.

    The text is looked for from the end. No tokens where they spell much more and it is not among them, or
    where all that they say is zero, or one and the same number: such servers tell no log-probabilities.

    Example:
        >>> thought = [Token("yes", -3.0), Token(" or", -2.0), Token(" no?", -1.0), Token("No", -0.5)]
        >>> [t.text for t in spelling(TokenReading(tuple(thought), False, ()), "No").tokens]
        ['No']
        >>> zero = (Token("No", 0.0, (Alternative("No", 0.0),)),)
        >>> spelling(TokenReading(zero, False, ()), "No").tokens is None
        True
    """
    tokens = reading.tokens
    if tokens is None:
        return reading
    if not _tells(tokens):
        told = "it writes one number for every log-probability; such are no log-probabilities"
        return TokenReading(None, reading.sentinel, (*reading.defects, told))
    pieces = [t.text.encode("utf-8", "replace") if t.raw is None else t.raw for t in tokens]
    whole, target = b"".join(pieces), text.strip().encode("utf-8", "replace")
    start = whole.rfind(target)
    if not target:
        return reading
    if start < 0:
        if len(whole.strip()) <= 2 * len(target) + _SLACK:
            return reading
        told = "the tokens of some answers do not spell their text"
        return TokenReading(None, reading.sentinel, (*reading.defects, told))
    if not whole[:start].strip():
        return reading
    ends = list(accumulate(map(len, pieces)))
    first = next(number for number, end in enumerate(ends) if end > start)
    return reading._replace(tokens=tokens[first:])


def _tells(tokens: Sequence[Token]) -> bool:
    """Whether log-probabilities differ anywhere, or are too few to tell."""
    values = {t.logprob for t in tokens}
    others = {a.logprob for t in tokens for a in t.top if a.text != t.text}
    if others - values:
        return True
    # A single sure token may well be 0; with its alternatives asked for and none told, it is not.
    zero = values == {0.0} and any(t.top for t in tokens)
    return not zero and not (len(values) == 1 and len(tokens) >= _CONSTANT)


def _real(value: float) -> float:
    """A number of JSON, where whole numbers have any length."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def join_tokens(tokens: Sequence[Token]) -> str:
    r"""The text that tokens spell, with characters that are split over several tokens put together.

    Example:
        >>> join_tokens([Token("?", -0.1, raw=b"\xc2"), Token("?", -0.1, raw=b"\xb0"), Token("C", -0.1)])
        '°C'
    """
    parts = (t.text.encode("utf-8", "replace") if t.raw is None else t.raw for t in tokens)
    return b"".join(parts).decode("utf-8", "replace")


def _entries(logprobs: Any) -> list[Any]:
    if isinstance(logprobs, Mapping):
        if isinstance(logprobs.get("content"), list):
            return list(logprobs["content"])
        if isinstance(logprobs.get("tokens"), list):
            return _from_completion(logprobs)
    return logprobs if isinstance(logprobs, list) else []


def _is_empty(entry: Any) -> bool:
    """Whether an entry adds nothing to the text: servers close an answer with one, valued -9999."""
    return isinstance(entry, Mapping) and entry.get("token") == "" and not entry.get("bytes")


def _closes(entry: Any) -> bool:
    """Whether an entry is a stop token, with its name as text, whose log-probability is not told."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("token"), str):
        return False
    value = entry.get("logprob")
    untold = value is None or (isinstance(value, int | float) and value <= SENTINEL)
    named = _STOP.fullmatch(entry["token"].strip()) or entry.get("bytes") == []
    return untold and "prob" not in entry and bool(named)


def _from_completion(logprobs: Mapping[str, Any]) -> list[Any]:
    texts = logprobs["tokens"]
    values = logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    if not len(texts) == len(values) == len(tops):
        return [None]
    return [
        {
            "token": text,
            "logprob": value,
            "top_logprobs": [{"token": t, "logprob": v} for t, v in (top or {}).items()],
        }
        for text, value, top in zip(texts, values, tops, strict=True)
    ]


class _Reader:
    def __init__(self) -> None:
        self.sentinel = False
        self.defects: list[str] = []

    def token(self, entry: Any) -> Token | None:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("token"), str):
            self._defect("an entry of the log-probabilities has no token")
            return None
        text = mended(entry["token"])
        value = self._value(entry)
        top = [self._alternative(each) for each in _top(entry)]
        kept = sorted((a for a in top if a is not None), key=lambda a: -a.logprob)
        if value is None:
            return None
        return Token(text, value, tuple(kept), self._raw(text, entry.get("bytes")))

    def _alternative(self, entry: Any) -> Alternative | None:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("token"), str):
            self._defect("an alternative of a token has no text")
            return None
        value = self._value(entry)
        return None if value is None else Alternative(mended(entry["token"]), value)

    def _value(self, entry: Mapping[str, Any]) -> float | None:
        value = entry.get("logprob")
        if value is None and isinstance(entry.get("prob"), (int, float)):
            self._defect("log-probabilities are taken after the sampling filters")
            prob = _real(entry["prob"])
            value = math.log(prob) if prob > 0 else (-math.inf if prob == 0 else math.nan)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self._defect("a log-probability is missing or not a number")
            return None
        value = _real(value)
        if value <= SENTINEL:
            self.sentinel = True
            return None
        if math.isnan(value) or value > _ROUNDING:
            self._defect(f"a log-probability is {value:g}, which none can be")
            return None
        return min(value, 0.0)

    def _raw(self, text: str, numbers: Any) -> bytes | None:
        if isinstance(numbers, list):
            try:
                return bytes(numbers)
            except (TypeError, ValueError):
                self._defect("the bytes of a token are not numbers from 0 to 255")
                return None
        if found := _ESCAPED.fullmatch(text):
            return bytes.fromhex(found[1].replace("\\x", ""))
        if found := _BYTE_TOKEN.fullmatch(text):
            return bytes.fromhex(found[1])
        return None

    def _defect(self, text: str) -> None:
        if text not in self.defects:
            self.defects.append(text)


def _top(entry: Mapping[str, Any]) -> list[Any]:
    for name in ("top_logprobs", "top_probs"):
        if isinstance(entry.get(name), list):
            return list(entry[name])
    return []
