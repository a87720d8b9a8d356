"""MMCE: maximum mean calibration error, a kernel test of confidence against correctness."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import confidence_and_correctness, logits_and_labels
from vlmcal.types.limits import Divisor
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("mmce")
class MMCE(Objective):
    r"""Maximum mean calibration error with a Laplacian kernel on confidence.

    With confidences r of the m right samples P, q of the n wrong ones Q and k(r, q) = exp(-|r - q| / w),

    .. math::
        L^2 = \frac{1}{m^2} \sum_{P \times P} (1-r)(1-r') k + \frac{1}{n^2} \sum_{Q \times Q} q q' k
        - \frac{2}{mn} \sum_{P \times Q} (1-r) q k

    for ``weighted``; for ``unweighted`` the loss is the square itself, over all pairs,

    .. math:: L = \frac{1}{B^2} \sum_{i,j} (a_i - c_i)(a_j - c_j) k(c_i, c_j)

    with correctness a and confidence c, as in the released code, which takes no root. The weighted loss
    is sqrt(L^2 + 1e-10), and 0 when the batch has no right or no wrong sample. As each side is averaged
    over its own samples, it does not vanish for a calibrated batch; the unweighted form does.

    Attributes:
        weight: Published 2 (weighted; CIFAR-10 script of the focal paper, CalibPrompt), 4 (MDCA script)
            and 1 (unweighted; MbLS configuration).
        form: Estimator.
        width: w of the kernel; published 0.4.
        published_normalisation: The released weighted code takes a mean over pairs and then divides by
            the number of pairs again, which makes values smaller by about the square of the batch
            size; False is the paper's definition.

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25]])),
        ...               labels=torch.tensor([0, 1]))
        >>> round(float(MMCE().loss(out)), 4)
        0.5
    """

    weight: float = 2.0
    form: Literal["weighted", "unweighted"] = "weighted"
    width: Divisor = 0.4
    published_normalisation: bool = False

    source: ClassVar[str] = (
        "Kumar, Sarawagi, Jain, Trainable calibration measures for neural networks from kernel mean "
        "embeddings, ICML 2018; code torrvision/focal_calibration, Losses/mmce.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """The weighted error, or the square of the unweighted one."""
        logits, labels = logits_and_labels(outputs, self.name)
        confidence, correct = confidence_and_correctness(softmax(logits, dim=1), labels)
        kernel = torch.exp(-(confidence[:, None] - confidence[None]).abs() / self.width)
        if self.form == "unweighted":
            error = correct - confidence
            return (error[:, None] * error[None] * kernel).mean()
        right, wrong = correct.sum(), (1 - correct).sum()
        sides = correct * (1 - confidence), (1 - correct) * confidence
        squared = (
            self._mean(sides[0], sides[0], kernel, right * right)
            + self._mean(sides[1], sides[1], kernel, wrong * wrong)
            - 2 * self._mean(sides[0], sides[1], kernel, right * wrong)
        )
        root = (squared.clamp_min(0) + 1e-10).sqrt()
        return torch.where((right > 0) & (wrong > 0), root, 0.0 * root)

    def _mean(self, left: Tensor, right: Tensor, kernel: Tensor, pairs: Tensor) -> Tensor:
        mean = (left[:, None] * right[None] * kernel).sum() / pairs.clamp_min(1)
        return mean / (pairs + 1e-5) if self.published_normalisation else mean
