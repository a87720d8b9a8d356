"""Bytes of tokens in the two alphabets that language models use, and in others."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vlmcal.elicit.models.token_text import decoded, piece_reader
from vlmcal.elicit.parse.thoughts import said

TEXTS = ("Yes, 39 °C.", "naïve\n\tRöntgen", "肺炎 \U0001fac1 no")


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def sentencepiece():
    """As Llama's and Gemma's: blanks as ▁, characters that are unknown as bytes."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", *"Yes,39.CnovRtgn"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


@pytest.mark.parametrize("make", [byte_level, sentencepiece])
@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_tokens_join_to_the_text(make, text):
    backend = make()
    backend.add_special_tokens([AddedToken("<end>", special=True)])
    backend.add_tokens([AddedToken("Ġ<own>▁")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    ids = tokenizer(text + "Ġ<own>▁<end>", add_special_tokens=False)["input_ids"]
    pieces = [piece_reader(tokenizer)(number) for number in ids]
    assert b"".join(p.raw for p in pieces).decode() == text + "Ġ<own>▁"
    assert pieces[-1] == ("<end>", b"")


def test_parts_of_characters_are_marked_in_the_text_only():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level())
    first, second = tokenizer("°")["input_ids"]
    read = piece_reader(tokenizer)
    assert (read(first), read(second)) == (("\ufffd", b"\xc2"), ("\ufffd", b"\xb0"))


def test_numbers_beyond_the_vocabulary_are_nothing():
    assert piece_reader(PreTrainedTokenizerFast(tokenizer_object=byte_level()))(9999) == ("", b"")


def test_other_vocabularies_have_no_bytes():
    backend = Tokenizer(
        models.WordPiece(vocab={"yes": 0, "##ter": 1, "[UNK]": 2}, unk_token="[UNK]")
    )
    backend.decoder = decoders.WordPiece()
    read = piece_reader(PreTrainedTokenizerFast(tokenizer_object=backend))
    assert read(0) == ("yes", None)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<think>", "</think>"), ("<unused94>", "<unused95>"), ("[THINK]", "[/THINK]")],
)
def test_thoughts_between_special_tokens_are_told_from_the_answer(opening, closing):
    backend = byte_level()
    names = ("<end>", opening, closing)
    backend.add_special_tokens([AddedToken(name, special=True) for name in names])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", additional_special_tokens=[opening, closing]
    )
    spelled = f"{opening}It may be A.{closing}B<end>"
    text = decoded(tokenizer, tokenizer(spelled, add_special_tokens=False)["input_ids"])
    assert text == spelled.removesuffix("<end>")
    assert said(text).text == "B"
    plain = tokenizer("no<end>", add_special_tokens=False)["input_ids"]
    assert decoded(tokenizer, plain) == "no"
