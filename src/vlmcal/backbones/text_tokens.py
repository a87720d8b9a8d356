"""From text to token ids: CLIP's byte pairs, WordPiece, byte-level and sentencepiece models."""

import gzip
import html
import json
import re
import string
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from vlmcal.backbones.sentencepiece import read_unigram
from vlmcal.errors import BackboneError

START, END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, eq=False)
class Tokens:
    """A tokenizer without special tokens, and the ids of those.

    Attributes:
        backend: Splits cleaned text.
        clean: Applied to a text first.
        start: Id that opens every text, or None.
        end, pad: Ids of the end of a text and of what fills up behind it.
    """

    backend: Tokenizer
    clean: Callable[[str], str]
    start: int | None
    end: int
    pad: int

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without start, end and padding; any length."""
        cleaned = [self.clean(text) for text in texts]
        return [e.ids for e in self.backend.encode_batch(cleaned, add_special_tokens=False)]

    @property
    def size(self) -> int:
        """Ids in use."""
        return int(self.backend.get_vocab_size())

    @property
    def content(self) -> dict[str, Any]:
        """What decides the ids, as plain data (part of a fingerprint)."""
        state = json.loads(self.backend.to_str())
        return {
            "model": state["model"],
            "normalizer": state["normalizer"],
            "special": [self.start, self.end, self.pad],
            "clean": self.clean.__name__,
        }


def plain(text: str) -> str:
    """The text as it is."""
    return text


def repaired(text: str) -> str:
    """Text as open_clip cleans it: repaired by ftfy, HTML unescaped, runs of white space as one space.

    Example:
        >>> repaired(" AT&amp;T  x ")
        'AT&T x'
    """
    if not text.isascii():
        text = _fixed(text)
    return " ".join(html.unescape(html.unescape(text)).split())


def repaired_lower(text: str) -> str:
    """As :func:`repaired`, in lower case (CLIP's vocabulary has no capitals)."""
    return repaired(text).lower()


def canonical(text: str) -> str:
    """Text as SigLIP reads it: no ASCII punctuation, lower case, single spaces.

    Example:
        >>> canonical("A photo, of  a Cat.")
        'a photo of a cat'
    """
    return " ".join(text.translate(_NO_PUNCTUATION).lower().split())


def _fixed(text: str) -> str:
    try:
        import ftfy
    except ImportError:
        warnings.warn(
            "ftfy is not installed: text beyond ASCII (curly quotes, ligatures, accents in pieces) is not "
            "repaired as open_clip does it and may get other tokens; pip install 'vlmcal[backbones]'",
            stacklevel=4,
        )
        return text
    fixed: str = ftfy.fix_text(text)
    return fixed


def clip_tokens(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Tokens:
    """CLIP's lower-case byte pairs with ``</w>`` at the end of words; padding has id 0."""
    model = models.BPE(
        dict(vocabulary), list(merges), unk_token=END, end_of_word_suffix="</w>", fuse_unk=False
    )
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return Tokens(backend, repaired_lower, vocabulary[START], vocabulary[END], 0)


@dataclass(frozen=True, eq=False)
class LibraryTokens:
    """CLIP's byte pairs, cleaned and split as the tokenizer of the transformers library does.

    Attributes:
        backend_tokenizer: Cleans and splits.
        bos_token_id, eos_token_id: Ids of start and end.
    """

    backend_tokenizer: Tokenizer
    bos_token_id: int
    eos_token_id: int

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size())

    def get_vocab(self) -> dict[str, int]:
        """Ids by token."""
        vocabulary: dict[str, int] = self.backend_tokenizer.get_vocab()
        return vocabulary

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, list[list[int]]]:
        """Ids of each text without start, end and padding, as ``input_ids``."""
        encoded = self.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return {"input_ids": [each.ids for each in encoded]}


