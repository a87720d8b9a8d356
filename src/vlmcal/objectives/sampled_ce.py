"""Cross-entropy of each sampled prompt, averaged: the data term of the evidence lower bound."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("sampled_ce")
class SampledCE(Objective):
    r"""Mean over samples of the cross-entropy, where ``ce`` is that of the averaged probabilities.

    .. math:: L = -\frac{1}{S B} \sum_{s,i} \log \mathrm{softmax}(z_{is})_{y_i}

    over logits z (B, S, K) of S prompts. By Jensen's inequality it is at least ``ce`` of the same learner.

    Example:
        >>> import torch
        >>> z = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
        >>> round(float(SampledCE().loss(Outputs(sample_logits=z, labels=torch.tensor([0])))), 4)
        0.6931
    """

    needs: ClassVar[tuple[str, ...]] = ("sample_logits", "labels")
    complete: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Huang, Park and Simeone, Calibration-aware Bayesian learning, arXiv 2305.07504."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean over samples and rows."""
        scores = outputs.require("sample_logits", by=self.name)
        labels = outputs.require("labels", by=self.name)
        each = labels[:, None].expand(scores.shape[:2])
        return cross_entropy(scores.transpose(1, 2), each)
