"""ACLS: adaptive and conditional label smoothing."""

from typing import ClassVar

from torch.nn.functional import cross_entropy, relu

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("acls")
class ACLS(Objective):
    r"""Cross-entropy plus squared hinges on the largest logit and on logits far below it.

    .. math::
        L = \mathrm{CE} + \alpha \Bigl[ \frac{\lambda_+}{B} \sum_i \max(0, z^{max}_i - m)^2
        + \frac{\lambda_-}{B(K-1)} \sum_i \sum_{c \ne \hat y_i} \max(0, \bar z^{max}_i - z_{ic} - m)^2 \Bigr]

    over scaled logits z (B, K); the bar stops the gradient. The first hinge acts on the largest logit
    itself, so for CLIP logits (15 to 35) it is always active: ``centred`` takes z minus its row mean
    instead, or raise the margin. Of exactly tied largest logits each counts, as released.

    Attributes:
        margin: m in logit units; published 10.
        alpha: Factor of both hinges; published 0.1.
        positive, negative: lambda_+ and lambda_-; published 1 and 0.1.
        centred: Subtract each row's mean logit before the first hinge; the released code does not.
        with_ce: Contain the cross-entropy; False leaves the pure regulariser.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[12.0, 0.0]]), labels=torch.tensor([0]))
        >>> round(float(ACLS(with_ce=False).loss(out)), 4)
        0.44
    """

    margin: NotNegative = 10.0
    alpha: NotNegative = 0.1
    positive: NotNegative = 1.0
    negative: NotNegative = 0.1
    centred: bool = False
    with_ce: bool = True

    complete: ClassVar[bool] = True
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Park et al., ACLS, ICCV 2023, arXiv 2308.11911; code cvlab-yonsei/ACLS, "
        "calibrate/losses/acls.py (the paper's form was not re-read)."
    )

    @property
    def stands_alone(self) -> bool:
        """True with the cross-entropy in it."""
        return self.with_ce

    @property
    def stops_gradient(self) -> bool:
        """The largest logit of the second hinge is a constant."""
        return self.negative > 0

    def compute(self, outputs: Outputs) -> Terms:
        """The cross-entropy, and the two hinges with weight alpha."""
        logits, labels = logits_and_labels(outputs, self.name)
        largest = logits.max(dim=1, keepdim=True).values
        top = (logits == largest).to(logits.dtype)
        level = logits - logits.mean(dim=1, keepdim=True) if self.centred else logits
        high = (top * relu(level - self.margin).square()).sum(dim=1).mean()
        distance = relu(largest.detach() - logits - self.margin).square()
        low = ((1 - top) * distance).sum(dim=1).mean() / (logits.shape[1] - 1)
        hinges = self.positive * high + self.negative * low
        terms = {"smoothing": Term(hinges, self.alpha)}
        return {"ce": Term(cross_entropy(logits, labels), 1.0), **terms} if self.with_ce else terms
