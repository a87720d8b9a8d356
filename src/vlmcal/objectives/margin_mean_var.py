"""TCPT's margin term: a large mean margin with a small spread."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import logits_and_labels, margins
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("margin_mean_var")
class MarginMeanVar(Objective):
    r"""Mean-variance penalty on the margins of scaled logits.

    .. math::
        m_i = z_{i,y_i} - \max_{j \ne y_i} z_{ij}, \qquad
        L = -\alpha\, \bar m + \beta\, \frac{1}{B} \sum_i (m_i - \bar m)^2

    over logits z (B, K). Margins are in logit units (nats), not cosines; the variance divides by B.
    With B = 1 only the mean term remains. Pure regulariser: add ``ce``.

    Attributes:
        alpha: Reward per unit of mean margin; published 0.1.
        beta: Penalty per unit of variance; published 0.01.

    Example:
        >>> import torch
        >>> z = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]])
        >>> round(float(MarginMeanVar().loss(Outputs(logits=z, labels=torch.tensor([0, 1])))), 4)
        0.1125
    """

    alpha: NotNegative = 0.1
    beta: NotNegative = 0.01

    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "TCPT, CVPR 2026; code ashshaksharifdeen/TCPT, trainers/regularizers.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """-alpha times the mean margin plus beta times its population variance."""
        margin = margins(*logits_and_labels(outputs, self.name))
        return self.beta * margin.var(correction=0) - self.alpha * margin.mean()
