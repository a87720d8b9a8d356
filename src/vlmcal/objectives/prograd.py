"""ProGrad: the task gradient may not work against the zero-shot model's knowledge."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from vlmcal.objectives.base import OBJECTIVES, GradientCombiner, Objective, Term, Terms
from vlmcal.objectives.combiners import ProjectionCombiner
from vlmcal.types.limits import Divisor, NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("prograd")
class ProGrad(Objective):
    r"""Prompt-aligned gradient: a distillation term that steers the gradient of the other terms.

    .. math::
        L = -\frac{T^2}{B} \sum_{i,c} \mathrm{softmax}(u_i/T)_c \log \mathrm{softmax}(z_i/T)_c

    over adapted logits z and zero-shot logits u (B, K): a soft cross-entropy, which leaves out the
    teacher's entropy and so has the gradient h of the KL divergence. h is never added; per parameter
    tensor, with g the gradient of all other terms, g becomes g - lambda (g . h^) h^ where g . h < 0
    (:class:`~vlmcal.objectives.combiners.ProjectionCombiner`). Add ``ce``.

    Attributes:
        temperature: T; published 1.
        strength: lambda; published 1 (0.8 for Flowers, DTD, EuroSAT at 8 and 16 shots).
        combine: ``project`` as published; ``sum`` adds the term to the loss, as in TCPT's experiments.

    Example:
        >>> import torch
        >>> out = Outputs(logits=torch.zeros(1, 2), zero_shot_logits=torch.zeros(1, 2))
        >>> round(float(ProGrad().loss(out)), 4)
        0.6931
    """

    temperature: Divisor = 1.0
    strength: NotNegative = 1.0
    combine: Literal["project", "sum"] = "project"

    needs: ClassVar[tuple[str, ...]] = ("logits", "zero_shot_logits")
    source: ClassVar[str] = (
        "Zhu et al., Prompt-aligned gradient for prompt tuning, ICCV 2023, arXiv 2205.14865; "
        "code BeierZhu/Prompt-align, trainers/prograd.py."
    )

    def compute(self, outputs: Outputs) -> Terms:
        """The distillation term, a guide unless it is summed."""
        logits = outputs.require("logits", by=self.name)
        teacher = outputs.require("zero_shot_logits", by=self.name).detach()
        distilled = soft_cross_entropy(logits / self.temperature, teacher / self.temperature)
        value = distilled * self.temperature**2
        return {self.name: Term(value, 1.0, guide=self.combine == "project")}

    def combiner(self) -> GradientCombiner | None:
        """Gradient projection, or plain summing."""
        return ProjectionCombiner(self.strength) if self.combine == "project" else None


def soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of -sum softmax(teacher) log softmax(logits), both (B, K), in nats."""
    return -(softmax(teacher, dim=1) * log_softmax(logits, dim=1)).sum(dim=1).mean()
