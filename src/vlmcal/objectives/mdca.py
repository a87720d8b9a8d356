"""MDCA: per class, the mean probability should equal the label frequency of the batch."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import indicator, logits_and_labels
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("mdca")
class MDCA(Objective):
    r"""Multi-class difference between confidence and accuracy.

    .. math:: L = \frac{1}{K} \sum_c \Bigl| \frac{1}{B} \sum_i p_{ic} - \frac{1}{B} \sum_i 1[y_i = c] \Bigr|

    over p = softmax of logits (B, K); absent classes count with frequency 0. Published weight 1, on top
    of cross-entropy, focal loss with gamma 1 or label smoothing 0.1 (form ``others``).

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(2, 2), labels=torch.tensor([0, 0]))
        >>> float(MDCA().loss(out))
        0.5
    """

    source: ClassVar[str] = (
        "Hebbalaguppe et al., A stitch in time saves nine, CVPR 2022, arXiv 2203.13834; "
        "code mdca-loss/MDCA-Calibration, solvers/loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean over classes of |mean probability - label frequency|."""
        logits, labels = logits_and_labels(outputs, self.name)
        frequency = indicator(labels, logits).mean(dim=0)
        return (softmax(logits, dim=1).mean(dim=0) - frequency).abs().mean()
