"""Bayesian CoOp: a Gaussian posterior over the context, averaged predictions."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vlmcal.learners.base import LEARNERS, ClassContext, Stream
from vlmcal.learners.sampled_prompts import SampledPrompts, gaussian_kl
from vlmcal.seeding import torch_generator
from vlmcal.types.limits import Positive, Share, Whole


@LEARNERS.register("bayes_coop")
class BayesCoOp(SampledPrompts):
    """v ~ N(mu, softplus(rho)^2), prior N(mu_0, prior_sigma^2) around the initial context mu_0.

    Each step draws contexts by reparametrisation, v = mu + sigma e. The loss per image is the mean over the
    samples of the cross-entropy, plus KL / N for N training images, plus any calibration objective on the
    averaged probabilities (a data-dependent regulariser). With sigma near 0 this is CoOp.

    Source: the free energy of Huang, Park and Simeone, "Calibration-Aware Bayesian Learning",
    arXiv 2305.07504, on the context of CoOp; priors and defaults are this project's.
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("sampled_ce", "posterior_kl")
    small: ClassVar[Mapping[str, Any]] = {"n_ctx": 2, "predictions": 3}

    class Config(SampledPrompts.Config):
        """Options of the samples, and of posterior and prior.

        Attributes:
            sigma: Initial standard deviation of every entry.
            prior_sigma: Of the prior; word embeddings of CLIP have deviations near 0.01.
            rank: "token_dim" for a deviation of every entry, "token" for one of every token.
            low_rank: Columns of U in a posterior covariance diag(sigma^2) + U U'; 0 is without. U starts
                as normal noise of deviation ``sigma``.
            kl_warmup: Share of the epochs over which the divergence's weight rises from 0 to 1.
        """

        sigma: Positive = 0.01
        prior_sigma: Positive = 0.02
        rank: Literal["token_dim", "token"] = "token_dim"
        low_rank: Whole = 0
        kl_warmup: Share = 0.0

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        width = 1 if config.rank == "token" else self.ctx.shape[1]
        start = math.log(math.expm1(config.sigma))
        self.rho = nn.Parameter(self.ctx.detach().new_full((len(self.ctx), width), start))
        self.register_buffer("prior_mean", self.ctx.detach().clone())
        if config.low_rank:
            stream = torch_generator(0, self.name, "low_rank")
            start_u = torch.randn(self.ctx.numel(), config.low_rank, generator=stream)
            self.factor = nn.Parameter(config.sigma * start_u.to(self.ctx))
        if config.kl_warmup:
            self.register_buffer("kl_share", torch.zeros((), device=self.ctx.device))

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, (M, d) or (M, 1)."""
        return softplus(self.rho)

    def noise_shape(self) -> tuple[int, ...]:
        """As the context, (M, d); with U, all entries and its columns in one row, (M d + r,)."""
        if self.config.low_rank:
            return (self.ctx.numel() + self.config.low_rank,)
        return tuple(self.ctx.shape)

    def sampled(self, noise: Tensor) -> Tensor:
        """Mu + sigma e, or mu + sigma e + U z, (S, M, d)."""
        if not self.config.low_rank:
            return self.ctx + self.sigma * noise
        size = self.ctx.numel()
        own, shared = noise[:, :size], noise[:, size:]
        common = (shared @ self.factor.T).view(-1, *self.ctx.shape)
        drawn: Tensor = self.ctx + self.sigma * own.reshape(-1, *self.ctx.shape) + common
        return drawn

    def divergence(self) -> Tensor:
        """KL summed over all entries, divided by the number of training images; less while it warms up."""
        divided = self.kl() / self.training_rows
        return self.get_buffer("kl_share") * divided if self.config.kl_warmup else divided

    def on_epoch_end(self, epoch: int, epochs: int) -> None:
        """Raise the divergence's weight; in the first epoch of a warm-up it is 0."""
        if self.config.kl_warmup:
            risen = (epoch + 1) / (self.config.kl_warmup * epochs)
            self.get_buffer("kl_share").fill_(min(1.0, risen))

    def kl(self) -> Tensor:
        """KL from the prior, summed over all entries, in nats.

        With U: plus |U|^2 / (2 prior_sigma^2), minus half of ln det(I + U' diag(sigma^-2) U).
        """
        sigma = self.sigma.expand_as(self.ctx)
        prior = self.get_buffer("prior_mean")
        own = gaussian_kl(self.ctx, sigma, prior, self.config.prior_sigma).sum()
        if not self.config.low_rank:
            return own
        scaled = self.factor / sigma.reshape(-1, 1)
        inner = torch.eye(self.config.low_rank, dtype=scaled.dtype, device=scaled.device)
        volume = torch.logdet(inner + scaled.T @ scaled)
        return own + self.factor.square().sum() / (2 * self.config.prior_sigma**2) - volume / 2
