"""CLIP's own loss on a batch of images and the prompts of their classes."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.text import captions
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("clip_contrastive")
class ClipContrastive(Objective):
    r"""Symmetric in-batch cross-entropy between images and captions.

    .. math::
        S = s\, V C^\top, \qquad
        L = \tfrac12 \bigl[ \mathrm{CE}(S, 1..B) + \mathrm{CE}(S^\top, 1..B) \bigr]

    over unit-norm image features V (B, D) and the features C (B, D) of their captions, or else of their
    classes' prompts. Two samples of one class are each other's negatives, as in fine-tuning with the
    contrastive loss (FLYP, CaRot); with few classes that teaches the model to tell them apart.

    Attributes:
        false_negatives: Pairs of two samples of one class: "keep" as negatives, "mask" out of the sums, or
            "soft", a target spread evenly over all samples of the class.

    Example:
        >>> out = Outputs(image_features=torch.eye(2), text_features=torch.eye(2),
        ...               labels=torch.tensor([0, 1]), logit_scale=torch.tensor(1.0))
        >>> round(float(ClipContrastive().loss(out)), 4)
        0.3133
    """

    false_negatives: Literal["keep", "mask", "soft"] = "keep"

    needs: ClassVar[tuple[str, ...]] = ("labels", "image_features", "text_features", "logit_scale")
    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Radford et al., ICML 2021, arXiv 2103.00020; FLYP, CVPR 2023, arXiv 2212.00638; "
        "code MLAI-Yonsei/CaRot, src/models/carot_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean of both directions."""
        image = outputs.require("image_features", by=self.name)
        scale = outputs.require("logit_scale", by=self.name)
        scores = scale * image @ captions(outputs, self.name).T
        target = torch.arange(len(image), device=image.device)
        if self.false_negatives == "keep":
            return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2
        labels = outputs.require("labels", by=self.name)
        same = labels[:, None] == labels[None, :]
        if self.false_negatives == "mask":
            others = same & (target[:, None] != target[None, :])
            scores = scores.masked_fill(others, -torch.inf)
            return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2
        spread = same.to(scores.dtype) / same.sum(dim=1, keepdim=True)
        return (cross_entropy(scores, spread) + cross_entropy(scores.T, spread)) / 2
