"""Confidence penalty: reward the entropy of the prediction."""

from typing import ClassVar, Literal

from torch.nn.functional import cross_entropy, log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("entropy_penalty")
class EntropyPenalty(Objective):
    r"""Cross-entropy minus a multiple of the predictive entropy (ECP).

    .. math:: L = \mathrm{CE} - \alpha\, \frac{1}{B K^{s}} \sum_{i,c} -p_{ic} \log p_{ic}

    over p = softmax of logits (B, K), with s = 1 for ``average: classes`` (the released code divides
    by K as well) and s = 0 for ``average: samples`` (the entropy itself, in nats).

    Attributes:
        alpha: Factor of the entropy; published 0.1.
        average: What the entropy is averaged over.
        with_ce: Contain the cross-entropy; False leaves the pure regulariser.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> round(float(EntropyPenalty().loss(out)), 4)
        0.6585
    """

    alpha: NotNegative = 0.1
    average: Literal["classes", "samples"] = "classes"
    with_ce: bool = True

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Pereyra et al., Regularizing neural networks by penalizing confident output distributions, "
        "ICLR workshop 2017, arXiv 1701.06548; code by-liu/MbLS, penalty_entropy.py."
    )

    @property
    def stands_alone(self) -> bool:
        """True with the cross-entropy in it."""
        return self.with_ce

    def compute(self, outputs: Outputs) -> Terms:
        """The cross-entropy, and minus the entropy with weight alpha."""
        logits, labels = logits_and_labels(outputs, self.name)
        log_p = log_softmax(logits, dim=1)
        negative = (log_p.exp() * log_p).sum(dim=1).mean()
        if self.average == "classes":
            negative = negative / logits.shape[1]
        terms = {"entropy": Term(negative, self.alpha)}
        return {"ce": Term(cross_entropy(logits, labels), 1.0), **terms} if self.with_ce else terms
