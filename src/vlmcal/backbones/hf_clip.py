"""CLIP in the layout of the transformers library: weights, tokenizer and image settings of one folder.

The library itself is imported where a folder is read with it; the embedded model does without.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import DualEncoder, TextTower
from vlmcal.backbones.families.image_towers import build
from vlmcal.backbones.families.transformers_clip import read_preprocess
from vlmcal.backbones.fingerprints import hash_weights
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.stated_scale import StatedScale
from vlmcal.backbones.text_tokens import read_library_tokens
from vlmcal.backbones.towers.clip import Clip
from vlmcal.backbones.weights import fill, read_weights
from vlmcal.errors import BackboneError
from vlmcal.hashing import digest

_LEGACY_EOS = 2  # written by early conversions; the library then pools at the largest id
_ARCHITECTURE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "max_position_embeddings",
    "eos_token_id",
    "image_size",
    "patch_size",
)


class HFClip(StatedScale, DualEncoder):
    """A ``transformers.CLIPModel``, or a :class:`Clip` of the same tensors, frozen, with its tokenizer.

    Features are projected and not normalised, so that adapters see what the encoder gave.

    Args:
        model: The model; its parameters stop requiring gradients.
        tokenizer: The matching ``transformers.CLIPTokenizer``, or what stands in for it.
        preprocess: How images become pixels.
        name: What the user called it.

    Source:
        Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
        ICML 2021, arXiv:2103.00020.
    """

    family = "clip"
    causal = True

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess, name: str) -> None:
        text, vision = model.config.text_config, model.config.vision_config
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name
        self.embed_dim = int(model.config.projection_dim)
        self.text_width, self.image_width = int(text.hidden_size), int(vision.hidden_size)
        self.context_length = int(text.max_position_embeddings)
        self.text_layers = int(text.num_hidden_layers)
        self.image_layers = int(vision.num_hidden_layers)
        self.sos_id, self.eos_id = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self.pad_id = self.eos_id
        self._clip: Any = model
        self._pooled_id = int(text.eos_token_id)
        # Read before the weights are cast: ln 100 in bfloat16 would give a factor of 99.
        self._scale = math.exp(float(model.logit_scale.detach().float()))
        if len(tokenizer) > text.vocab_size:
            raise BackboneError(
                f"{name}: the tokenizer knows {len(tokenizer)} tokens but the model only "
                f"{text.vocab_size}; the files belong to different models"
            )
        if preprocess.size != vision.image_size:
            raise BackboneError(
                f"{name}: images are cropped to {preprocess.size} pixels but the model expects "
                f"{vision.image_size}; correct preprocessor_config.json"
            )
        self.fingerprint = _fingerprint(model, tokenizer)

    @classmethod
    def load(
        cls, folder: Path, name: str, *, device: str | torch.device, dtype: torch.dtype
    ) -> "HFClip":
        """Read a folder in the transformers layout.

        Raises:
            BackboneError: The weights are damaged or do not fit the configuration.
        """
        from transformers import CLIPModel, CLIPTokenizer

        from vlmcal.backbones.quiet import quiet

        try:
            # Always float32 first: the fingerprint must not depend on the type used for computing.
            with quiet():
                model, report = CLIPModel.from_pretrained(
                    folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
                )
                tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the library raises many types for damaged files
            raise BackboneError(
                f"{name}: cannot read the model in {folder} ({type(error).__name__}: {error}); the "
                "files may be damaged or cut short, download them again"
            ) from error
        missing = sorted(report["missing_keys"])
        if missing:
            raise BackboneError(
                f"{name}: the weights in {folder} lack {len(missing)} tensors, first {missing[0]}; "
                "they belong to another architecture or are incomplete"
            )
        preprocess = read_preprocess(folder, int(model.config.vision_config.image_size))
        encoder = cls(model, tokenizer, preprocess, name)
        encoder.model.to(device=device, dtype=dtype)
        return encoder

    @classmethod
    def load_lean(
        cls, folder: Path, name: str, *, device: str | torch.device, dtype: torch.dtype
    ) -> "HFClip":
        """Read such a folder without the library: one whose ``config.json`` names every size.

        Raises:
            BackboneError: The weights are damaged or do not fit the configuration.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model: Clip = build(lambda: Clip(config))
        fill(model, read_weights(folder / "model.safetensors", name), name)
        preprocess = read_preprocess(folder, int(config["vision_config"]["image_size"]))
        encoder = cls(model, read_library_tokens(folder), preprocess, name)
        encoder.model.to(device=device, dtype=dtype)
        return encoder

    @property
    def text_tower(self) -> TextTower:
        """The parts of the text transformer."""
        tower = self._clip.text_model
        return TextTower(
            layers=self.as_computed(tower.encoder.layers),
            n_heads=int(self._clip.config.text_config.num_attention_heads),
            positions=tower.embeddings.position_embedding.weight,
            final_norm=tower.final_layer_norm,
            projection=self._clip.text_projection,
            computing=self.computing,
        )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without start, end and padding; any length."""
        if not texts:
            return []
        ids = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [list(row) for row in ids]

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions, (..., text_width)."""
        embedded: Tensor = self._clip.text_model.embeddings.token_embedding(ids.to(self.device))
        return embedded

    def end_positions(self, ids: Tensor) -> Tensor:
        """Index of the pooled token, (K,): the first end token, or the largest id in old models."""
        if self._pooled_id == _LEGACY_EOS:
            return ids.argmax(dim=-1)
        return (ids == self._pooled_id).int().argmax(dim=-1)

    def encode_text_ids(self, ids: Tensor) -> Tensor:
        """The model's own text forward: raw projected features (K, D)."""
        return _pooled(self._clip.get_text_features(input_ids=ids))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """The model's own image forward: raw projected features (B, D) from (B, 3, H, W)."""
        return _pooled(self._clip.get_image_features(pixel_values=pixels))


def _pooled(output: Any) -> Tensor:
    # Releases of transformers 5 return either the features or an object that holds them.
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _fingerprint(model: Any, tokenizer: Any) -> str:
    """Over weights, architecture and tokenizer."""
    parts = {"text": model.config.text_config, "vision": model.config.vision_config}
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in backend["merges"]]
    return digest(
        {
            "family": "clip",
            "weights": hash_weights(model.state_dict()),
            "architecture": {
                part: {key: getattr(config, key, None) for key in _ARCHITECTURE}
                for part, config in parts.items()
            },
            "vocabulary": tokenizer.get_vocab(),
            "merges": merges,
        }
    )
