"""ProDA: a distribution over prompts, as in the port that calibration papers compare with."""

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.errors import SpecError
from vlmcal.learners.base import (
    LEARNERS,
    Batch,
    ClassContext,
    Learner,
    Options,
    Side,
    Stream,
    TokenCount,
)
from vlmcal.learners.initial import normal_tokens
from vlmcal.seeding import torch_generator
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.text_encoding.layout import Position
from vlmcal.types.limits import Count
from vlmcal.types.outputs import Outputs


@LEARNERS.register("proda")
class ProDA(Learner):
    """P contexts whose class features w_{c,p} are treated as samples of a Gaussian.

    Training, with P_s sampled contexts: mean w_c over them, centred deviations D, per feature dimension
    j a covariance S_j[i, k] = sum_p D[i,p,j] D[k,p,j] / (P_s + 1), R_b[i, k] = sum_j f_bj^2 S_j[i, k] and
    sigma[b, c] = R_b[y,y] + R_b[c,c] - 2 R_b[y,c]; the likelihood sees the upper bound
    z + s^2 sigma / 2. The objective ``prompt_diversity`` (weight 0.1) keeps contexts without a class name
    apart. Prediction averages all P normalised features and does not normalise again, which softens the
    confidence; ``normalise`` does.

    The first quarter of the contexts stands behind the class name, the second around it, the rest
    before it. Names are cleaned of underscores before they are tokenised, unlike in the port.

    Source: Lu et al., "Prompt Distribution Learning", CVPR 2022, arXiv 2205.03340; followed as ported in
    the public code of DAC.
    """

    similarity_scores: ClassVar[bool] = False
    opened: ClassVar[frozenset[Side]] = frozenset({"text"})
    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "prompt_diversity")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 100, "batch_size": 4, "lr": 1e-3}
    provides: frozenset[str] = frozenset({"prompt_text_features"})
    small: ClassVar[Mapping[str, Any]] = {"n_prompts": 4, "n_ctx": 2, "prompts_per_step": 4}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "proda-dac": {
            "train": default_train,
            "source": "DAC's port and configuration (the paper's sampling and batches differ)",
        }
    }

    class Config(Options):
        """Options of ProDA.

        Attributes:
            n_prompts: P, number of contexts.
            n_ctx: M, tokens per context.
            prompts_per_step: P_s, contexts used in one step; every round of P / P_s steps uses each once.
            normalise: Normalise the mean text feature at prediction.
        """

        n_prompts: Count = 32
        n_ctx: TokenCount = 16
        prompts_per_step: Count = 4
        normalise: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.n_prompts % self.prompts_per_step:
                raise SpecError(
                    f"proda: n_prompts = {self.n_prompts} must be a multiple of prompts_per_step = "
                    f"{self.prompts_per_step}, so that every round uses each context once"
                )

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder, count = self.encoder, config.n_prompts
        start = normal_tokens(count, config.n_ctx, encoder.text_width, generator=generator)
        self.ctx = nn.Parameter(start.detach().to(encoder.device, self.parameter_dtype))
        quarter = count // 4
        front: list[Position] = ["front"] * quarter
        middle: list[Position] = ["middle"] * quarter
        end: list[Position] = ["end"] * (count - 2 * quarter)
        self.positions = (*front, *middle, *end)
        self.layouts = {
            position: PromptLayout.build(
                encoder, classes.class_names, n_ctx=config.n_ctx, position=position
            )
            for position in get_args(Position)
        }
        self.empty = PromptLayout.build(encoder, [""], n_ctx=config.n_ctx)
        self.chosen: Tensor | None = None

    def choose(self, batch: Batch) -> Tensor:
        """Indices (P_s,) of the contexts of one step: consecutive parts of a permutation."""
        if self.chosen is not None:
            return self.chosen
        size = self.config.prompts_per_step
        round_, part = divmod(batch.step, self.config.n_prompts // size)
        stream = torch_generator(batch.seed or 0, "proda", round_)
        order = torch.randperm(self.config.n_prompts, generator=stream)
        return order[part * size : (part + 1) * size]

    def prompt_features(self, which: Tensor) -> Tensor:
        """Raw class features (K, P, D) of the contexts ``which``, in this order."""
        found: dict[int, Tensor] = {}
        for position, layout in self.layouts.items():
            mine = [i for i in which.tolist() if self.positions[i] == position]
            if mine:
                rows = encode_prompts(self.encoder, layout, self.ctx[mine], context_axis="image")
                found.update(zip(mine, rows, strict=True))
        return torch.stack([found[i] for i in which.tolist()], dim=1)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Mean over all contexts of the normalised features, (K, D), not normalised again."""
        features = self.prompt_features(torch.arange(self.config.n_prompts))
        return normalize(features.to(self.parameter_dtype), dim=-1).mean(dim=1)

    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """The mean feature as it is, (K, D); of unit length with ``normalise``."""
        mean = self.text_features()
        return normalize(mean, dim=-1) if self.config.normalise else mean

    def outputs(self, batch: Batch) -> Outputs:
        """Upper-bound logits of the sampled contexts while training; mean logits otherwise."""
        raw_image = batch.image_features.to(self.parameter_dtype)
        image = normalize(raw_image, dim=-1)
        scale = self.encoder.logit_scale.to(image.dtype)
        which = self.choose(batch) if self.training else torch.arange(self.config.n_prompts)
        raw = self.prompt_features(which).to(self.parameter_dtype)
        features = normalize(raw, dim=-1)
        mean = features.mean(dim=1)
        logits = self.scores(image, mean)
        if self.training:
            sigma = spread(features - mean[:, None], image, batch.labels)
            logits = logits + 0.5 * scale**2 * sigma
        contexts = encode_prompts(self.encoder, self.empty, self.ctx, context_axis="image")[:, 0]
        return self.offered(
            batch,
            raw_image,
            image,
            logits=logits,
            text_features=features,
            raw_text_features=raw,
            prompt_text_features=normalize(contexts.to(self.parameter_dtype), dim=-1),
            logit_scale=scale,
        )


def spread(deviations: Tensor, image: Tensor, labels: Tensor) -> Tensor:
    """Variance sigma (B, K) of the logit difference between each class and the true one.

    Args:
        deviations: (K, P, D) centred class features.
        image: (B, D) normalised image features.
        labels: (B,) true classes.

    Example:
        >>> d = torch.tensor([[[1.0], [-1.0]], [[0.0], [0.0]]])
        >>> spread(d, torch.tensor([[1.0]]), torch.tensor([0])).tolist()
        [[0.0, 0.6666666865348816]]
    """
    weights = image.square()
    # R_b[i, k] = sum_pj f_bj^2 D_ipj D_kpj / (P + 1); no K x K matrix per image is formed.
    own = deviations[labels] * weights[:, None]
    variance = weights @ deviations.square().sum(dim=1).T
    mixed = own.flatten(1) @ deviations.flatten(1).T
    own_variance = variance.gather(1, labels[:, None])
    return (own_variance + variance - 2 * mixed) / (deviations.shape[1] + 1)
