"""Margin-based label smoothing: logits may lie at most a margin below the largest one."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch.nn.functional import cross_entropy, relu

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("mbls")
class MbLS(Objective):
    r"""Cross-entropy plus a hinge on the distance of every logit to the largest one.

    .. math:: L = \mathrm{CE} + \alpha\, \frac{1}{BK} \sum_{i,c} \max(0,\; \max_j z_{ij} - z_{ic} - m)

    over scaled logits z (B, K). An infinite margin gives the cross-entropy.

    Attributes:
        margin: m in logit units; published 10 (TCPT's KgCoOp trainer calls it with 0).
        alpha: Factor of the hinge; published 0.1.
        with_ce: Contain the cross-entropy; False leaves the pure regulariser.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[14.0, 0.0]]), labels=torch.tensor([0]))
        >>> round(float(MbLS().loss(out)), 4)
        0.2
    """

    margin: Annotated[float, Field(ge=0, allow_inf_nan=True)] = 10.0
    alpha: NotNegative = 0.1
    with_ce: bool = True

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Liu et al., The devil is in the margin, CVPR 2022, arXiv 2111.15430; code by-liu/MbLS, "
        "calibrate/losses/logit_margin_l1.py."
    )

    @property
    def stands_alone(self) -> bool:
        """True with the cross-entropy in it."""
        return self.with_ce

    def compute(self, outputs: Outputs) -> Terms:
        """The cross-entropy, and the mean hinge with weight alpha."""
        logits, labels = logits_and_labels(outputs, self.name)
        distance = logits.max(dim=1, keepdim=True).values - logits
        terms = {"margin": Term(relu(distance - self.margin).mean(), self.alpha)}
        return {"ce": Term(cross_entropy(logits, labels), 1.0), **terms} if self.with_ce else terms
