"""CLIP-Adapter: a bottleneck on the image feature, mixed with the original."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Options, Side, Stream
from vlmcal.learners.initial import seeded_linear
from vlmcal.types.limits import Count, Share


@LEARNERS.register("clip_adapter")
class CLIPAdapter(Learner):
    """f <- r A(f) + (1 - r) f on the raw image feature, text from hand-written prompts.

    A is Linear(D, D // 4), ReLU, Linear(D // 4, D), ReLU without biases; r = 0.2.

    Source: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters", IJCV 2024,
    arXiv 2110.04544.
    """

    tunes: frozenset[Side] = frozenset({"image"})
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 200}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clip-adapter-ep200": {"train": default_train, "source": "DAC's configuration"}
    }

    class Config(Options):
        """Options of CLIP-Adapter.

        Attributes:
            ratio: r, share of the adapted feature.
            reduction: Factor by which the hidden layer is narrower than the joint space.
        """

        ratio: Share = 0.2
        reduction: Count = 4

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        adapter = bottleneck(self.encoder.embed_dim, config.reduction, generator)
        self.adapter = adapter.to(self.encoder.device, self.parameter_dtype)

    def image_features(self, batch: Batch) -> Tensor:
        """Adapted raw image features, (B, D)."""
        raw = batch.image_features.to(self.parameter_dtype)
        adapted: Tensor = self.adapter(raw)
        return self.config.ratio * adapted + (1 - self.config.ratio) * raw


def bottleneck(width: int, reduction: int, generator: torch.Generator | None) -> nn.Sequential:
    """Linear(D, D // r), ReLU, Linear(D // r, D), ReLU, without biases."""
    hidden = max(1, width // reduction)
    return nn.Sequential(
        seeded_linear(width, hidden, generator, bias=False),
        nn.ReLU(),
        seeded_linear(hidden, width, generator, bias=False),
        nn.ReLU(),
    )
