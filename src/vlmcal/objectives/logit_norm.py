"""LogitNorm: cross-entropy on logits of constant length."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import lengths, logits_and_labels
from vlmcal.types.limits import Divisor
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("logit_norm")
class LogitNorm(Objective):
    r"""Cross-entropy on normalised logits.

    .. math:: L = \mathrm{CE}\!\left( \frac{z_i}{T\,(\lVert z_i \rVert_2 + 10^{-7})}, y_i \right)

    over logits z (B, K). Predictions still use z itself.

    Attributes:
        temperature: T; 1 in CalibPrompt, 0.04 for CIFAR-10 in the LogitNorm paper.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[30.0, 40.0]]), labels=torch.tensor([1]))
        >>> round(float(LogitNorm().loss(out)), 4)
        0.5981
    """

    temperature: Divisor = 1.0

    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Wei et al., Mitigating neural network overconfidence with logit normalization, ICML 2022, "
        "arXiv 2205.09310; code iabh1shekbasu/CalibPrompt, losses.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Cross-entropy of the normalised logits."""
        logits, labels = logits_and_labels(outputs, self.name)
        length = lengths(logits, keepdim=True) + 1e-7
        return cross_entropy(logits / length / self.temperature, labels)
