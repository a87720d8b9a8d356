"""A frozen dual encoder: the only place that knows which library a model comes from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from vlmcal.backbones.preprocess import Preprocess as Preprocess


@dataclass(frozen=True)
class TextTower:
    """The parts of a text transformer that a hand-written pass runs through.

    Every layer has ``layer_norm1``, ``self_attn`` with ``q_proj``, ``k_proj``, ``v_proj`` and
    ``out_proj``, ``layer_norm2`` and ``mlp``; any of them may be wrapped (LoRA, adapters).

    Attributes:
        layers: Pre-norm transformer blocks, first to last.
        n_heads: Attention heads of every block.
        positions: (context_length, text_width) position embeddings.
        final_norm: Layer norm after the last block.
        projection: Map from text_width to embed_dim, without bias.
    """

    layers: Sequence[nn.Module]
    n_heads: int
    positions: Tensor
    final_norm: nn.Module
    projection: nn.Module


class DualEncoder(ABC):
    """A CLIP-like pair of towers with frozen weights in evaluation mode.

    Attributes:
        name: Hub id, folder or embedded name it was loaded from.
        fingerprint: SHA-256 over weights, configuration and tokenizer; part of every cache key.
        embed_dim: D, size of the joint space.
        text_width, image_width: Width of the token streams of the two towers.
        context_length: Largest number of text tokens.
        text_layers, image_layers: Number of transformer blocks.
        logit_scale: The factor s = exp(logit_scale parameter).
        preprocess: Recipe for images.
        model: The underlying module (``transformers.CLIPModel``).
        causal: True when text positions see only earlier positions (prefix sharing is exact).
        sos_id, eos_id: Token ids that start and end every text.
    """

    family: ClassVar[str]
    name: str
    fingerprint: str
    embed_dim: int
    text_width: int
    image_width: int
    context_length: int
    text_layers: int
    image_layers: int
    preprocess: Preprocess
    model: nn.Module
    causal: bool
    sos_id: int
    eos_id: int

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """The factor s on cosine similarities, a 0-d tensor."""

    @abstractmethod
    def with_logit_scale(self, value: float) -> Self:
        """The same encoder (shared weights) with another factor s, and another fingerprint."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the weights."""

    @property
    @abstractmethod
    def text_tower(self) -> TextTower:
        """The parts of the text transformer."""

    @abstractmethod
    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without start, end and padding; any length."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions, (..., text_width)."""

    @abstractmethod
    def end_positions(self, ids: Tensor) -> Tensor:
        """Index of the token whose state is pooled, (K,), for token ids (K, L)."""

    @abstractmethod
    def encode_text_ids(self, ids: Tensor) -> Tensor:
        """The library's own text forward: raw projected features (K, D)."""

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """The library's own image forward: raw projected features (B, D) from (B, 3, H, W)."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids (K, context_length), with start and end tokens and padding.

        Raises:
            DataError: A text has more tokens than fit; names the text and the limit.
        """

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocessed images (B, 3, size, size), float32 on the CPU, evaluation transform."""
        return torch.stack([torch.from_numpy(self.preprocess(image)) for image in images])

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw projected features (K, D) of whole prompts, without gradient.

        A causal tower sees the tokens up to the longest end token only: the same numbers, sooner.
        """
        parts = []
        for start in range(0, len(texts), batch_size):
            ids = self.tokenize(texts[start : start + batch_size])
            if self.causal:
                ids = ids[:, : int(self.end_positions(ids).max()) + 1]
            with torch.no_grad():
                parts.append(self.encode_text_ids(ids.to(self.device)))
        return torch.cat(parts)

    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 64) -> Tensor:
        """Raw projected features (N, D) under the evaluation transform, without gradient."""
        parts = []
        for start in range(0, len(images), batch_size):
            pixels = self.pixels(images[start : start + batch_size])
            with torch.no_grad():
                parts.append(self.encode_pixels(pixels.to(self.device, self.dtype)))
        return torch.cat(parts)
