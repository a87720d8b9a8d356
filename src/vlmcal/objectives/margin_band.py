"""TCPT's band variant of the margin term: margins should lie near a target."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import logits_and_labels, margins
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("margin_band")
class MarginBand(Objective):
    r"""Squared distance of margins to a band, plus their variance.

    .. math::
        L = \frac{1}{B} \sum_i \max(0,\; |m_i - \delta| - \epsilon)^2 + \beta\, \mathrm{Var}(m), \qquad
        m_i = z_{i,y_i} - \max_{j \ne y_i} z_{ij}

    over scaled logits z (B, K); the variance divides by B. An ablation of the TCPT code that its
    published results do not use.

    Attributes:
        delta: Centre of the band, in logit units; 1.
        epsilon: Half of its width; 0.2.
        beta: Factor of the variance; 0.01.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[3.2, 0.0]]), labels=torch.tensor([0]))
        >>> round(float(MarginBand().loss(out)), 4)
        4.0
    """

    delta: float = 1.0
    epsilon: NotNegative = 0.2
    beta: NotNegative = 0.01

    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "TCPT, CVPR 2026; code ashshaksharifdeen/TCPT, trainers/regularizers.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean squared excess plus beta times the population variance."""
        margin = margins(*logits_and_labels(outputs, self.name))
        excess = relu((margin - self.delta).abs() - self.epsilon)
        return excess.square().mean() + self.beta * margin.var(correction=0)
