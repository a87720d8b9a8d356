"""PromptSRC: independent prompts, held near the frozen model and averaged over epochs."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.learners.averaging import EpochAverage, aggregation_weights
from vlmcal.learners.base import LEARNERS, ClassContext, Stream, TokenCount
from vlmcal.learners.ivlp import IVLP
from vlmcal.types.limits import Count, Positive, Tokens


@LEARNERS.register("prompt_src")
class PromptSRC(IVLP):
    """IVLP's prompts, trained with the objective ``prompt_src`` and aggregated over the epochs.

    The text target is the normalised mean over templates of the *raw* text features (60 templates in the
    public code; here those of the data). After the last epoch the prompts are replaced by their average
    over epochs with Gaussian weights (mean ``gpa_mean``, deviation ``gpa_std``, epochs counted from 1).
    Only learned tensors are averaged; the public code averages the frozen weights as well, in half
    precision, which perturbs them.

    Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without Forgetting",
    ICCV 2023, arXiv 2307.06948; recipe of the public code (4 + 4 tokens, 9 blocks, lr 0.0025, batch 4, 20
    epochs).
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "prompt_src")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 20, "batch_size": 4, "lr": 2.5e-3}
    small: ClassVar[Mapping[str, Any]] = {"text_depth": 2, "image_depth": 2}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "promptsrc-ep20": {"train": default_train, "source": "PromptSRC, base-to-new"},
        "promptsrc-ep50": {
            "method": {"gpa_mean": 30.0, "gpa_std": 30.0},
            "train": {"epochs": 50, "batch_size": 4, "lr": 2.5e-3},
            "source": "PromptSRC's few-shot configuration, which DAC uses for base-to-new",
        },
        "promptsrc-xd": {
            "method": {"text_depth": 3, "image_depth": 3, "gpa_mean": 6.0, "gpa_std": 10.0},
            "train": default_train,
            "source": "PromptSRC, cross-dataset",
        },
    }

    class Config(IVLP.Config):
        """Options of PromptSRC: those of IVLP and the aggregation.

        Attributes:
            n_ctx, n_image: Tokens per block of the two towers.
            text_depth, image_depth: Blocks with tokens of their own, counting the input; None for all.
            gpa: Average the prompts over the epochs.
            gpa_mean: Epoch with the largest weight, from 1.
            gpa_std: Deviation of the weights, in epochs.
        """

        n_ctx: TokenCount = 4
        n_image: Tokens = 4
        text_depth: Count | None = 9
        image_depth: Count | None = 9
        gpa: bool = True
        gpa_mean: float = 15.0
        gpa_std: Positive = 1.0

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.average = EpochAverage(self)

    @property
    def frozen_text_features(self) -> Tensor:
        """Normalised mean over templates of raw text features, (K, D)."""
        return normalize(self.classes.raw_text_features, dim=-1)

    def on_epoch_end(self, epoch: int, epochs: int) -> None:
        """Add the prompts of this epoch with their weight."""
        weights = aggregation_weights(epochs, self.config.gpa_mean, self.config.gpa_std)
        self.average.add(self, weights[epoch], first=epoch == 0)

    def on_fit_end(self) -> None:
        """Put the average in the place of the last prompts."""
        if self.config.gpa:
            self.average.load(self)
