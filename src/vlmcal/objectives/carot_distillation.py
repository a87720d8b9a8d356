"""CaRot's self-distillation: in-batch scores follow those of a slow teacher."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.prograd import soft_cross_entropy
from vlmcal.objectives.text import captions
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs
from vlmcal.types.schedules import teacher_momentum as teacher_momentum


@OBJECTIVES.register("carot_distillation")
class CaRotDistillation(Objective):
    r"""Soft cross-entropy of in-batch image-caption scores against a teacher's, both directions.

    .. math::
        L = H(\tilde S, S) + H(\tilde S^\top, S^\top), \qquad
        H(\tilde S, S) = -\frac{1}{B} \sum_{ij} \mathrm{softmax}(\tilde S_i)_j \log \mathrm{softmax}(S_i)_j

    with S = s V C' from image features V (B, D) and the features C (B, D) of their captions or classes. The
    teacher is the moving average of the student where the learner keeps one
    (:func:`teacher_momentum`), from step 1 on and with its own scale; else the frozen model.

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
    teacher_scale: NotNegative | None = None

    needs: ClassVar[tuple[str, ...]] = (
        "labels",
        "image_features",
        "text_features",
        "frozen_image_features",
        "frozen_text_features",
        "logit_scale",
    )
    source: ClassVar[str] = (
        "Oh et al., Towards calibrated robust fine-tuning of vision-language models, NeurIPS 2024, "
        "arXiv 2311.01723; code MLAI-Yonsei/CaRot, src/models/carot_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Sum of both directions."""
        image = outputs.require("image_features", by=self.name)
        scale = outputs.require("logit_scale", by=self.name)
        scores = scale * image @ captions(outputs, self.name).T
        teacher = self._teacher(outputs, scale.detach()).detach()
        total = soft_cross_entropy(scores, teacher) + soft_cross_entropy(scores.T, teacher.T)
        # Before the first update a moving average is the student itself.
        return total * 0 if outputs.teacher_scale is not None and outputs.step == 0 else total

    def _teacher(self, outputs: Outputs, scale: Tensor) -> Tensor:
        own = scale if self.teacher_scale is None else self.teacher_scale
        if outputs.teacher_scale is not None:
            image = outputs.require("teacher_image_features", by=self.name)
            factor = outputs.teacher_scale if self.teacher_scale is None else own
            return factor * image @ outputs.require("teacher_caption_features", by=self.name).T
        labels = outputs.require("labels", by=self.name)
        image = outputs.require("frozen_image_features", by=self.name)
        return own * image @ outputs.require("frozen_text_features", by=self.name)[labels].T
