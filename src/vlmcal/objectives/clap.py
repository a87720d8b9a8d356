"""CLAP's penalty: class prototypes stay near the zero-shot text features."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("clap")
@dataclass(frozen=True)
class ClassAdaptivePenalty(Objective):
    """(1 / K) sum_c alpha_c ||w_c - f_c||^2.

    w_c (K, D) are the learned prototypes, f_c the frozen zero-shot text features, alpha_c (K,) the mean
    zero-shot probability of class c on its own training images.

    Example:
        >>> import torch
        >>> out = Outputs(
        ...     prototypes=torch.tensor([[1.0, 1.0]]),
        ...     frozen_text_features=torch.tensor([[1.0, 0.0]]),
        ...     class_multipliers=torch.tensor([0.5]),
        ... )
        >>> float(ClassAdaptivePenalty().loss(out))
        0.5

    Source: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
    Models", CVPR 2024, arXiv 2312.12730.
    """

    name: ClassVar[str] = "clap"
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "class_multipliers", "frozen_text_features")
    source: ClassVar[str] = "CLAP, CVPR 2024, arXiv 2312.12730; code jusiro/CLAP"

    def compute(self, outputs: Outputs) -> Tensor:
        """Multiplier-weighted squared distance, averaged over classes."""
        moved = outputs.require("prototypes", by=self.name)
        frozen = outputs.require("frozen_text_features", by=self.name).detach()
        factor = outputs.require("class_multipliers", by=self.name)
        return (factor * (moved - frozen).square().sum(dim=1)).mean()
