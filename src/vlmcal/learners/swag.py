"""SWAG: a Gaussian through the last epochs of training."""

import warnings
from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Stream
from vlmcal.learners.wrapped import Wrapped, WrappedPrompts
from vlmcal.seeding import torch_generator
from vlmcal.types.limits import Count, Whole


@LEARNERS.register("swag")
class SWAG(WrappedPrompts):
    """Learned tensors ~ N(mean, (diagonal + low-rank covariance) / 2) of the epochs after ``start``.

    After each such epoch the tensors of ``base`` enter their mean, their mean square and, the last
    ``rank`` of them, the deviations from the mean. A draw is mean + sd e / sqrt(2) + D z / sqrt(2 (rank
    - 1)). The learning rate is constant, so that the epochs wander around the optimum instead of
    settling in it.

    Source: Maddox et al., "A simple baseline for Bayesian uncertainty in deep learning", NeurIPS 2019, arXiv
    1902.02476. Oracle: mean and covariance of the recorded tensors.
    """

    default_train: ClassVar[Mapping[str, Any]] = {"schedule": "constant"}
    small: ClassVar[Mapping[str, Any]] = {"predictions": 3}

    class Config(Wrapped.Config):
        """What is wrapped, and what is recorded.

        Attributes:
            start: Share of the epochs before the first record.
            rank: Deviations that are kept; 0 for a diagonal covariance.
            predictions: Draws that a prediction averages over; each costs a text pass.
        """

        start: float = 0.5
        rank: Whole = 10
        predictions: Count = 20

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.start < 1 or self.rank == 1:
                raise SpecError("swag: start must be in [0, 1), rank 0 or at least 2")

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        flat = self._flat()
        self.register_buffer("count", torch.zeros((), device=flat.device))
        self.register_buffer("mean", torch.zeros_like(flat))
        self.register_buffer("square", torch.zeros_like(flat))
        self.register_buffer("deviations", flat.new_zeros(config.rank, len(flat)))
        stream = torch_generator(0, self.name, "predictions")
        noise = torch.randn(config.predictions, len(flat) + config.rank, generator=stream)
        self.register_buffer("noise", noise.to(flat), persistent=False)

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.base.parameters()])

    @torch.no_grad()
    def on_epoch_end(self, epoch: int, epochs: int) -> None:
        """Record the tensors."""
        super().on_epoch_end(epoch, epochs)
        if epoch < min(ceil(self.config.start * epochs), epochs - 1):
            return
        flat, count = self._flat(), self.get_buffer("count")
        mean, square = self.get_buffer("mean"), self.get_buffer("square")
        mean.add_((flat - mean) / (count + 1))
        square.add_((flat.square() - square) / (count + 1))
        if self.config.rank:
            deviations = self.get_buffer("deviations")
            deviations.copy_(torch.cat([deviations[1:], (flat - mean)[None]]))
        count.add_(1)

    @torch.no_grad()
    def on_fit_end(self) -> None:
        """The mean takes the place of the last tensors."""
        super().on_fit_end()
        if recorded := int(self.get_buffer("count")):
            self._put(self.get_buffer("mean"))
        if recorded == 1:
            warnings.warn(
                "swag: only one epoch was recorded, so that all draws are the same; train for more epochs or "
                "lower start",
                stacklevel=2,
            )

    def _put(self, flat: Tensor) -> None:
        place = 0
        for parameter in self.base.parameters():
            size = parameter.numel()
            parameter.data.copy_(flat[place : place + size].view_as(parameter))
            place += size

    def draws(self) -> Tensor:
        """Drawn tensors, (S, P) in the order of the wrapped method's parameters."""
        mean, noise = self.get_buffer("mean"), self.get_buffer("noise")
        own, shared = noise[:, : len(mean)], noise[:, len(mean) :]
        spread = (self.get_buffer("square") - mean.square()).clamp_min(0).sqrt()
        around: Tensor = spread * own
        if self.config.rank:
            low = shared @ self.get_buffer("deviations") / (2 * (self.config.rank - 1)) ** 0.5
            around = around / 2**0.5 + low
        return mean + around

    @torch.no_grad()
    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """Class features of every draw, (S, K, D); before training those of the method alone, (1, K, D)."""
        if not self.get_buffer("count"):
            return self.base.classifier()[None]
        kept, found = self._flat(), []
        try:
            for flat in self.draws():
                self._put(flat)
                found.append(self.base.classifier())
        finally:
            self._put(kept)
        return torch.stack(found)
