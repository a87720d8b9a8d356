"""CaRot's self-distillation: in-batch scores follow those of a slow teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.contrast import captions
from vlmcal.objectives.prograd import soft_cross_entropy
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("carot_distillation")
@dataclass(frozen=True)
class CaRotDistillation(Objective):
    r"""Soft cross-entropy of in-batch image-caption scores against a teacher's, both directions.

    .. math::
        L = H(\tilde S, S) + H(\tilde S^\top, S^\top), \qquad
        H(\tilde S, S) = -\frac{1}{B} \sum_{ij} \mathrm{softmax}(\tilde S_i)_j \log \mathrm{softmax}(S_i)_j

    with S = s V C' from image features V (B, D) and the text features C (B, D) of their classes. The
    teacher's features are ``frozen_image_features`` and ``frozen_text_features``: the frozen model, or
    the moving average of the student if the run keeps one (:func:`teacher_momentum`).

    Attributes:
        weight: Published 1.5.
        teacher_scale: The teacher's own logit scale; null means the student's.

    Example:
        >>> import torch
        >>> e = torch.eye(2)
        >>> out = Outputs(image_features=e, text_features=e, frozen_image_features=e, labels=torch.arange(2),
        ...               frozen_text_features=e, logit_scale=torch.tensor(0.0))
        >>> round(float(CaRotDistillation().loss(out)), 4)
        1.3863
    """

    weight: float = 1.5
    teacher_scale: float | None = None

    needs: ClassVar[tuple[str, ...]] = (
        "labels",
        "image_features",
        "text_features",
        "frozen_image_features",
        "frozen_text_features",
        "logit_scale",
    )
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"teacher_scale": (0, inf)}
    source: ClassVar[str] = (
        "Oh et al., Towards calibrated robust fine-tuning of vision-language models, NeurIPS 2024, "
        "arXiv 2311.01723; code MLAI-Yonsei/CaRot, src/models/carot_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Sum of both directions."""
        image = outputs.require("image_features", by=self.name)
        labels = outputs.require("labels", by=self.name)
        scale = outputs.require("logit_scale", by=self.name)
        scores = scale * image @ captions(outputs, self.name).T
        fixed_image = outputs.require("frozen_image_features", by=self.name).detach()
        fixed_text = outputs.require("frozen_text_features", by=self.name).detach()[labels]
        factor = scale.detach() if self.teacher_scale is None else self.teacher_scale
        teacher = factor * fixed_image @ fixed_text.T
        return soft_cross_entropy(scores, teacher) + soft_cross_entropy(scores.T, teacher.T)


def teacher_momentum(
    step: int, total_steps: int, *, start: float = 0.05, end: float = 0.9, rising: float = 0.2
) -> float:
    """CaRot's momentum of the moving-average teacher: linear over the first steps, then constant.

    The teacher becomes m times itself plus (1 - m) times the student; published every 500 steps.

    Args:
        step: Counted from 0.
        total_steps: Length of training.
        start: Momentum at step 0; published 0.05.
        end: Momentum from the end of the rise on; published 0.9.
        rising: Share of training over which it rises; published 0.2.

    Example:
        >>> [round(teacher_momentum(step, 1000), 3) for step in (0, 100, 200, 999)]
        [0.05, 0.475, 0.9, 0.9]
    """
    share = min(1.0, step / max(1.0, rising * total_steps))
    return start + (end - start) * share
