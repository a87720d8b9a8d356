"""What a token of a local model stands for: its text and its bytes."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from vlmcal.elicit.parse.thoughts import is_mark


class Piece(NamedTuple):
    """Text of a token, and its bytes where the tokenizer's alphabet is known.

    A special token has its name as text and no bytes, because it adds nothing to an answer.
    """

    text: str
    raw: bytes | None


def piece_reader(tokenizer: Any) -> Callable[[int], Piece]:
    """From a token's number to its piece; the bytes of an answer's tokens join to the answer.

    Byte-level vocabularies write a byte as one printable character. SentencePiece vocabularies write a
    blank as ``▁`` and single bytes as ``<0x0A>``; the blank before the first word is kept. For other
    vocabularies there are no bytes.

    Args:
        tokenizer: Of the transformers library.
    """
    decoder = repr(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None))
    read: Callable[[str], bytes] | None = None
    if "ByteLevel" in decoder:
        read = _byte_level
    elif "▁" in decoder or "ByteFallback" in decoder or "Metaspace" in decoder:
        read = _sentencepiece
    special = set(tokenizer.all_special_ids)
    added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}

    def piece(number: int) -> Piece:
        name = added.get(number) or tokenizer.convert_ids_to_tokens(number)
        if name is None:  # models may have more rows than their tokenizer has tokens
            return Piece("", b"")
        if number in special:
            return Piece(name, b"")
        if number in added:
            return Piece(name, name.encode())
        if read is None:
            return Piece(tokenizer.decode([number]), None)
        raw = read(name)
        return Piece(raw.decode("utf-8", errors="replace"), raw)

    return piece


def _alphabet() -> dict[str, int]:
    # Printable bytes stand for themselves, the others for the characters from 256 on, in their order.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    own = {chr(byte): byte for byte in printable}
    return own | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _alphabet()


def _byte_level(name: str) -> bytes:
    return bytes(_BYTES[character] for character in name)


def _sentencepiece(name: str) -> bytes:
    if found := re.fullmatch(r"<0x([0-9A-F]{2})>", name):
        return bytes([int(found.group(1), 16)])
    return name.replace("▁", " ").encode()


def decoded(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of tokens without special ones, except those that open or close a thought.

    Without these marks a thought could not be told from the answer behind it.

    Args:
        tokenizer: Of transformers.
        tokens: Generated ones.
    """

    def text(part: list[int], *, bare: bool) -> str:
        return str(
            tokenizer.decode(part, skip_special_tokens=bare, clean_up_tokenization_spaces=False)
        )

    special = set(tokenizer.all_special_ids)
    marks = {t: name for t in {*tokens} & special if is_mark(name := text([t], bare=False))}
    parts: list[str] = []
    run: list[int] = []
    for token in tokens:
        if token in marks:
            parts += [text(run, bare=True), marks[token]]
            run = []
        else:
            run.append(token)
    return "".join([*parts, text(run, bare=True)])
