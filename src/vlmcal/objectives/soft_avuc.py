"""Soft AvUC: accuracy versus uncertainty with a smooth threshold."""

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.avuc import smoothed_entropy
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import confidence_and_correctness, logits_and_labels
from vlmcal.types.limits import Divisor
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("soft_avuc")
class SoftAvUC(Objective):
    r"""AvUC with the hard threshold replaced by a sigmoid of the relative entropy.

    .. math::
        t(e) = \sigma\!\Bigl( \frac{1}{T} \log \frac{e_r (1 - \kappa)}{(1 - e_r) \kappa} \Bigr), \qquad
        e_r = e / \ln K

    .. math::
        n_{AC} = \sum_{right} (1-t)(1-\tanh e), \; n_{AU} = \sum_{right} t \tanh e, \;
        n_{IC} = \sum_{wrong} (1-t)(1-\tanh e), \; n_{IU} = \sum_{wrong} t \tanh e, \qquad
        L = \log\Bigl(1 + \frac{n_{AU} + n_{IC}}{\max(n_{AC} + n_{IU}, 10^{-5})}\Bigr)

    over the entropy e (nats) of softmax probabilities (B, K). At e = kappa ln K the weight t is one half.

    Attributes:
        temperature: T; smaller is closer to a hard threshold. 1 here: no tuned value was read.
        kappa: Relative entropy of the threshold, in (0, 1); 0.5 here.

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.89, 0.11]])), labels=torch.tensor([0]))
        >>> round(float(SoftAvUC().loss(out)), 2)
        0.41
    """

    temperature: Divisor = 1.0
    kappa: Annotated[float, Field(ge=1e-6, le=1 - 1e-6)] = 0.5

    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Karandikar et al., Soft calibration objectives for neural networks, NeurIPS 2021, "
        "arXiv 2108.00106; code google/uncertainty-baselines, caltrain/secondary_losses.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """The soft AvUC loss."""
        logits, labels = logits_and_labels(outputs, self.name)
        return soft_avuc(softmax(logits, dim=1), labels, self.temperature, self.kappa)


def soft_avuc(probabilities: Tensor, labels: Tensor, temperature: float, kappa: float) -> Tensor:
    """Soft AvUC of probabilities (B, K) and labels (B,)."""
    _, correct = confidence_and_correctness(probabilities, labels)
    uncertainty = smoothed_entropy(probabilities)
    relative = uncertainty / math.log(probabilities.shape[1])
    relative = relative.clamp(0, 1 - torch.finfo(relative.dtype).eps)
    odds = torch.log(relative) - torch.log1p(-relative) - math.log(kappa / (1 - kappa))
    weight, doubt = torch.sigmoid(odds / temperature), torch.tanh(uncertainty)
    certain, uncertain = (1 - weight) * (1 - doubt), weight * doubt
    good = (correct * certain + (1 - correct) * uncertain).sum()
    bad = (correct * uncertain + (1 - correct) * certain).sum()
    return torch.log1p(bad / good.clamp_min(1e-5))
