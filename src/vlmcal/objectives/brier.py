"""The Brier score as a training loss."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import indicator, logits_and_labels
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("brier")
class Brier(Objective):
    r"""Squared distance between predicted and one-hot probabilities.

    .. math:: L = \frac{1}{B} \sum_i \sum_c (p_{ic} - 1[y_i = c])^2

    over p = softmax of logits (B, K): summed over classes, mean over samples, in [0, 2]. A proper
    score, so it stands alone; its gradient vanishes where the softmax saturates.

    Example:
        >>> import torch
        >>> float(Brier().loss(Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))))
        0.5
    """

    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Brier, Monthly Weather Review 1950; code by-liu/MbLS, brier_score.py."

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean squared distance to the one-hot label."""
        logits, labels = logits_and_labels(outputs, self.name)
        error = softmax(logits, dim=1) - indicator(labels, logits)
        return error.square().sum(dim=1).mean()