def read_library_tokens(folder: Path) -> LibraryTokens:
    """The tokenizer of a folder with ``vocab.json`` and ``merges.txt``.

    Example:
        >>> from vlmcal.backbones.loading import EMBEDDED
        >>> tokens = read_library_tokens(EMBEDDED["pocket"])
        >>> len(tokens), tokens(["a photo"])["input_ids"]
        (2314, [[320, 521]])
    """
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    model = models.BPE(
        vocabulary, _pairs(lines[1:]), unk_token=END, end_of_word_suffix="</w>", fuse_unk=False
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    marked = "|".join(re.escape(each) for each in (START, END))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"{marked}|{_WORDS}"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.add_special_tokens([START, END])
    return LibraryTokens(backend, vocabulary[START], vocabulary[END])


def read_clip_tokens(folders: Sequence[Path]) -> Tokens | None:
    """CLIP's tokenizer from the first folder that has its files, in any of three forms, or None.

    The forms: ``vocab.json`` with ``merges.txt``; ``bpe_simple_vocab_16e6.txt.gz`` of OpenAI's and
    open_clip's packages; the model inside ``tokenizer.json``.
    """
    for folder in folders:
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
            return clip_tokens(vocabulary, _pairs(lines[1:]))
        packed = folder / "bpe_simple_vocab_16e6.txt.gz"
        if packed.is_file():
            return clip_tokens(*_from_merges(gzip.decompress(packed.read_bytes()).decode()))
        if (folder / "tokenizer.json").is_file():
            state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            model = state.get("model", {})
            if model.get("type") == "BPE" and model.get("end_of_word_suffix") == "</w>":
                merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
                vocabulary = dict(model["vocab"])
                vocabulary |= {t["content"]: t["id"] for t in state.get("added_tokens", [])}
                return clip_tokens(vocabulary, _pairs(merges))
    return None


def _pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    split = [line.split() for line in lines]
    return [(pair[0], pair[1]) for pair in split if len(pair) == 2]


def _from_merges(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of OpenAI's list: 256 bytes, the same as word ends, merges, start and end."""
    lines = text.split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = _pairs(lines)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    names = [
        *symbols,
        *(f"{s}</w>" for s in symbols),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    return {name: number for number, name in enumerate(names)}, merges


def read_word_pieces(folder: Path, clean: Callable[[str], str]) -> Tokens | None:
    """BERT's tokenizer from ``vocab.txt`` (or ``tokenizer.json``) of a folder, or None.

    ``tokenizer_config.json`` says whether to lower-case; without it, yes, as the library does.
    """
    if (folder / "vocab.txt").is_file():
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        vocabulary = {piece: number for number, piece in enumerate(lines)}
        settings: dict[str, Any] = {}
        if (folder / "tokenizer_config.json").is_file():
            settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        backend = Tokenizer(
            models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
        )
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
            strip_accents=settings.get("strip_accents"),
            lowercase=settings.get("do_lower_case", True),
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    elif (folder / "tokenizer.json").is_file():
        backend = read_backend(folder / "tokenizer.json")
    else:
        return None
    return Tokens(
        backend, clean, *(special(backend, n, folder) for n in ("[CLS]", "[SEP]", "[PAD]"))
    )


def read_backend(path: Path) -> Tokenizer:
    """A ``tokenizer.json`` without its own truncation and padding."""
    backend = Tokenizer.from_file(str(path))
    backend.no_truncation()
    backend.no_padding()
    return backend


def special(backend: Tokenizer, name: str, where: Path) -> int:
    """Id of a special token.

    Raises:
        BackboneError: The tokenizer has none of that name.
    """
    found = backend.token_to_id(name)
    if found is None:
        raise BackboneError(f"{where}: the tokenizer has no token {name}")
    return int(found)


def read_siglip_tokens(folder: Path) -> Tokens | None:
    """SigLIP's (``spiece.model``) or SigLIP2's (``tokenizer.json``, Gemma) tokenizer, or None.

    SigLIP's text is lower-cased and loses its punctuation; SigLIP2's is taken as it is.
    """
    settings: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    first = (
        "Siglip" in str(settings.get("tokenizer_class", "")) or (folder / "spiece.model").is_file()
    )
    if (folder / "spiece.model").is_file():
        backend = read_unigram(folder / "spiece.model")
    elif (folder / "tokenizer.json").is_file():
        backend = read_backend(folder / "tokenizer.json")
    else:
        return None
    end, pad = (
        _content(settings.get(key, fallback))
        for key, fallback in (("eos_token", "</s>"), ("pad_token", "</s>"))
    )
    clean = canonical if first else plain
    return Tokens(
        backend, clean, None, special(backend, end, folder), special(backend, pad, folder)
    )


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, Mapping) else token)
