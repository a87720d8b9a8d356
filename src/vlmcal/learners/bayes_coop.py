"""Bayesian CoOp: a Gaussian posterior over the context, averaged predictions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.learners.sampled_prompts import SampledPrompts, gaussian_kl
from vlmcal.types.limits import Positive


@LEARNERS.register("bayes_coop")
class BayesCoOp(SampledPrompts):
    """v ~ N(mu, softplus(rho)^2), prior N(mu_0, prior_sigma^2) around the initial context mu_0.

    Each step draws contexts by reparametrisation, v = mu + sigma e. The loss per image is the mean over the
    samples of the cross-entropy, plus KL / N for N training images, plus any calibration objective on the
    averaged probabilities (a data-dependent regulariser). With sigma near 0 this is CoOp.

    Source: the free energy of Huang, Park and Simeone, "Calibration-Aware Bayesian Learning",
    arXiv 2305.07504, on the context of CoOp; priors and defaults are this project's.
    """

    name: ClassVar[str] = "bayes_coop"
    default_objective: ClassVar[tuple[Any, ...]] = ("sampled_ce", "posterior_kl")
    small: ClassVar[Mapping[str, Any]] = {"n_ctx": 2, "predictions": 3}

    @dataclass(frozen=True)
    class Config(SampledPrompts.Config):
        """Options of the samples, and of posterior and prior.

        Attributes:
            sigma: Initial standard deviation of every entry.
            prior_sigma: Of the prior; word embeddings of CLIP have deviations near 0.01.
            rank: "token_dim" for a deviation of every entry, "token" for one of every token.
        """

        sigma: Positive = 0.01
        prior_sigma: Positive = 0.02
        rank: Literal["token_dim", "token"] = "token_dim"

    config: Config

    def __init__(
        self, classes: ClassContext, config: Config, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(classes, config, generator)
        width = 1 if config.rank == "token" else self.ctx.shape[1]
        start = math.log(math.expm1(config.sigma))
        self.rho = nn.Parameter(self.ctx.detach().new_full((len(self.ctx), width), start))
        self.register_buffer("prior_mean", self.ctx.detach().clone())

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, (M, d) or (M, 1)."""
        return softplus(self.rho)

    def noise_shape(self) -> tuple[int, ...]:
        """As the context, (M, d)."""
        return tuple(self.ctx.shape)

    def sampled(self, noise: Tensor) -> Tensor:
        """Mu + sigma e, (S, M, d)."""
        return self.ctx + self.sigma * noise

    def divergence(self) -> Tensor:
        """KL summed over all entries, divided by the number of training images."""
        return self.kl() / self.training_rows

    def kl(self) -> Tensor:
        """KL from the prior, summed over all entries, in nats."""
        sigma = self.sigma.expand_as(self.ctx)
        prior = self.get_buffer("prior_mean")
        return gaussian_kl(self.ctx, sigma, prior, self.config.prior_sigma).sum()
