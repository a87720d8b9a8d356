"""Prompts drawn from a distribution: their scores, averaged probabilities, and what their spread tells."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.errors import SpecError
from vlmcal.learners.base import Batch, ClassContext, Learner, Stream
from vlmcal.learners.coop import CoOp
from vlmcal.seeding import torch_generator
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.types.limits import Count
from vlmcal.types.outputs import Outputs


def mixture(scores: Tensor) -> Tensor:
    """Log of the mean over samples of softmax(scores), (B, K), from logits (S, B, K).

    Example:
        >>> mixture(torch.tensor([[[0.0, 0.0]], [[50.0, 0.0]]])).exp().round(decimals=2).tolist()
        [[0.75, 0.25]]
    """
    return scores.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(scores))


class Predictive(NamedTuple):
    """What S samples say of B images, entropies in nats.

    Attributes:
        log_probabilities: (B, K) log of the averaged probabilities.
        total: (B,) entropy of the averaged probabilities.
        aleatoric: (B,) mean entropy of the samples.
        information: (B,) total - aleatoric: mutual information, what the samples disagree about.
        votes: (B, K) share of the samples that predict each class.
    """

    log_probabilities: Tensor
    total: Tensor
    aleatoric: Tensor
    information: Tensor
    votes: Tensor


def predictive(scores: Tensor) -> Predictive:
    """Averaged probabilities of logits (S, B, K), and their uncertainty divided into its two parts.

    Example:
        >>> out = predictive(torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]]))
        >>> round(float(out.information), 4), out.votes.tolist()
        (0.6931, [[0.5, 0.5]])
    """
    logs = scores.log_softmax(dim=-1)
    mean = mixture(scores)
    total = -(mean.exp() * mean).sum(dim=-1)
    aleatoric = -(logs.exp() * logs).sum(dim=-1).mean(dim=0)
    picked = torch.nn.functional.one_hot(scores.argmax(dim=-1), scores.shape[-1])
    votes = picked.to(scores.dtype).mean(dim=0)
    return Predictive(mean, total, aleatoric, (total - aleatoric).clamp_min(0), votes)


def uncertainty_signals(scores: Tensor) -> dict[str, Tensor]:
    """``mutual_information`` (B,) of logits (S, B, K), under the name that rows carry it by."""
    return {"mutual_information": predictive(scores).information}


def gaussian_kl(mean: Tensor, sigma: Tensor, prior_mean: Tensor, prior_sigma: float) -> Tensor:
    """KL(N(mean, sigma^2) || N(prior_mean, prior_sigma^2)) of every entry, in nats.

    ln(sigma_0 / sigma) + (sigma^2 + (mu - mu_0)^2) / (2 sigma_0^2) - 1/2.

    Example:
        >>> one = torch.ones(1)
        >>> gaussian_kl(one, one, 0 * one, 1.0).tolist()
        [0.5]
    """
    spread = (sigma.square() + (mean - prior_mean).square()) / (2 * prior_sigma**2)
    return math.log(prior_sigma) - sigma.log() + spread - 0.5


class SampledPrompts(CoOp):
    """CoOp whose context is drawn: ``samples`` contexts per step, ``predictions`` fixed ones at prediction.

    All contexts of a step go through the text tower in one stacked pass. Logits are log-probabilities of
    the average over the samples, so cross-entropy on them is the mixture's; ``sampled_ce`` is the mean over
    the samples (evidence lower bound). The draws for prediction are made once and stored with the learner.
    """

    similarity_scores: ClassVar[bool] = False
    provides: frozenset[str] = frozenset({"sample_logits", "divergence"})
    # a prediction averages over many, so there is none to go on from
    shared_prompt = Learner.shared_prompt

    class Config(CoOp.Config):
        """Options of CoOp, and those of the samples.

        Attributes:
            samples: Contexts per training step.
            predictions: Contexts that a prediction averages over.
        """

        samples: Count = 1
        predictions: Count = 20

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.class_specific:
                raise SpecError(
                    "a sampled context is shared by all classes; leave out class_specific"
                )

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.training_rows = 1
        stream = generator or torch_generator(0, self.name, "predictions")
        noise = torch.randn(config.predictions, *self.noise_shape(), generator=stream)
        self.register_buffer("noise", noise.to(self.encoder.device, self.parameter_dtype))

    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise of one context."""

    @abstractmethod
    def sampled(self, noise: Tensor) -> Tensor:
        """Contexts (S, M, d) from standard normal noise (S, ...)."""

    @abstractmethod
    def divergence(self) -> Tensor:
        """The divergence from the prior, as it enters the loss of one training image."""

    def prompt_scores(self, image: Tensor, noise: Tensor) -> Tensor:
        """Logits (S, B, K) of unit image features (B, D) under the contexts of the noise."""
        return self._similar(image, self._directions(noise))

    def _directions(self, noise: Tensor, layout: PromptLayout | None = None) -> Tensor:
        raw = encode_prompts(
            self.encoder, layout or self.layout, self.sampled(noise), context_axis="image"
        )
        return normalize(raw.to(self.parameter_dtype), dim=-1)

    def _similar(self, image: Tensor, text: Tensor) -> Tensor:
        return self.encoder.logit_scale.to(image.dtype) * torch.einsum("bd,skd->sbk", image, text)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Mean over the predicting contexts of the unit features, (K, D)."""
        return self._directions(self._drawn()).mean(dim=0)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """The same of other names, (O, D)."""
        return self._directions(self._drawn(), self._layout(names)).mean(dim=0)

    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """Unit features of every predicting context, (S, K, D)."""
        return self._directions(self._drawn())

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Log of the probabilities averaged over the contexts, (B, K)."""
        return mixture(self._similar(image, text))

    def signals(self, image: Tensor) -> dict[str, Tensor]:
        """What the contexts disagree about."""
        return uncertainty_signals(self._similar(image, self.classifier()))

    def begin(self, train: object, validation: object) -> None:
        """The divergence is shared out over the training images."""
        self.training_rows = max(1, len(train))  # type: ignore[arg-type]

    def outputs(self, batch: Batch) -> Outputs:
        """Logits of each context, of their average, and the divergence."""
        noise = self._drawn()
        if self.training:
            stream = torch_generator(batch.seed or 0, self.name, batch.step)
            shape = (self.config.samples, *self.noise_shape())
            noise = torch.randn(shape, generator=stream).to(noise)
        raw_image = batch.image_features.to(self.parameter_dtype)
        image = normalize(raw_image, dim=-1)
        directions = self._directions(noise)
        scores = self._similar(image, directions)
        raw_text = directions.mean(dim=0)
        return self.offered(
            batch,
            raw_image,
            image,
            logits=mixture(scores),
            sample_logits=scores.transpose(0, 1),
            divergence=self.divergence(),
            text_features=normalize(raw_text, dim=-1),
            raw_text_features=raw_text,
        )

    @torch.no_grad()
    def uncertainty(self, batches: Iterable[Batch]) -> Predictive:
        """Averaged probabilities of all rows with the entropy that the contexts disagree about."""
        text = self.classifier()
        parts = []
        for batch in batches:
            image = normalize(batch.image_features.to(self.parameter_dtype), dim=-1)
            parts.append(self._similar(image, text))
        return predictive(torch.cat(parts, dim=1))

    def _drawn(self) -> Tensor:
        return self.get_buffer("noise")
