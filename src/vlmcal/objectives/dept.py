"""DePT's second loss: a linear head learns from image features and from the text features of the labels."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("dept")
class DePT(Objective):
    r"""Cross-entropy of the linear head of the method ``dept``.

    .. math:: L = -\frac{1}{R} \sum_r \log \mathrm{softmax}(h_r)_{y_r}

    over head logits h (R, K) with labels y (R,); the method gives R = 2B rows, for each sample the text
    feature of its label and its image feature. Published with weight 0.7 beside 0.3 times ``ce``.

    Attributes:
        weight: Published 0.7.

    Example:
        >>> import torch
        >>> out = Outputs(head_logits=torch.zeros(2, 4), head_labels=torch.tensor([0, 3]))
        >>> round(float(DePT().loss(out)), 4)
        1.3863
    """

    weight: float = 0.7

    needs: ClassVar[tuple[str, ...]] = ("head_logits", "head_labels")
    source: ClassVar[str] = (
        "Zhang et al., DePT: decoupled prompt tuning, CVPR 2024, arXiv 2309.07439; code Koorye/DePT."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean cross-entropy over the head's rows."""
        logits = outputs.require("head_logits", by=self.name)
        return cross_entropy(logits, outputs.require("head_labels", by=self.name))
