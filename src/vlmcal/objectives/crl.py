"""CRL: samples that were right more often should be more confident."""

import math
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import log_softmax, relu

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.limits import Divisor
from vlmcal.types.outputs import Outputs

COUNTS = "correctness"


@OBJECTIVES.register("crl")
class CRL(Objective):
    r"""Correctness ranking loss over neighbouring samples of the batch.

    With k the confidence, h the share of earlier epochs in which a sample was right, and j the sample
    after i (the last is paired with the first),

    .. math::
        L = \frac{1}{B} \sum_i \max\bigl(0,\; -g_i (k_i - k_j) + |h_i - h_j| \bigr), \qquad
        g_i = \mathrm{sign}(h_i - h_j)

    where pairs with equal h contribute 0. Published weight 1, on top of cross-entropy. Which samples
    are paired depends on their order in the batch.

    Attributes:
        rank: Confidence k: the largest probability, negative relative entropy, or top-1 minus top-2.
        normalise: ``epochs`` divides the count by the epochs seen so far (the share of right
            answers); ``range`` also subtracts the smallest count of the whole training set from both, as
            the released code does, and reads those counts from the run's memory under "correctness".
        entropy_normaliser: What the entropy is divided by; null means ln K. The released code uses
            2.302585 (ln 10) for any K.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.6, 0.4], [0.9, 0.1]])),
        ...               correctness=torch.tensor([2.0, 1.0]), epoch=2)
        >>> round(float(CRL().loss(out)), 4)
        0.8
    """

    rank: Literal["softmax", "entropy", "margin"] = "softmax"
    normalise: Literal["epochs", "range"] = "epochs"
    entropy_normaliser: Divisor | None = None

    needs: ClassVar[tuple[str, ...]] = ("logits", "correctness")
    minimum_classes: ClassVar[int] = 2
    pairs_samples: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Moon et al., Confidence-aware learning for deep neural networks, ICML 2020, arXiv 2007.01458; "
        "code daintlab/confidence-aware-learning, crl_utils.py, train.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean hinge over cyclic neighbours."""
        score = self._score(outputs.require("logits", by=self.name))
        share = self._share(outputs).to(score)
        difference = share - share.roll(-1)
        sign = difference.sign()
        return relu(sign * (score.roll(-1) - score) + difference.abs()).mean()

    def _score(self, logits: Tensor) -> Tensor:
        log_p = log_softmax(logits, dim=1)
        p = log_p.exp()
        if self.rank == "softmax":
            return p.max(dim=1).values
        if self.rank == "margin":
            best = p.topk(2, dim=1).values
            return best[:, 0] - best[:, 1]
        return (p * log_p).sum(dim=1) / (self.entropy_normaliser or math.log(logits.shape[1]))

    def _share(self, outputs: Outputs) -> Tensor:
        count = outputs.require("correctness", by=self.name).detach()
        if self.normalise == "epochs":
            return count / max(outputs.epoch, 1)
        if COUNTS not in outputs.memory:
            raise SpecError(
                'objective "crl" with normalise: range needs the counts of the whole training set in '
                'the run\'s memory under "correctness"; use normalise: epochs'
            )
        low = outputs.memory[COUNTS].min().to(count)
        return (count - low) / (outputs.epoch - low).clamp_min(1)
