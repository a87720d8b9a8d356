"""MMA: bottleneck adapters in the upper blocks of both towers, with a part that the towers share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Options, Side, Stream
from vlmcal.learners.deep_prompts import require_pixels
from vlmcal.learners.fixed_words import FixedWords, require_place
from vlmcal.learners.image_tokens import first_rows, image_tower, pooled, run_blocks
from vlmcal.learners.tower_views import Map, views, with_text_layers
from vlmcal.types.features import Features
from vlmcal.types.limits import Count, Positive, Whole


class Rescaled(torch.autograd.Function):
    """Multiplies by one factor forwards and by another backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forwards: float, backwards: float) -> Tensor:
        """``forwards`` times x."""
        ctx.backwards = backwards
        return x * forwards

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """``backwards`` times the gradient."""
        return gradients[0] * ctx.backwards, None, None


class FrozenRows:
    """A cache of (image, view) -> rows that holds at most ``budget`` bytes.

    Only batches that name their images and view are looked up; what no longer fits is computed anew.

    Args:
        budget: Bytes, on the device of the rows.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._rows: dict[tuple[int, int], Tensor] = {}

    def get(self, batch: Batch, pixels: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows (B, N, d) of the batch; ``compute`` runs for images that are not kept."""
        if batch.sample_index is None or batch.view is None or not self.budget:
            return compute(pixels)
        keys = [(row, batch.view) for row in batch.sample_index.tolist()]
        missing = [i for i, key in enumerate(keys) if key not in self._rows]
        fresh = dict(zip(missing, compute(pixels[missing]), strict=True)) if missing else {}
        for i, rows in fresh.items():
            size = rows.numel() * rows.element_size()
            if self.used + size <= self.budget:
                self._rows[keys[i]] = rows.clone()
                self.used += size
        found = [fresh[i] if i in fresh else self._rows[key] for i, key in enumerate(keys)]
        return torch.stack(found)


@LEARNERS.register("mma")
class MMA(FixedWords):
    """From block ``first`` on, each block adds s Up(Shared(Down(LN1(x)))) to its output, x its input.

    Down is Linear(d, r) and ReLU, Shared a Linear(r, r) and ReLU common to both towers at that depth, Up a
    Linear(r, d). s is small (0.001) and would make the adapters' gradients vanish; they are computed as if
    s were 1, while the gradient that reaches x is exact. Blocks below ``first`` are frozen: the image
    rows they give are computed once per view and kept.

    Source: Yang et al., "MMA: Multi-Modal Adapter for Vision-Language Models", CVPR 2024; recipe of the
    public code (blocks 5 to 12, r = 32, SGD 0.0015 without warm-up, batch 16, 5 epochs).
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text", "image"})
    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"text", "image"})
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 5,
        "batch_size": 16,
        "lr": 1.5e-3,
        "warmup_epochs": 0,
    }
    small: ClassVar[Mapping[str, Any]] = {"first": 1, "width": 4, "scale": 0.5}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mma-ep5": {"train": default_train, "source": "MMA's configuration (ImageNet: batch 128)"}
    }

    class Config(Options):
        """Options of MMA.

        Attributes:
            first: First block with adapters, counted from 1.
            width: r.
            scale: s.
            template: Prompt of every class, with one {}.
            keep_mib: Mebibytes of frozen image rows to keep; 0 computes them anew each time.
        """

        first: Count = 5
        width: Count = 32
        scale: Positive = 1e-3
        template: str = "a photo of a {}."
        keep_mib: Whole = 1024

        def __post_init__(self) -> None:
            super().__post_init__()
            require_place(self.template, "mma")

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder, stream = self.encoder, generator or torch.Generator()
        layers = min(encoder.text_layers, encoder.image_layers)
        if config.first > layers:
            raise SpecError(f"mma: first must be 1 to {layers} here, got {config.first}")
        depths = {"text": encoder.text_layers, "image": encoder.image_layers}
        widths = {"text": encoder.text_width, "image": encoder.image_width}
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for side in ("text", "image"):
            for i in range(config.first - 1, depths[side]):
                key = f"{side}_{i}"
                self.down[key] = _linear(widths[side], config.width, stream)
                self.up[key] = _linear(config.width, widths[side], stream)
        self.shared = nn.ModuleDict(
            {
                str(i): _linear(config.width, config.width, stream)
                for i in range(config.first - 1, max(depths.values()))
            }
        )
        self.to(encoder.device, self.parameter_dtype)
        self.layout = self.prompts(classes.class_names)
        self._kept = FrozenRows(config.keep_mib << 20)

    def change(self, side: str, block: int, normed: Tensor) -> Tensor:
        """What the adapters add to a block's output, in the type of ``normed``."""
        key, scale = f"{side}_{block}", self.config.scale
        x = _rescaled(normed.to(self.parameter_dtype), 1.0, scale)
        hidden = relu(self.down[key](x))
        hidden = relu(self.shared[str(block)](hidden))
        return _rescaled(self.up[key](hidden), scale, 1.0).to(normed.dtype)

    def _wrapped(self, side: str, layers: Sequence[Any]) -> list[Any]:
        first = self.config.first - 1
        return views(
            layers,
            {i: self._adapter(side, i, layer) for i, layer in enumerate(layers) if i >= first},
        )

    def _adapter(self, side: str, block: int, layer: Any) -> dict[str, Map]:
        # The query projection is given exactly the normed rows that the block keeps.
        seen: list[Tensor] = []

        def query(normed: Tensor) -> Tensor:
            seen[:] = [normed]
            projected: Tensor = layer.self_attn.q_proj(normed)
            return projected

        def mlp(rows: Tensor) -> Tensor:
            (normed,) = seen
            result: Tensor = layer.mlp(rows) + self.change(side, block, normed)
            return result

        return {"q_proj": query, "mlp": mlp}

    def begin(self, train: Features, validation: Features | None) -> None:
        """Forget rows of other training images."""
        self._kept = FrozenRows(self.config.keep_mib << 20)

    def changed_text(self) -> tuple[DualEncoder, bool]:
        """With the text adapters."""
        layers = self._wrapped("text", self.encoder.text_tower.layers)
        return with_text_layers(self.encoder, layers), True

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features under the image adapters, (B, D).

        Raises:
            SpecError: The batch has no pixels.
        """
        pixels = require_pixels(batch, self.name)
        tower, first = image_tower(self.encoder), self.config.first - 1

        def lower(some: Tensor) -> Tensor:
            with torch.no_grad():
                rows = first_rows(self.encoder, tower, some)
                return run_blocks(tower, rows, range(first), {})

        rows = self._kept.get(batch, pixels, lower)
        adapted = replace(tower, layers=self._wrapped("image", tower.layers))
        rows = run_blocks(adapted, rows, range(first, len(tower.layers)), {})
        return pooled(tower, rows)


def _rescaled(x: Tensor, forwards: float, backwards: float) -> Tensor:
    result: Tensor = Rescaled.apply(x, forwards, backwards)  # type: ignore[no-untyped-call]
    return result


def _linear(inputs: int, outputs: int, stream: torch.Generator) -> nn.Linear:
    """A linear layer with Kaiming-normal weights over the outgoing fan, and zero bias."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.normal_(0, (2 / outputs) ** 0.5, generator=stream)
        layer.bias.zero_()
    return layer
