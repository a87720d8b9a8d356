"""SMAC: MDCA against smoothed label frequencies."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import indicator, logits_and_labels
from vlmcal.types.limits import Share
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("smac")
class SMAC(Objective):
    r"""Smoothed multi-class accuracy against confidence.

    .. math::
        r_c = \frac{1}{B} \sum_i 1[y_i = c], \qquad
        \tilde r_c = (1 - \alpha) r_c + (1 - r_c) \frac{\alpha}{K - 1}, \qquad
        L = \frac{1}{K} \sum_c | \bar p_c - \tilde r_c |

    over the mean probabilities of logits (B, K). "Accuracy" is the label frequency. alpha = 0 is MDCA.
    CalibPrompt shares alpha with its label smoothing and uses weight 1.

    Attributes:
        alpha: Smoothing; published 0.01 to 0.2 by backbone and data set (preset ``calibprompt``), 0.05
            in the reference's configuration.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(2, 2), labels=torch.tensor([0, 0]))
        >>> round(float(SMAC(alpha=0.2).loss(out)), 4)
        0.3
    """

    alpha: Share = 0.05

    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "CalibPrompt, BMVC 2025, arXiv 2509.15226; code iabh1shekbasu/CalibPrompt, losses.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean over classes of |mean probability - smoothed label frequency|."""
        logits, labels = logits_and_labels(outputs, self.name)
        frequency = indicator(labels, logits).mean(dim=0)
        spread = self.alpha / (logits.shape[1] - 1)
        target = (1 - self.alpha) * frequency + (1 - frequency) * spread
        return (softmax(logits, dim=1).mean(dim=0) - target).abs().mean()
