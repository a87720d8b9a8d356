"""Focal loss with a sample-dependent power (FLSD-53)."""

from typing import ClassVar

import torch
from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.focal import focal_factor
from vlmcal.objectives.predictions import (
    Reduction,
    logits_and_labels,
    reduced,
    true_log_probability,
)
from vlmcal.types.limits import NotNegative, Share
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("flsd")
class FLSD(Objective):
    r"""Focal loss whose power is larger for samples with a small true-class probability.

    .. math::
        L = -\frac{1}{B} \sum_i (1 - p_{i,y_i})^{\gamma_i} \log p_{i,y_i}, \qquad
        \gamma_i = 5 \text{ if } p_{i,y_i} < 0.2 \text{ else } 3

    over p = softmax of logits (B, K).

    Attributes:
        gamma_low: Power below ``switch``; published 5.
        gamma_high: Power from ``switch`` on; published 3.
        switch: True-class probability at which the power changes; published 0.2.
        reduction: ``mean`` over the batch; ``sum`` is what the released code does.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> round(float(FLSD().loss(out)), 4)
        0.0866
    """

    gamma_low: NotNegative = 5.0
    gamma_high: NotNegative = 3.0
    switch: Share = 0.2
    reduction: Reduction = "mean"

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Mukhoti et al., NeurIPS 2020, arXiv 2002.09437; code torrvision/focal_calibration, "
        "Losses/focal_loss_adaptive_gamma.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean or sum of the focal loss with the sample's power."""
        log_p = true_log_probability(*logits_and_labels(outputs, self.name))
        low = log_p.detach().exp() < self.switch
        gamma = torch.where(low, self.gamma_low, self.gamma_high).to(log_p.dtype)
        return reduced(-focal_factor(log_p, gamma) * log_p, self.reduction)
