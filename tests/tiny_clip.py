"""A tiny random CLIP in the transformers layout, made without any download."""

import json
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel

SOS, EOS = "<|startoftext|>", "<|endoftext|>"
# The byte-level words "the", "photo", "of", "cat" and "dog" are one token each; all else is bytes.
MERGES = ["t h", "th e</w>", "p h", "o t", "ph ot", "phot o</w>", "o f</w>"]
MERGES += ["c a", "ca t</w>", "d o", "do g</w>"]
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def make_tiny_clip(
    folder: Path,
    *,
    seed: int = 0,
    text_layers: int = 3,
    image_layers: int = 2,
    text_width: int = 32,
    image_width: int = 48,
    heads: int = 2,
    embed_dim: int = 24,
    image_size: int = 16,
    patch_size: int = 8,
    logit_scale: float = 100.0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write config, weights, tokenizer and image settings of a random CLIP; returns ``folder``.

    All biases and layer norms are random, and widths differ, so that a mix-up shows.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    config = CLIPConfig(
        text_config={
            "vocab_size": len(vocabulary), "hidden_size": text_width, "intermediate_size": 2 * text_width,
            "num_hidden_layers": text_layers, "num_attention_heads": heads, "projection_dim": embed_dim,
            "bos_token_id": vocabulary[SOS], "eos_token_id": vocabulary[EOS], "pad_token_id": vocabulary[EOS],
        },
        vision_config={
            "hidden_size": image_width, "intermediate_size": 2 * image_width,
            "num_hidden_layers": image_layers, "num_attention_heads": heads,
            "image_size": image_size, "patch_size": patch_size, "projection_dim": embed_dim,
        },
        projection_dim=embed_dim,
    )  # fmt: skip
    model = CLIPModel(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            elif value.ndim == 2 and "embedding" not in name:
                value.copy_(noise / value.shape[1] ** 0.5)
            else:
                value.copy_(0.2 * noise)
        model.logit_scale.copy_(torch.tensor(logit_scale).log())
    model.to(dtype).save_pretrained(folder)
    _write_tokenizer(folder, vocabulary)
    settings = {
        "do_resize": True, "size": {"shortest_edge": image_size}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": image_size, "width": image_size}, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _vocabulary() -> dict[str, int]:
    # Printable bytes stand for themselves, the others for characters from 256 on (byte-level BPE).
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    merged = [pair.replace(" ", "") for pair in MERGES]
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *merged, SOS, EOS]
    return {token: index for index, token in enumerate(tokens)}


def _write_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer", "bos_token": SOS, "eos_token": EOS, "unk_token": EOS,
        "pad_token": EOS, "model_max_length": 77, "do_lower_case": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
