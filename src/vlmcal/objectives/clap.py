"""CLAP's penalty: class prototypes stay near the zero-shot text features."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("clap")
class ClassAdaptivePenalty(Objective):
    r"""Class-weighted distance of learned prototypes to the zero-shot text features.

    .. math:: L = \frac{1}{K} \sum_c \alpha_c \lVert w_c - f_c \rVert_2^2

    over learned prototypes w and the raw, not normalised, zero-shot text features f (K, D) that they
    start from; alpha_c (K,) is the mean zero-shot probability of class c on its own training images.
    The learner gives all three.

    Example:
        >>> import torch
        >>> out = Outputs(
        ...     prototypes=torch.tensor([[1.0, 1.0]]),
        ...     prototype_targets=torch.tensor([[1.0, 0.0]]),
        ...     class_multipliers=torch.tensor([0.5]),
        ... )
        >>> float(ClassAdaptivePenalty().loss(out))
        0.5
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "class_multipliers", "prototype_targets")
    source: ClassVar[str] = (
        "Silva-Rodriguez et al., A closer look at the few-shot adaptation of large vision-language "
        "models, CVPR 2024, arXiv 2312.12730; code jusiro/CLAP."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Multiplier-weighted squared distance, averaged over classes."""
        moved = outputs.require("prototypes", by=self.name)
        frozen = outputs.require("prototype_targets", by=self.name).detach()
        factor = outputs.require("class_multipliers", by=self.name)
        return (factor * (moved - frozen).square().sum(dim=1)).mean()
