"""DCA: the batch's mean confidence should equal its accuracy."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import confidence_and_correctness, logits_and_labels
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("dca")
class DCA(Objective):
    r"""Difference between confidence and accuracy of a batch.

    .. math:: L = \Bigl| \frac{1}{B} \sum_i \max_c p_{ic} - \frac{1}{B} \sum_i 1[\hat y_i = y_i] \Bigr|

    over p = softmax of logits (B, K). Gradient flows through the confidence only. Published weight 1
    (CIFAR-10 script; CalibPrompt 1). Nearly degenerate for batches of a few samples.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(2, 4), labels=torch.tensor([0, 3]))
        >>> float(DCA().loss(out))
        0.25
    """

    source: ClassVar[str] = (
        "Liang et al., Improved trainable calibration method for neural networks on medical imaging "
        "classification, BMVC 2020, arXiv 2009.04057; code mdca-loss/MDCA-Calibration, solvers/loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """|mean confidence - accuracy|."""
        logits, labels = logits_and_labels(outputs, self.name)
        confidence, correct = confidence_and_correctness(softmax(logits, dim=1), labels)
        return (confidence.mean() - correct.mean()).abs()
