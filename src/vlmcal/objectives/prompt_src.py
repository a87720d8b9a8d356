"""PromptSRC: tuned text, image features and predictions stay near the frozen model's."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.text import tuned_and_frozen
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("prompt_src")
class PromptSRC(Objective):
    r"""Self-regulating constraints of PromptSRC.

    .. math::
        L = w_t \frac{1}{KD} \sum | t - f | + w_v \frac{1}{BD} \sum | v - v^0 |
        + w_l \frac{1}{BK} \sum_{i,c} p^0_{ic} (\log p^0_{ic} - \log p_{ic})

    over unit-norm text features t, f (K, D), image features v, v0 (B, D) and the softmaxes p, p0 of
    tuned and zero-shot logits (B, K). The divergence is divided by B times K, as released. The text
    target f is the normalised mean over templates. Pure regulariser: add ``ce``.

    Attributes:
        text_weight: w_t; published 25.
        image_weight: w_v; published 10.
        logit_weight: w_l; published 1.

    Example:
        >>> import torch
        >>> e, u = torch.eye(2), torch.zeros(2, 2)
        >>> out = Outputs(logits=u, zero_shot_logits=u, text_features=e, frozen_text_features=e,
        ...               image_features=e, frozen_image_features=e.flip(0))
        >>> float(PromptSRC().loss(out))
        10.0
    """

    text_weight: NotNegative = 25.0
    image_weight: NotNegative = 10.0
    logit_weight: NotNegative = 1.0

    needs: ClassVar[tuple[str, ...]] = (
        "logits",
        "zero_shot_logits",
        "text_features",
        "frozen_text_features",
        "image_features",
        "frozen_image_features",
    )
    source: ClassVar[str] = (
        "Khattak et al., Self-regulating prompts, ICCV 2023, arXiv 2307.06948; code "
        "muzairkhattak/PromptSRC, trainers/promptsrc.py."
    )

    def compute(self, outputs: Outputs) -> Terms:
        """The three constraints, named text, image and logits."""
        tuned, frozen = tuned_and_frozen(outputs, self.name)
        image = outputs.require("image_features", by=self.name)
        frozen_image = outputs.require("frozen_image_features", by=self.name).detach()
        log_p = log_softmax(outputs.require("logits", by=self.name), dim=1)
        teacher = log_softmax(outputs.require("zero_shot_logits", by=self.name).detach(), dim=1)
        divergence: Tensor = (teacher.exp() * (teacher - log_p)).mean()
        return {
            "text": Term((tuned - frozen).abs().mean(), self.text_weight),
            "image": Term((image - frozen_image).abs().mean(), self.image_weight),
            "logits": Term(divergence, self.logit_weight),
        }
