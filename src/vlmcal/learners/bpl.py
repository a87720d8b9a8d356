"""Bayesian Prompt Learning: one random vector that shifts every token of the context."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, ClassContext, Stream
from vlmcal.learners.sampled_prompts import SampledPrompts, gaussian_kl
from vlmcal.types.limits import Count


@LEARNERS.register("bpl")
class BPL(SampledPrompts):
    """Context v_m + r with r ~ N(mean, exp(log_variance)) of shape (1, d) and prior N(0, I).

    The loss is -log of the probabilities averaged over the samples, plus 0.001 times the KL, a mean over the
    dimensions. The log-variance starts uniform in [0, 1], as in the code, which calls it a deviation.

    Source: Derakhshani et al., "Bayesian Prompt Learning for Image-Language Model Generalization",
    ICCV 2023, arXiv 2210.02390; the unconditional form of the public code.
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", {"name": "posterior_kl", "weight": 0.001})
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 10, "batch_size": 1, "lr": 2e-3}
    small: ClassVar[Mapping[str, Any]] = {
        "n_ctx": 2,
        "samples": 2,
        "predictions": 3,
        "log_variance": -8.0,
    }

    class Config(SampledPrompts.Config):
        """Options of the samples; the context starts from "a photo of a".

        Attributes:
            init: As in CoOp.
            samples: Contexts per training step.
            predictions: Contexts that a prediction averages over.
            log_variance: Initial log-variance of every dimension, or None for uniform in [0, 1].
        """

        init: str | None = "a photo of a"
        samples: Count = 10
        predictions: Count = 10
        log_variance: float | None = None

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        width = self.ctx.shape[1]
        self.mean = nn.Parameter(self.ctx.detach().new_zeros(1, width))
        start = torch.rand(1, width, generator=generator or torch.Generator())
        if config.log_variance is not None:
            start = torch.full_like(start, config.log_variance)
        self.log_variance = nn.Parameter(start.to(self.ctx))

    def noise_shape(self) -> tuple[int, ...]:
        """One shift for all tokens, (1, d)."""
        return (1, self.ctx.shape[1])

    def sampled(self, noise: Tensor) -> Tensor:
        """V + mean + exp(log_variance / 2) e, (S, M, d)."""
        return self.ctx + self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Tensor:
        """KL from N(0, I), a mean over the dimensions, in nats."""
        sigma = (self.log_variance / 2).exp()
        return gaussian_kl(self.mean, sigma, torch.zeros_like(self.mean), 1.0).mean()
