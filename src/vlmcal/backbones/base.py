"""What a backbone is: features of texts and images, and what learned tokens need on top of them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch
from PIL import Image
from torch import Tensor, nn

from vlmcal.backbones.cast_once import cast_once
from vlmcal.backbones.preprocess import Preprocess as Preprocess
from vlmcal.errors import BackboneError, DataError, nearest
from vlmcal.types.precision import Precision

if TYPE_CHECKING:
    from vlmcal.backbones.towers.text import TextStack


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
        computing: Context in which the layers run; see :meth:`FeatureEncoder.computing`.
    """

    layers: Sequence[nn.Module]
    n_heads: int
    positions: Tensor
    final_norm: nn.Module
    projection: nn.Module
    computing: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class WholeTower:
    """A text tower that is run prompt by prompt, because its tokens see more than what precedes them.

    Attributes:
        stack: The tower; :meth:`~vlmcal.backbones.towers.text.TextStack.encode` runs it.
        layers: Its blocks, any of which may be wrapped.
        computing: Context in which the layers run.
    """

    stack: "TextStack"
    layers: Sequence[nn.Module]
    computing: Callable[[], AbstractContextManager[Any]] = nullcontext


def _in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "off":
        return nullcontext()
    if precision == "tf32":
        return _rounded_products()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def _rounded_products() -> Iterator[None]:
    """Products of float32 matrices in TF32 meanwhile; torch has one switch for the whole process."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class FeatureEncoder(ABC):
    """Features of texts and images in one space, from frozen weights: all that most methods need.

    Zero-shot prediction, adapters, probes, word features and everything after training work on it. A new
    one implements the abstract members and sets the attributes; see docs/guides/own-backbone.md.

    Attributes:
        name: Hub id, folder or registered name it was loaded from.
        fingerprint: SHA-256 over all that decides its features; part of every cache key.
        embed_dim: D, size of the joint space.
        preprocess: Recipe for images.
        family: Layout it was read from.
        logit_bias: The bias b beside the factor s, where the model has one (sigmoid losses).
        scores: How class scores are read: "softmax", or "sigmoid" with the bias; see ``Variant``.
        precision: Of the passes that are run anew in every step; see :meth:`with_precision`.
        encode_precision: Of the pass that encodes images once and for all; see ``Variant``.
        about: Settings that belong to the model and are worth a line in a report.
    """

    family: str = "own"
    name: str
    fingerprint: str
    embed_dim: int
    preprocess: Preprocess
    logit_bias: float | None = None
    scores: str = "softmax"
    precision: Precision = "off"
    encode_precision: Precision = "off"
    about: str = ""

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """The factor s on cosine similarities, a 0-d tensor."""

    @abstractmethod
    def with_logit_scale(self, value: float) -> Self:
        """The same encoder (shared weights) with another factor s, and another fingerprint."""

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Raw projected features (B, D) from (B, 3, H, W)."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw projected features (K, D) of whole prompts, without gradient.

        Raises:
            DataError: A text has more tokens than fit; names the text and the limit.
        """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return torch.float32

    def with_precision(self, precision: Precision) -> Self:
        """The same encoder (shared weights, same fingerprint) with mixed precision in its towers.

        It concerns the passes with learned tensors in them, which run in every step: there the matrix
        products of the blocks run under autocast. Embeddings, residual streams, layer norms, projection,
        features and the logit scale stay float32. What is encoded once and kept (features of images,
        zero-shot text features) is computed as without it.

        Raises:
            BackboneError: An unknown precision, or weights of another type than float32.

        Example:
            >>> from vlmcal.backbones import load_backbone
            >>> encoder = load_backbone("pocket").with_precision("bfloat16")
            >>> with encoder.computing():
            ...     (torch.ones(1, 2) @ torch.ones(2, 1)).dtype
            torch.bfloat16
        """
        if precision == self.precision:
            return self
        known = get_args(Precision)
        if precision not in known:
            raise BackboneError(f'unknown precision "{precision}"; {nearest(precision, known)}')
        if precision != "off" and self.dtype != torch.float32:
            raise BackboneError(
                f"{self.name}: mixed precision starts from float32 weights, these are {self.dtype}; name the "
                'backbone as "NAME(weights=float32)" or leave the precision off'
            )
        changed = copy.copy(self)
        changed.precision = precision
        return changed

    def computing(self) -> AbstractContextManager[Any]:
        """Context in which the blocks of a tower run: autocast or rounded products, as the precision says."""
        return _in(self.precision, self.device)

    def as_computed(self, blocks: Sequence[nn.Module]) -> Sequence[nn.Module]:
        """Frozen blocks of a tower for passes inside :meth:`computing`, cast once where that casts."""
        if self.precision in ("off", "tf32"):
            return blocks
        return cast_once(blocks, getattr(torch, self.precision))

    def encoding(self) -> AbstractContextManager[Any]:
        """Context in which images are encoded once, as the encode precision says."""
        return _in(self.encode_precision, self.device)

    def going_back(self) -> AbstractContextManager[Any]:
        """Context of backward passes, which autocast has no part in."""
        return _rounded_products() if self.precision == "tf32" else nullcontext()

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocessed images (B, 3, size, size), float32 on the CPU, evaluation transform."""
        return torch.stack([torch.from_numpy(self.preprocess(image)) for image in images])

    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 64) -> Tensor:
        """Raw projected features (N, D) under the evaluation transform, without gradient."""
        parts = []
        for start in range(0, len(images), batch_size):
            pixels = self.pixels(images[start : start + batch_size])
            with torch.no_grad(), self.encoding():
                encoded = self.encode_pixels(pixels.to(self.device, self.dtype))
            parts.append(encoded.to(self.dtype))
        return torch.cat(parts)


class PromptableEncoder(FeatureEncoder):
    """A feature encoder whose token streams are open: learned tokens can be put into its towers.

    Attributes:
        text_width, image_width: Width of the token streams of the two towers.
        context_length: Largest number of text tokens.
        text_layers, image_layers: Number of blocks (0 for an image tower without a token stream).
        model: The underlying module.
        causal: True when text positions see only earlier positions (prefix sharing is exact).
        sos_id, eos_id, pad_id: Token ids that start (or None), end and fill up every text.
        padding: How far features depend on padding; see ``TextStack``.
        double_embedding: A published fault of learned prompts on BERT, asked for; see ``Variant``.
        text_kind: Which of the five ways tokens become a feature; see ``TextStack``.
    """

    text_width: int
    image_width: int
    context_length: int
    text_layers: int
    image_layers: int
    model: nn.Module
    causal: bool
    sos_id: int | None
    eos_id: int
    pad_id: int
    padding: Literal["free", "longest", "full"] = "free"
    text_kind: str = "causal-eot"
    double_embedding: bool = False

    @property
    @abstractmethod
    def text_tower(self) -> TextTower | WholeTower:
        """The parts of the text transformer."""

    @abstractmethod
    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without start, end and padding; any length."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions, (..., text_width)."""

    @abstractmethod
    def encode_text_ids(self, ids: Tensor) -> Tensor:
        """The tower's own forward: raw projected features (K, D) of ids (K, L), padded or not."""

    def end_positions(self, ids: Tensor) -> Tensor:
        """Index of the end token, (K,), for token ids (K, L)."""
        return (ids == self.eos_id).int().argmax(dim=-1)

    @property
    def window(self) -> int:
        """Columns of padded token ids; CONCH keeps one more than a text may have."""
        return self.context_length

    @property
    def longest_text(self) -> int:
        """Tokens that fit beside start and end."""
        return self.context_length - 1 - (self.sos_id is not None)

    def tokenize(self, texts: Sequence[str], *, truncate: bool = False) -> Tensor:
        """Token ids (K, L): start, text, end, padding.

        L is the context length, or the longest text's where the model is defined so.

        Args:
            texts: K texts.
            truncate: Cut texts that are too long, keeping the end token, as the original tokenizers do.

        Raises:
            DataError: A text has more tokens than fit; names the text and the limit.
        """
        found = self.token_ids(texts)
        opening = [] if self.sos_id is None else [self.sos_id]
        rows = []
        for text, tokens in zip(texts, found, strict=True):
            if len(tokens) > self.longest_text and not truncate:
                raise DataError(
                    f'text too long: "{text}" has {len(tokens)} tokens, at most '
                    f"{self.longest_text} fit besides start and end; shorten it"
                )
            rows.append([*opening, *tokens[: self.longest_text], self.eos_id])
        length = max(map(len, rows)) if self.padding == "longest" else self.window
        ids = torch.full((len(rows), length), self.pad_id, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return ids

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw projected features (K, D) of whole prompts, without gradient.

        Where padding does not count, a tower sees the tokens up to the longest end token only: the same
        numbers, sooner.
        """
        ids = self.tokenize(texts)
        parts = []
        for start in range(0, len(ids), batch_size):
            part = ids[start : start + batch_size]
            if self.padding == "free":
                part = part[:, : int(self.end_positions(part).max()) + 1]
            with torch.no_grad():
                parts.append(self.encode_text_ids(part.to(self.device)))
        return torch.cat(parts)


def require_tokens(encoder: FeatureEncoder) -> None:
    """Refuse learned tokens on a backbone that gives features only.

    Raises:
        BackboneError: It has no token stream. (Wrappers of a promptable encoder count as one.)
    """
    if not hasattr(encoder, "text_tower"):
        raise BackboneError(
            f"{encoder.name}: this backbone gives features of whole texts only, so no learned tokens can be "
            "put into its prompts; use zero_shot, an adapter or a probe (clip_adapter, tip_adapter, "
            "task_res, linear_probe, ...)"
        )


DualEncoder = PromptableEncoder  # the name from before the two were told apart
