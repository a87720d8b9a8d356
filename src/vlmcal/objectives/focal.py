"""Focal loss: less weight for samples that are already right."""

from typing import ClassVar

import torch
from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import (
    Reduction,
    logits_and_labels,
    reduced,
    true_log_probability,
)
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("focal")
class Focal(Objective):
    r"""Focal loss.

    .. math:: L = -\frac{1}{B} \sum_i (1 - p_{i,y_i})^{\gamma} \log p_{i,y_i}

    over p = softmax of logits (B, K). Not a proper score: its minimum is underconfident.

    Attributes:
        gamma: Focusing power; published 3 for calibration, 1 with MDCA.
        reduction: ``mean`` over the batch; ``sum`` is what the released calibration code does.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> round(float(Focal(gamma=1).loss(out)), 4)
        0.3466
    """

    gamma: NotNegative = 3.0
    reduction: Reduction = "mean"

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Lin et al., ICCV 2017, arXiv 1708.02002; Mukhoti et al., NeurIPS 2020, arXiv 2002.09437; "
        "code torrvision/focal_calibration, Losses/focal_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean or sum of the focal loss."""
        log_p = true_log_probability(*logits_and_labels(outputs, self.name))
        return reduced(-focal_factor(log_p, self.gamma) * log_p, self.reduction)


def focal_factor(log_p: Tensor, gamma: float | Tensor) -> Tensor:
    """(1 - p)^gamma from log p, accurate and with a finite gradient where p rounds to 1.

    Example:
        >>> float(focal_factor(torch.tensor(0.5).log(), 2.0))
        0.25
    """
    tiny = torch.finfo(log_p.dtype).tiny
    return (-torch.expm1(log_p)).clamp_min(tiny) ** gamma
