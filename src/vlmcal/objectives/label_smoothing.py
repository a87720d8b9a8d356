"""Label smoothing in its two published forms."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import log_softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import logits_and_labels
from vlmcal.types.limits import Share
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("label_smoothing")
class LabelSmoothing(Objective):
    r"""Cross-entropy against a smoothed target.

    .. math::
        \text{all:}\quad q = (1 - \alpha)\, e_y + \alpha / K, \qquad
        \text{others:}\quad q_y = 1 - \alpha,\; q_{c \ne y} = \frac{\alpha}{K - 1}, \qquad
        L = -\frac{1}{B} \sum_{i,c} q_{ic} \log p_{ic}

    over logits z (B, K). ``others`` with alpha' = alpha (K - 1) / K equals ``all`` with alpha.

    Attributes:
        alpha: Smoothing in [0, 1]; published 0.05 for ``all`` (MbLS), 0.1 for ``others`` (MDCA scripts),
            0.01 to 0.2 by data set in CalibPrompt.
        form: ``all`` spreads alpha over all K classes, ``others`` over the K - 1 wrong ones.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.tensor([[2.0, 0.0]]), labels=torch.tensor([0]))
        >>> round(float(LabelSmoothing(alpha=0.1).loss(out)), 4)
        0.2269
    """

    alpha: Share = 0.05
    form: Literal["all", "others"] = "all"

    complete: ClassVar[bool] = True
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Szegedy et al., CVPR 2016, arXiv 1512.00567; all: code by-liu/MbLS, label_smoothing.py; "
        "others: code mdca-loss/MDCA-Calibration, solvers/loss.py, and CalibPrompt."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean cross-entropy against the smoothed target."""
        logits, labels = logits_and_labels(outputs, self.name)
        log_p = log_softmax(logits, dim=1)
        classes = logits.shape[1]
        alpha = self.alpha if self.form == "all" else self.alpha * classes / (classes - 1)
        true = log_p.gather(1, labels[:, None]).mean()
        return -(1 - alpha) * true - alpha * log_p.mean()
