"""BiomedCoOp: class features near the mean of many sentences, predictions near a selected teacher."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.text import text_groups
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("biomedcoop")
class BiomedCoOp(Objective):
    r"""Consistency with sentences about the classes, and distillation from the sentences that agree.

    .. math::
        L = w_s \frac{1}{KD} \sum_{c,d} (t_{cd} - \bar f_{cd})^2
        + w_k \frac{1}{BK} \sum_{i,c} p^0_{ic} (\log p^0_{ic} - \log p_{ic})

    with t (K, D) the unit-norm tuned text features, f_jc (T, K, D) the unit-norm frozen features of T
    sentences for each class, and bar f their normalised mean over j. The teacher p0 is the softmax of
    s <v_i, g_c>, where g is the normalised mean of those sentences whose score in the batch,
    r_j = mean_i max_c s <v_i, f_jc>, lies within ``tau`` standard deviations (with T - 1) of the mean
    score. The released code standardises by the median absolute deviation first; that is an affine map,
    which the second standardisation undoes, except that it gives NaN where the deviation is 0. Pure
    regulariser: add ``ce``.

    Attributes:
        consistency: w_s; published by data set, 0.25 to 20.
        distillation: w_k; published by data set, 0.25 to 20.
        tau: Standard deviations within which a sentence's score counts; published 1.25 to 2.

    Example:
        >>> e, u = torch.eye(2), torch.zeros(2, 2)
        >>> out = Outputs(logits=u, text_features=e, frozen_template_features=e.flip(0)[None],
        ...               frozen_image_features=e, logit_scale=torch.tensor(0.0))
        >>> float(BiomedCoOp(distillation=0).loss(out))
        0.75
    """

    consistency: NotNegative = 0.75
    distillation: NotNegative = 0.75
    tau: Annotated[float, Field(ge=1)] = 1.5  # below 1 it can happen that no sentence is left

    needs: ClassVar[tuple[str, ...]] = (
        "logits",
        "text_features",
        "frozen_template_features",
        "frozen_image_features",
        "logit_scale",
    )
    source: ClassVar[str] = (
        "Koleilat et al., BiomedCoOp: Learning to prompt for biomedical vision-language models, CVPR "
        "2025, arXiv 2411.15232; code HealthX-Lab/BiomedCoOp, trainers/BiomedCoOp."
    )

    def compute(self, outputs: Outputs) -> Terms:
        """The two parts, named consistency and distillation."""
        sentences = outputs.require("frozen_template_features", by=self.name).detach()
        images = outputs.require("frozen_image_features", by=self.name).detach()
        tuned = text_groups(outputs, self.name)
        scale = outputs.require("logit_scale", by=self.name).detach()
        mean = normalize(sentences.mean(dim=0), dim=-1)
        similarities = scale * torch.einsum("bd,tkd->tbk", images, sentences)
        kept = agreeing(similarities.amax(dim=2).mean(dim=1), self.tau)
        teacher = normalize(sentences[kept].mean(dim=0), dim=-1)
        log_p = log_softmax(outputs.require("logits", by=self.name), dim=1)
        log_teacher = log_softmax(scale * images @ teacher.T, dim=1)
        divergence = (log_teacher.exp() * (log_teacher - log_p)).mean()
        return {
            "consistency": Term((tuned - mean).square().mean(), self.consistency),
            "distillation": Term(divergence, self.distillation),
        }


def agreeing(scores: Tensor, tau: float) -> Tensor:
    """Which of T scores lie within ``tau`` standard deviations of their mean, (T,) bool.

    Example:
        >>> agreeing(torch.tensor([1.0, 1.1, 0.9, 1.0, 5.0]), 1.5).tolist()
        [True, True, True, True, False]
    """
    if len(scores) < 2:
        return torch.ones_like(scores, dtype=torch.bool)
    deviation = (scores - scores.mean()).abs()
    return deviation <= tau * scores.std()
