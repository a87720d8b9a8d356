"""Where the tokenizer of a backbone lies: beside the weights, among companions, or on the hub."""

from pathlib import Path

from vlmcal.backbones.families.base import Source
from vlmcal.backbones.hub import cached_files
from vlmcal.backbones.text_tokens import (
    Tokens,
    plain,
    read_backend,
    read_clip_tokens,
    read_word_pieces,
    repaired,
    special,
)
from vlmcal.backbones.tower_encoder import companion_folders

CLIP_REPO = "openai/clip-vit-base-patch32"
CONCH_FILE = "conch_byte_level_bpe_uncased.json"


def clip_tokens(source: Source) -> Tokens | str:
    """CLIP's byte pairs, padded with 0 as open_clip and OpenAI do, or what to do to get them."""
    files = ["vocab.json", "merges.txt"]
    folders = [source.folder, *source.companions]
    found = read_clip_tokens(folders)
    if found is None:
        cached = cached_files(CLIP_REPO, files, offline=source.offline)
        found = read_clip_tokens([cached]) if cached else None
    return found or (
        f"{source.folder} holds no tokenizer; put vocab.json and merges.txt of CLIP (or "
        "bpe_simple_vocab_16e6.txt.gz) beside the weights, or where there is network, run:\n"
        f"  hf download {CLIP_REPO} {' '.join(files)}"
    )


def bert_tokens(source: Source, repo: str, *, clean: bool = True) -> Tokens | str:
    """WordPiece of a BERT, or what to do to get it; ``clean`` repairs text as open_clip does."""
    how = repaired if clean else plain
    for folder in companion_folders(source.folder, source.companions, repo):
        found = read_word_pieces(folder, how) if folder.is_dir() else None
        if found is not None:
            return found
    files = ["vocab.txt", "tokenizer_config.json"]
    cached = cached_files(repo, files, offline=source.offline)
    found = read_word_pieces(cached, how) if cached else None
    return found or (
        f"{source.folder} holds no tokenizer; put vocab.txt of {repo} beside the weights, or where there is "
        f"network, run:\n  hf download {repo} vocab.txt"
    )


def conch_tokens(source: Source) -> Tokens | str:
    """CONCH's byte pairs, whose file comes with its Python package."""
    for folder in (source.folder, *source.companions):
        for path in (folder / CONCH_FILE, folder / "tokenizer.json"):
            if path.is_file():
                return _conch(path)
    return (
        f"{source.folder} holds no tokenizer; copy {CONCH_FILE} beside the weights (it lies in the "
        "package of the CONCH repository under conch/open_clip_custom/tokenizers)"
    )


def _conch(path: Path) -> Tokens:
    backend = read_backend(path)
    names = ("<start_of_text>", "<end_of_text>", "<pad>")
    return Tokens(backend, plain, *(special(backend, name, path) for name in names))
