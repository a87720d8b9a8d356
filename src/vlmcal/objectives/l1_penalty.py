"""L1 distance of the prediction from the uniform distribution."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("l1_penalty")
class L1Penalty(Objective):
    r"""Cross-entropy plus the L1 distance between the prediction and the uniform distribution.

    .. math:: L = \mathrm{CE} + \alpha\, \frac{1}{B} \sum_{i,c} \Bigl| p_{ic} - \frac{1}{K} \Bigr|

    over p = softmax of logits (B, K).

    Attributes:
        alpha: Factor of the distance; 0.1, as for the family's other penalties (its own published
            value was not read).
        with_ce: Contain the cross-entropy; False leaves the pure regulariser.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.75, 0.25]])), labels=torch.tensor([0]))
        >>> round(float(L1Penalty(with_ce=False, alpha=1).loss(out)), 4)
        0.5
    """

    alpha: NotNegative = 0.1
    with_ce: bool = True

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "MbLS baselines, CVPR 2022, arXiv 2111.15430; code by-liu/MbLS, penalty_l1.py."
    )

    @property
    def stands_alone(self) -> bool:
        """True with the cross-entropy in it."""
        return self.with_ce

    def compute(self, outputs: Outputs) -> Terms:
        """The cross-entropy, and the L1 distance with weight alpha."""
        logits, labels = logits_and_labels(outputs, self.name)
        distance: Tensor = (softmax(logits, dim=1) - 1 / logits.shape[1]).abs().sum(dim=1).mean()
        terms = {"l1": Term(distance, self.alpha)}
        return {"ce": Term(cross_entropy(logits, labels), 1.0), **terms} if self.with_ce else terms
