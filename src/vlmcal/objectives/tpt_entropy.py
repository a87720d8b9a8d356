"""TPT: confident views of one image should agree."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.limits import Share, Whole
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("tpt_entropy")
class TPTEntropy(Objective):
    r"""Entropy of the mean prediction over the most confident views, for test-time tuning.

    .. math:: L = -\sum_c \bar p_c \log \bar p_c, \qquad \bar p = \frac{1}{|S|} \sum_{v \in S} p_v

    over logits (V, K) of V views of one image; S are the floor(V p) views of lowest entropy. Unit:
    nats. No labels; not a likelihood, so it cannot stand alone in training.

    Attributes:
        share: p, the share of views kept; published 0.1 of 64.
        minimum_views: Views that are always kept. The released code has 0: with fewer than 10 views at
            p = 0.1 it keeps none and the loss is NaN.

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]])))
        >>> round(float(TPTEntropy(share=0.5).loss(out)), 4)
        0.3251
    """

    share: Share = 0.1
    minimum_views: Whole = 1

    needs: ClassVar[tuple[str, ...]] = ("logits",)
    source: ClassVar[str] = (
        "Shu et al., Test-time prompt tuning, NeurIPS 2022, arXiv 2209.07511; code azshue/TPT."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Entropy of the mean probability of the selected views."""
        logits = outputs.require("logits", by=self.name)
        return mean_entropy(logits[confident_views(logits, self.share, self.minimum_views)])


def confident_views(logits: Tensor, share: float, minimum: int = 1) -> Tensor:
    """Indices of the floor(V * share) views of lowest entropy, ascending, at least ``minimum``.

    Args:
        logits: (V, K).
        share: In [0, 1].
        minimum: Smallest number of views; at most V are kept.

    Example:
        >>> confident_views(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), 0.1)
        tensor([1])
    """
    log_p = log_softmax(logits.detach(), dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1)
    kept = min(max(int(len(logits) * share), minimum), len(logits))
    return torch.argsort(entropy, stable=True)[:kept]


def mean_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the mean softmax over rows of logits (V, K); NaN for no rows."""
    log_p = log_softmax(logits, dim=1)
    if not len(log_p):
        return logits.sum() * math.nan
    log_mean = log_p.logsumexp(dim=0) - math.log(len(log_p))
    return -(log_mean.exp() * log_mean).sum()
