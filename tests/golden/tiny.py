"""The tiny CLIP of the golden method cases, with or without its tokenizer files."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel
from vectors import CARRIED

from vlmcal.backbones import hf_clip
from vlmcal.backbones.preprocess import Preprocess

# CLIP's own division of a text into words; every word has its own fixed tokens.
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")


class WordTable:
    """Tokenizer made of a table word -> token ids, enough for the carried cases."""

    def __init__(self, path: Path) -> None:
        table = json.loads(path.read_text())
        self.words = table["words"]
        self.bos_token_id, self.eos_token_id = table["bos"], table["eos"]

    def __call__(self, texts, **_):
        rows = [
            [i for word in _WORDS.findall(text.lower()) for i in self.words[word]] for text in texts
        ]
        return {"input_ids": rows}

    def __len__(self):
        return self.eos_token_id + 1


def tiny_clip(folder: Path, dtype: torch.dtype = torch.float32) -> hf_clip.HFClip:
    """The tiny model next to the cases in ``folder``, else the carried copy of its weights."""
    for place in (folder / "tiny_clip", folder.parent / "tiny_clip"):
        if (place / "merges.txt").is_file():
            return hf_clip.HFClip.load(place, "tiny", device="cpu", dtype=dtype)
    place = CARRIED / "methods" / "tiny_clip"
    model = CLIPModel(CLIPConfig.from_pretrained(place))
    weights = {k: v.float() for k, v in load_file(place / "model.safetensors").items()}
    model.load_state_dict(weights, strict=False)
    original = hf_clip._fingerprint
    hf_clip._fingerprint = lambda model, tokenizer: "tiny"
    try:
        encoder = hf_clip.HFClip(
            model, WordTable(place / "words.json"), Preprocess(size=32, resize=32), "tiny"
        )
    finally:
        hf_clip._fingerprint = original
    encoder.model.to(dtype)
    return encoder
