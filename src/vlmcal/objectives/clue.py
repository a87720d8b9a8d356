"""CLUE: the model's uncertainty should equal its expected loss."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import Share
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("clue")
class CLUE(Objective):
    r"""Cross-entropy mixed with its squared distance to the predicted uncertainty.

    .. math:: L = \frac{1}{B} \sum_i \alpha\, e_i + (1 - \alpha)(e_i - u_i)^2

    with e the sample's cross-entropy and u its uncertainty, both in nats. CLUE takes u from stochastic
    forward passes; for a deterministic head the entropy of the prediction from logits (B, K) stands in.
    No official code was found; the formula is the one third parties give as the paper's Eq. 8.

    Attributes:
        alpha: Share of the task loss, in [0, 1]; 0.5.
        detach: Treat u as a constant, so that the second term moves only e towards u.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> round(float(CLUE().loss(out)), 4)
        0.3466
    """

    alpha: Share = 0.5
    detach: bool = True

    complete: ClassVar[bool] = True
    source: ClassVar[str] = "CLUE, arXiv 2505.22803; after a secondary source, no official code."

    @property
    def stops_gradient(self) -> bool:
        """With a detached uncertainty."""
        return self.detach

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean of alpha e + (1 - alpha)(e - u)^2."""
        logits, labels = logits_and_labels(outputs, self.name)
        log_p = log_softmax(logits, dim=1)
        error = -log_p.gather(1, labels[:, None]).squeeze(1)
        uncertainty = -(log_p.exp() * log_p).sum(dim=1)
        if self.detach:
            uncertainty = uncertainty.detach()
        return (self.alpha * error + (1 - self.alpha) * (error - uncertainty).square()).mean()
