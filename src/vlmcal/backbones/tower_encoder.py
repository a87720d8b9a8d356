"""An encoder of own modules: any image tower beside any text tower."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import PromptableEncoder, TextTower, WholeTower
from vlmcal.backbones.fingerprints import hash_weights
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.stated_scale import StatedScale
from vlmcal.backbones.text_tokens import Tokens
from vlmcal.backbones.towers.resnet import ModifiedResNet, ResNet
from vlmcal.backbones.towers.text import CausalText, TextStack
from vlmcal.backbones.towers.vit import VisionTransformer
from vlmcal.errors import BackboneError
from vlmcal.hashing import digest

# Where convolutions are quicker on (B, H, W, C) in memory; on a CPU they were 0.9 times as quick.
CHANNELS_LAST_ON = ("cuda",)


@dataclass(frozen=True)
class Parts:
    """What a family reads from its files.

    Attributes:
        family: Layout they came from.
        image: Pixels (B, 3, H, W) to features (B, D).
        text: Word embeddings to features.
        tokens: The tokenizer, or why there is none.
        preprocess: Recipe for images.
        logit_scale: The factor s.
        logit_bias: The bias, if there is one.
        context_length: Largest number of tokens of a text, start and end included.
        architecture: Settings that no tensor shows (activations, heads, pooling).
        about: Worth a line in a report.
    """

    family: str
    image: nn.Module
    text: TextStack
    tokens: Tokens | str
    preprocess: Preprocess
    logit_scale: float
    context_length: int
    architecture: Mapping[str, Any]
    logit_bias: float | None = None
    about: str = ""


class TowerEncoder(StatedScale, PromptableEncoder):
    """Two towers with a tokenizer, frozen and in evaluation mode.

    Args:
        parts: Towers, tokenizer and settings; weights in float32.
        name: What the user called it.
        embed_dim: D.
        device, dtype: Where and in which type to compute.
    """

    def __init__(
        self,
        parts: Parts,
        name: str,
        embed_dim: int,
        *,
        device: str | torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.name, self.parts = name, parts
        self.family = parts.family
        self.embed_dim = embed_dim
        self.preprocess = parts.preprocess
        self.logit_bias = parts.logit_bias
        self.about = parts.about
        self._scale = parts.logit_scale
        text, image = parts.text, parts.image
        self.text_width, self.text_layers = text.width, len(text.layers)
        self.image_width = int(getattr(image, "width", 0))
        self.image_layers = len(image.layers) if isinstance(image, VisionTransformer) else 0
        self.context_length = parts.context_length
        self.text_kind, self.causal = text.kind, text.kind == "causal-eot"
        self.padding = text.padding
        if isinstance(parts.tokens, Tokens):
            self.sos_id, self.eos_id = parts.tokens.start, parts.tokens.end
            self.pad_id = parts.tokens.pad
        self.model = nn.ModuleDict({"image": image, "text": text}).eval().requires_grad_(False)
        self.fingerprint = self._digest()
        self.model.to(device=device, dtype=dtype)
        convolutions = isinstance(image, ModifiedResNet | ResNet)
        self._channels_last = convolutions and torch.device(device).type in CHANNELS_LAST_ON
        if self._channels_last:
            image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _digest(self) -> str:
        tokens = self.parts.tokens
        return digest(
            {
                "family": self.family,
                "weights": hash_weights(self.model.state_dict()),
                "architecture": dict(self.parts.architecture),
                "text": self.parts.text.kind,
                "tokens": tokens.content if isinstance(tokens, Tokens) else None,
                "bias": self.logit_bias,
                "scale": self._scale,
            }
        )

    @property
    def window(self) -> int:
        """Columns of padded token ids; CONCH keeps one more than a text may have."""
        return self.context_length + (self.parts.text.kind == "causal-cls")

    @property
    def tokens(self) -> Tokens:
        """The tokenizer.

        Raises:
            BackboneError: The encoder was loaded without one; says where to get it.
        """
        if isinstance(self.parts.tokens, str):
            raise BackboneError(f"{self.name}: {self.parts.tokens}")
        return self.parts.tokens

    @property
    def text_tower(self) -> TextTower | WholeTower:
        """The parts of the text transformer."""
        text = self.parts.text
        layers = self.as_computed(list(text.layers))
        if isinstance(text, CausalText):
            return TextTower(
                layers=layers,
                n_heads=text.n_heads,
                positions=text.position_embedding,
                final_norm=text.final_norm,
                projection=text.projection,
                computing=self.computing,
            )
        return WholeTower(text, layers, self.computing)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without start, end and padding; any length."""
        return self.tokens.ids(texts)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions, (..., text_width)."""
        return self.parts.text.embed(ids.to(self.device))

    def encode_text_ids(self, ids: Tensor) -> Tensor:
        """The tower's own forward: raw projected features (K, D)."""
        features: Tensor = self.parts.text(ids)
        return features

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Raw projected features (B, D) from (B, 3, H, W)."""
        if self._channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.parts.image(pixels)
        return features


def require_tokens(parts: Parts, name: str, vocabulary: int) -> None:
    """Refuse an encoder whose texts could not be read.

    Raises:
        BackboneError: There is no tokenizer, or it knows more tokens than the tower.
    """
    if isinstance(parts.tokens, str):
        raise BackboneError(f"{name}: {parts.tokens}")
    if parts.tokens.size > vocabulary:
        raise BackboneError(
            f"{name}: the tokenizer knows {parts.tokens.size} tokens but the model only {vocabulary}; "
            "the files belong to different models"
        )


def companion_folders(folder: Path, companions: Sequence[Path], repo: str) -> list[Path]:
    """Where files of another hub repository may lie: ``owner--name`` or the folders themselves."""
    flat = repo.replace("/", "--")
    return [place for root in (folder, *companions) for place in (root / flat, root)]
