"""Zero-shot range penalty: adapted logits should stay within the zero-shot model's range."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("zs_penalty")
class ZSPenalty(Objective):
    r"""Hinges on logits above the largest or below the smallest zero-shot logit of the sample.

    .. math::
        L = \frac{1}{BK} \sum_{i,c} \max(0, z_{ic} - u^{max}_i) + \max(0, u^{min}_i - z_{ic})

    over adapted logits z and zero-shot logits u (B, K): a mean over samples and classes, as in the
    code (one summary of the paper writes a sum). 0 where z equals u. Pure regulariser: add ``ce``.

    Attributes:
        weight: Published 10; CalibPrompt's configuration uses 1.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[6.0, 0.0]]), zero_shot_logits=torch.tensor([[5.0, 4.0]]))
        >>> float(ZSPenalty().loss(out))
        2.5
    """

    weight: float = 10.0

    needs: ClassVar[tuple[str, ...]] = ("logits", "zero_shot_logits")
    source: ClassVar[str] = (
        "Murugesan et al., Robust calibration of large vision-language adapters, ECCV 2024, "
        "arXiv 2407.13588; code Bala93/CLIPCalib, adapters_zs_pen.py and coop_constr.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean excess over the zero-shot range."""
        logits = outputs.require("logits", by=self.name)
        reference = outputs.require("zero_shot_logits", by=self.name).detach()
        floor, ceiling = reference.aminmax(dim=1, keepdim=True)
        return relu(logits - ceiling).mean() + relu(floor - logits).mean()
