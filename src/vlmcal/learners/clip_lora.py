"""CLIP-LoRA: low-rank changes of the attention projections of both towers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout

from vlmcal.backbones.base import DualEncoder
from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Options, Side, Stream
from vlmcal.learners.deep_prompts import require_pixels
from vlmcal.learners.fixed_words import FixedWords, require_place
from vlmcal.learners.image_tokens import encode_image, image_tower
from vlmcal.learners.initial import seeded_linear
from vlmcal.learners.tower_views import Map, views, with_text_layers
from vlmcal.seeding import torch_generator
from vlmcal.types.limits import Count
from vlmcal.types.outputs import Outputs

Towers = Literal["both", "text", "image"]
"""Which towers are changed."""


class LowRank(nn.Module):
    """x -> scale * B A dropout(x), with A (r, in) from torch's own initialisation and B (out, r) zero."""

    def __init__(
        self, inputs: int, outputs: int, rank: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.scale = scale
        self.A = nn.Parameter(seeded_linear(inputs, rank, generator, bias=False).weight.detach())
        self.B = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor, p: float = 0.0) -> Tensor:
        """The change of the projection's output, in the type of ``x``."""
        x = dropout(x, p) if p > 0 else x
        return self.scale * (x @ self.A.to(x.dtype).T) @ self.B.to(x.dtype).T


@LEARNERS.register("clip_lora")
class CLIPLoRA(FixedWords):
    """W <- W + (alpha / sqrt(r)) B A for the query, key and value projections of every block.

    Dropout acts on the input of A while training; each class draws its own mask, so the text tower shares
    no prefix then. The low-rank maps live here and wrap views of the blocks: the backbone is not touched.

    Source: Zanella and Ben Ayed, "Low-Rank Few-Shot Adaptation of Vision-Language Models", CVPRW 2024,
    arXiv 2405.18541; recipe of the public code (r = 2, AdamW 2e-4, batch 32, 500 x shots steps with a cosine
    per step; here a cosine per epoch).
    """

    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"text", "image"})
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "optimiser": "adamw",
        "lr": 2e-4,
        "weight_decay": 1e-2,
        "warmup_epochs": 0,
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clip-lora-r2": {
            "train": {"epochs": 100, "batch_size": 32, "optimiser": "adamw", "lr": 2e-4},
            "source": "CLIP-LoRA's defaults; its 500 x shots steps are 16000 / K epochs of K classes",
        }
    }

    class Config(Options):
        """Options of CLIP-LoRA.

        Attributes:
            rank: r.
            alpha: The change is scaled by alpha / sqrt(r).
            dropout: Share of the low-rank maps' inputs that is dropped while training.
            towers: Which towers are changed.
            template: Prompt of every class, with one {}.
        """

        rank: Count = 2
        alpha: float = 1.0
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
        towers: Towers = "both"
        template: str = "a photo of a {}."

        def __post_init__(self) -> None:
            super().__post_init__()
            require_place(self.template, "clip_lora")

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder, stream = self.encoder, generator or torch.Generator()
        sides = {side: side in self.opens(config) for side in ("text", "image")}
        self.text_maps = self._maps(encoder.text_layers, encoder.text_width, sides["text"], stream)
        self.image_maps = self._maps(
            encoder.image_layers, encoder.image_width, sides["image"], stream
        )
        self.layout = self.prompts(classes.class_names)
        self._dropped = 0.0
        if not sides["image"]:
            self.consumes = "features"
        self.tunes = self.opens(config)

    @classmethod
    def opens(cls, config: Config) -> frozenset[Side]:
        """The towers that get maps."""
        both: frozenset[Side] = frozenset({"text", "image"})
        return both if config.towers == "both" else frozenset({config.towers})

    def _maps(
        self, layers: int, width: int, wanted: bool, stream: torch.Generator
    ) -> nn.ModuleList:
        rank = self.config.rank
        scale = self.config.alpha / rank**0.5
        maps = nn.ModuleList(
            nn.ModuleDict({f"{w}_proj": LowRank(width, width, rank, scale, stream) for w in "qkv"})
            for _ in range(layers if wanted else 0)
        )
        return maps.to(self.encoder.device, self.parameter_dtype)

    def _wrapped(self, layers: Sequence[Any], maps: nn.ModuleList) -> list[Any]:
        # Read now: pieces are computed again in the backward pass, when the step's dropout is over.
        dropped = self._dropped

        def changed(frozen: Any, low: nn.Module) -> Map:
            return lambda x: frozen(x) + low(x, dropped)

        wrapped: dict[int, dict[str, Map]] = {}
        for i, own in enumerate(maps):
            attention = layers[i].self_attn
            wrapped[i] = {
                name: changed(getattr(attention, name), low) for name, low in own.named_children()
            }
        return views(layers, wrapped)

    @contextmanager
    def _dropping(self, batch: Batch) -> Iterator[None]:
        """Dropout from a stream of its own, so that no global random state is used or changed."""
        self._dropped = self.config.dropout
        device = self.encoder.device
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                seed = torch_generator(batch.seed or 0, "clip_lora", batch.step).initial_seed()
                torch.manual_seed(seed)
                yield
        finally:
            self._dropped = 0.0

    @property
    def encodes_other_names(self) -> bool:
        """Where the text tower is changed."""
        return len(self.text_maps) > 0

    def changed_text(self) -> tuple[DualEncoder, bool]:
        """With the low-rank maps; under dropout each class draws its own mask."""
        layers = self._wrapped(self.encoder.text_tower.layers, self.text_maps)
        return with_text_layers(self.encoder, layers), self._dropped == 0

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features under the changed image tower, (B, D).

        Raises:
            SpecError: The batch has no pixels.
        """
        if not len(self.image_maps):
            return batch.image_features
        tower = image_tower(self.encoder)
        tower = replace(tower, layers=self._wrapped(tower.layers, self.image_maps))
        return encode_image(self.encoder, require_pixels(batch, self.name), tower=tower)

    def outputs(self, batch: Batch) -> Outputs:
        """As everywhere; with dropout while training."""
        with self._dropping(batch) if self.training and self.config.dropout else nullcontext():
            return super().outputs(batch)
