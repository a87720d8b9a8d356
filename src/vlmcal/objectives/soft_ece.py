"""Soft-binned calibration error: every sample belongs to every bin a little."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import confidence_and_correctness, logits_and_labels
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("soft_ece")
class SoftECE(Objective):
    r"""Soft-binned expected calibration error (SB-ECE) of the top label.

    With M centres xi_b = (b - 1/2) / M and memberships g_ib = softmax_b(-(c_i - xi_b)^2 / T),

    .. math:: L = \sqrt{ \sum_b \frac{S_b}{\sum_b S_b} (C_b - A_b)^2 }, \qquad S_b = \sum_i g_{ib}

    where A_b and C_b are g-weighted accuracy and confidence of softmax probabilities (B, K).
    ``label_binned`` instead is the mean over samples of sum_b g_ib (A_b - c_i)^2 with centres over [1/K, 1].

    Attributes:
        bins: M; 15 here.
        temperature: T; 0.01 here (no default in the released file).
        decay: If given, T = 1 / (ln(decay) M^2) replaces ``temperature``.
        form: Which of the two losses.
        smallest_mass: The S_b below which a bin's means are taken over this much instead; the released code
            uses 1e-5, which draws the gaps of nearly empty bins towards 0.

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.75, 0.25]])), labels=torch.tensor([0]))
        >>> round(float(SoftECE().loss(out)), 4)
        0.25
    """

    bins: Annotated[int, Field(ge=1, le=10_000)] = 15
    temperature: Annotated[float, Field(ge=1e-9)] = 0.01
    decay: Annotated[float, Field(ge=1 + 1e-6)] | None = None
    form: Literal["confidence_binned", "label_binned"] = "confidence_binned"
    smallest_mass: Annotated[float, Field(ge=1e-30, le=1.0)] = 1e-30

    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Karandikar et al., Soft calibration objectives for neural networks, NeurIPS 2021, "
        "arXiv 2108.00106; code google/uncertainty-baselines, caltrain/secondary_losses.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """The soft-binned error of the chosen form."""
        logits, labels = logits_and_labels(outputs, self.name)
        confidence, correct = confidence_and_correctness(softmax(logits, dim=1), labels)
        if self.form == "label_binned":
            return label_binned(
                confidence, correct, logits.shape[1], self.bins, self._temperature()
            )
        return soft_binned_ece(
            confidence, correct, self.bins, self._temperature(), self.smallest_mass
        )

    def _temperature(self) -> float:
        return self.temperature if self.decay is None else decayed(self.decay, self.bins)


def decayed(decay: float, bins: int) -> float:
    """Temperature at which a neighbouring bin's membership is smaller by the factor ``decay``.

    Example:
        >>> round(decayed(10, 10), 6)
        0.004343
    """
    return 1 / (math.log(decay) * bins**2)


def soft_binned_ece(
    confidence: Tensor, correct: Tensor, bins: int, temperature: float, smallest_mass: float = 1e-30
) -> Tensor:
    """SB-ECE of confidences (B,) in [0, 1] and correctness (B,), 0 or 1.

    Example:
        >>> rare = torch.tensor([0.5]), torch.tensor([1.0]), 2, 0.05  # half of the row in each bin
        >>> round(float(soft_binned_ece(*rare)), 4), round(float(soft_binned_ece(*rare, 1.0)), 4)
        (0.5, 0.25)
    """
    centres = (torch.arange(bins).to(confidence) + 0.5) / bins
    member = softmax(-(confidence[:, None] - centres).square() / temperature, dim=1)
    size = member.sum(dim=0)
    gap = (member * (confidence - correct)[:, None]).sum(dim=0) / size.clamp_min(smallest_mass)
    squared = (size / size.sum() * gap.square()).sum()
    return (squared + torch.finfo(squared.dtype).tiny).sqrt()


def label_binned(
    confidence: Tensor, correct: Tensor, classes: int, bins: int, temperature: float
) -> Tensor:
    """Mean over samples of the membership-weighted squared (bin accuracy - confidence)."""
    centres = 1 / classes + (1 - 1 / classes) * (torch.arange(bins).to(confidence) + 0.5) / bins
    member = softmax(-(confidence[:, None] - centres).square() / temperature, dim=1)
    member = (1 - 1e-5) * member + 1e-5 / bins
    accuracy = (member * correct[:, None]).sum(dim=0) / member.sum(dim=0)
    return (member * (accuracy - confidence[:, None]).square()).sum(dim=1).mean()
