"""MaPLe: text tokens at several depths, and image tokens computed from them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, ClassContext, Options, Stream, TokenCount
from vlmcal.learners.deep_prompts import DeepPrompts, depth_of, token_sets
from vlmcal.learners.initial import seeded_linear
from vlmcal.types.limits import Count


@LEARNERS.register("maple")
class MaPLe(DeepPrompts):
    """Coupled prompts: the image tokens of block i are P_i(t_i), a linear map of the text tokens t_i.

    The context (M, d) starts from the first M tokens of ``init``, the rest of the words stays fixed; the
    J - 1 deeper text tokens start from N(0, 0.02^2) and their maps as copies of one layer.

    Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, arXiv 2210.03117; recipe of
    the public code (M = 2, J = 9, lr 0.0035, batch 4, 5 epochs).
    """

    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 5, "batch_size": 4, "lr": 3.5e-3}
    small: ClassVar[Mapping[str, Any]] = {"depth": 2}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "maple-j9-n2-ep5": {"train": default_train, "source": "MaPLe, vit_b16_c2_ep5_batch4_2ctx"},
        "maple-j3-n2-ep2": {
            "method": {"depth": 3},
            "train": {"epochs": 2, "batch_size": 4, "lr": 2.6e-3},
            "source": "MaPLe, cross-dataset configuration",
        },
        "maple-dac": {
            "method": {"init": None},
            "train": default_train,
            "source": "DAC, configs/trainers/MaPLe (random context)",
        },
    }

    class Config(Options):
        """Options of MaPLe.

        Attributes:
            n_ctx: M, tokens per block and tower.
            depth: J, blocks of both towers with tokens of their own, counting the input.
            init: Words whose first tokens start the context, the others stay; None for random.
        """

        n_ctx: TokenCount = 2
        depth: Count = 9
        init: str | None = "a photo of a"

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder = self.encoder
        layers = min(encoder.text_layers, encoder.image_layers)
        count = depth_of(config.depth, layers, f"{self.name}: depth") - 1
        d, width = encoder.text_width, encoder.image_width
        self.start_text(config.n_ctx, config.init, generator)
        self.text_deep = token_sets(self, count, config.n_ctx, d, generator)
        self.proj = seeded_linear(d, width, generator).to(encoder.device, self.parameter_dtype)
        one = seeded_linear(d, width, generator).to(encoder.device, self.parameter_dtype)
        self.deep_proj = nn.ModuleList(nn.Linear(d, width, device="meta") for _ in range(count))
        for layer in self.deep_proj:
            layer.weight = nn.Parameter(one.weight.detach().clone())
            layer.bias = nn.Parameter(one.bias.detach().clone())

    def image_tokens(self) -> Mapping[int, Tensor]:
        """Mapped text tokens (n, d) by image block."""
        pairs = zip(self.deep_proj, self.text_deep, strict=True)
        mapped = (layer(tokens) for layer, tokens in pairs)
        return dict(enumerate([self.proj(self.ctx), *mapped]))
