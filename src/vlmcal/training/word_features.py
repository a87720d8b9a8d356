"""Zero-shot text features of a whole vocabulary: encoded once per backbone and template, then cached."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.entries import Arrays, Entries, Specs
from vlmcal.data.vocabulary import OutlierVocabulary
from vlmcal.errors import DataError
from vlmcal.hashing import digest
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.types.arrays import FloatArray, IntArray

Progress = Callable[[int, int], None]
_VERSION = 1  # raise it when the same key would give other numbers
_CHUNK = 256


class WordFeatures(NamedTuple):
    """What is kept of a vocabulary under one template.

    Attributes:
        features: (V, D) float32, L2-normalised, memory-mapped; NaN where the prompt is too long.
        lengths: (V,) tokens of the bare word.
    """

    features: FloatArray
    lengths: IntArray


def word_features(
    encoder: DualEncoder,
    vocabulary: OutlierVocabulary,
    template: str,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> WordFeatures:
    """Text features of every word in ``template``, from the cache if known.

    The entry is checked against its SHA-256 when it is read; a damaged one is made again with a warning.

    Args:
        encoder: The frozen model.
        vocabulary: V words.
        template: Zero-shot prompt with one ``{}``.
        cache_dir: Folder of the cache; None for ``$VLMCAL_CACHE`` or ``~/.cache/vlmcal``.
        progress: Called with (words done, V).

    Raises:
        DataError: The template lacks its ``{}``.
        StoreError: The cache folder cannot be written.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> words = OutlierVocabulary(("cat", "mouse"), "test")
        >>> word_features(load_backbone("pocket"), words, "a {}.").features.shape
        (2, 64)
    """
    if template.count("{}") != 1:
        raise DataError(f"expected a template with exactly one {{}}, got {template!r}")
    content = {
        "version": _VERSION,
        "encoder": encoder.fingerprint,
        "dtype": str(encoder.dtype),
        "words": vocabulary.digest,
        "template": template,
    }
    specs: Specs = {
        "features": ((len(vocabulary), encoder.embed_dim), np.dtype(np.float32)),
        "lengths": ((len(vocabulary),), np.dtype(np.int64)),
    }

    def fill(arrays: Arrays) -> None:
        _encode(encoder, vocabulary.words, template, progress, arrays)

    about = {**content, "encoder_name": encoder.name, "source": Path(vocabulary.source).name}
    root = (default_cache_dir() if cache_dir is None else cache_dir) / "words"
    arrays = Entries(root).get(digest(content), specs, fill, about)
    return WordFeatures(arrays["features"], arrays["lengths"])


def _encode(
    encoder: DualEncoder,
    words: Sequence[str],
    template: str,
    progress: Progress | None,
    arrays: Arrays,
) -> None:
    arrays["lengths"][:] = [len(ids) for ids in encoder.token_ids(words)]
    # Words of one length together, so that little of a batch is padding.
    order = np.argsort(arrays["lengths"], kind="stable")
    for start in range(0, len(words), _CHUNK):
        rows = order[start : start + _CHUNK]
        texts = [template.replace("{}", words[row]) for row in rows]
        arrays["features"][rows] = _features(encoder, texts).numpy()
        if progress is not None:
            progress(start + len(rows), len(words))


def _features(encoder: DualEncoder, texts: Sequence[str]) -> Tensor:
    """Normalised features (V, D) on the CPU; NaN for texts that do not fit."""
    tokens = encoder.token_ids(texts)
    fits = [row for row, ids in enumerate(tokens) if len(ids) <= encoder.longest_text]
    found = torch.full((len(texts), encoder.embed_dim), torch.nan)
    if fits:
        names, own = [texts[row] for row in fits], [tokens[row] for row in fits]
        layout = PromptLayout.of_tokens(encoder, names, own)
        with torch.no_grad():
            raw = encode_prompts(encoder, layout, torch.zeros(0, encoder.text_width))
        found[fits] = normalize(raw.float(), dim=-1).cpu()
    return found
