"""ZS-Norm: cross-entropy on logits brought to the zero-shot model's range."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import Share
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("zs_norm")
class ZSNorm(Objective):
    r"""Cross-entropy on adapted logits mapped affinely to each sample's zero-shot range.

    .. math::
        \tilde z_{ic} = (z_{ic} - z^{min}_i)\,
        \frac{u^{max}_i - u^{min}_i}{\max(z^{max}_i - z^{min}_i, \epsilon)} + u^{min}_i, \qquad
        L = \mathrm{CE}(\tilde z, y)

    over adapted logits z and zero-shot logits u (B, K). The extremes of z carry gradient. At test time
    the released code uses z itself.

    Attributes:
        epsilon: Smallest range that is divided by, so that constant rows stay finite; 1e-6 as in
            CalibPrompt. 0 is the authors' released form, which gives NaN for constant rows.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[10.0, 0.0]]), labels=torch.tensor([0]),
        ...               zero_shot_logits=torch.tensor([[5.0, 4.0]]))
        >>> round(float(ZSNorm().loss(out)), 4)
        0.3133
    """

    epsilon: Share = 1e-6

    needs: ClassVar[tuple[str, ...]] = ("logits", "labels", "zero_shot_logits")
    complete: ClassVar[bool] = True
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Murugesan et al., Robust calibration of large vision-language adapters, ECCV 2024, "
        "arXiv 2407.13588; code Bala93/CLIPCalib, adapters_zs_norm.py and coop_zs.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Cross-entropy of the range-matched logits."""
        logits, labels = logits_and_labels(outputs, self.name)
        reference = outputs.require("zero_shot_logits", by=self.name).detach()
        low, high = logits.amin(dim=1, keepdim=True), logits.amax(dim=1, keepdim=True)
        floor, ceiling = reference.aminmax(dim=1, keepdim=True)
        share = (logits - low) / (high - low).clamp_min(self.epsilon)
        return cross_entropy(share * (ceiling - floor) + floor, labels)
