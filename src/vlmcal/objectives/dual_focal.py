"""Dual focal loss: the gap to the next lower class sets the weight."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import Reduction, logits_and_labels, reduced
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("dual_focal")
class DualFocal(Objective):
    r"""Focal loss whose factor also looks at the largest probability below the true class.

    .. math::
        L = -\frac{1}{B} \sum_i (1 - p_{i,y_i} + p_{i,j})^{\gamma} \log p_{i,y_i}, \qquad
        p_{i,j} = \max \{ p_{ic} : p_{ic} < p_{i,y_i} \}

    over p = softmax of logits (B, K); p_j is 0 when no class lies strictly below the true one. It is
    not the runner-up where the sample is misclassified.

    Attributes:
        gamma: Power. The released file's default is 0, which is cross-entropy, and no tuned value was
            read in the paper; 5 is this package's choice.
        reduction: ``mean`` over the batch, or ``sum``; the released code offers both.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.5, 0.3, 0.2]])), labels=torch.tensor([0]))
        >>> round(float(DualFocal(gamma=1).loss(out)), 4)
        0.5545
    """

    gamma: NotNegative = 5.0
    reduction: Reduction = "mean"

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Tao et al., Dual focal loss for calibration, ICML 2023, arXiv 2305.13665; "
        "code Linwei94/DualFocalLoss, dual_focal_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean or sum of the dual focal loss."""
        logits, labels = logits_and_labels(outputs, self.name)
        log_p = log_softmax(logits, dim=1)
        p = log_p.exp()
        true_log_p = log_p.gather(1, labels[:, None])
        below = torch.where(p < true_log_p.exp(), p, 0).max(dim=1).values
        true_log_p = true_log_p.squeeze(1)
        gap = (below - torch.expm1(true_log_p)).clamp_min(torch.finfo(p.dtype).tiny)
        return reduced(-(gap**self.gamma) * true_log_p, self.reduction)
