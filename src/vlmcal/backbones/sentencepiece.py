"""A sentencepiece model file (``spiece.model``) as a tokenizer, read without its library."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from vlmcal.errors import BackboneError

# Numbers of the fields in sentencepiece_model.proto.
_PIECES, _TRAINER, _NORMALISER = 1, 2, 3
_PIECE, _SCORE = 1, 2
_MODEL_TYPE, _UNIGRAM, _UNKNOWN, _BYTES = 3, 1, 40, 35
_CHARSMAP = 2


def read_unigram(path: Path) -> Tokenizer:
    """A tokenizer with the pieces, scores and character map of a unigram model.

    Raises:
        BackboneError: The file is damaged, or of another kind of model.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in fields if number == _PIECES]
        trainer = dict(_fields(next(v for n, v in fields if n == _TRAINER)))
        normaliser = dict(_fields(next((v for n, v in fields if n == _NORMALISER), b"")))
    except (IndexError, StopIteration, struct.error, ValueError, TypeError) as error:
        raise BackboneError(f"{path}: not a readable sentencepiece model ({error})") from error
    if trainer.get(_MODEL_TYPE, _UNIGRAM) != _UNIGRAM:
        raise BackboneError(f"{path}: expected a unigram model; use tokenizer.json for other kinds")
    tokenizer = Tokenizer(
        models.Unigram(pieces, int(trainer.get(_UNKNOWN, 0)), bool(trainer.get(_BYTES, 0)))
    )
    steps: list[Any] = []
    if normaliser.get(_CHARSMAP):
        steps.append(normalizers.Precompiled(normaliser[_CHARSMAP]))
    steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def _piece(message: bytes) -> tuple[str, float]:
    fields = dict(_fields(message))
    return fields[_PIECE].decode(), float(fields.get(_SCORE, 0.0))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protobuf message: bytes, integers, or floats by wire type."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 1:
            yield number, struct.unpack_from("<d", message, at)[0]
            at += 8
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("cut short")
            yield number, message[at : at + size]
            at += size
        elif wire == 5:
            yield number, struct.unpack_from("<f", message, at)[0]
            at += 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
