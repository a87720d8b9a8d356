"""Cross-entropy, the base of most other objectives."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("ce")
class CrossEntropy(Objective):
    r"""Mean negative log-likelihood of the true class.

    .. math:: L = -\frac{1}{B} \sum_i \log p_{i,y_i}, \qquad p_i = \mathrm{softmax}(z_i)

    over scaled logits z (B, K) and labels y (B,). Unit: nats.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(2, 4), labels=torch.tensor([0, 3]))
        >>> round(float(CrossEntropy().loss(out)), 4)
        1.3863
    """

    complete: ClassVar[bool] = True
    source: ClassVar[str] = "The loss of CoOp: Zhou et al., IJCV 2022, arXiv 2109.01134."

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean of -log p of the true class."""
        logits = outputs.require("logits", by=self.name)
        return cross_entropy(logits, outputs.require("labels", by=self.name))
