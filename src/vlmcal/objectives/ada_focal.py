"""AdaFocal: each confidence bin's focal power follows its calibration gap on a held-out split."""

from collections.abc import Mapping, MutableMapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.focal import focal_factor
from vlmcal.objectives.predictions import (
    HELD_OUT,
    Reduction,
    confidence_and_correctness,
    logits_and_labels,
    reduced,
    true_log_probability,
)
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs

GAMMAS, EDGES = "ada_focal.gammas", "ada_focal.edges"


@OBJECTIVES.register("ada_focal")
class AdaFocal(Objective):
    r"""Focal loss with one power per confidence bin, updated from validation after every epoch.

    A sample takes the power g of the bin that its true-class probability p falls into:

    .. math::
        L = -(1 - p)^{g} \log p \;\; (g > 0), \qquad L = -(1 + p)^{|g|} \log p \;\; (g < 0)

    After an epoch, with the gap E_b = mean confidence - accuracy of bin b on validation,

    .. math:: g_b \leftarrow g_b\, e^{+\lambda E_b} \;(g_b > 0), \qquad g_b\, e^{-\lambda E_b} \;(g_b < 0)

    a power whose size falls below ``switch`` changes sign and becomes -/+ ``switch``, and all are
    clipped. Bins are equally wide in the first epoch, then of equal mass on validation; a bin without
    validation samples keeps its power. Needs a validation split; powers and edges live in the run's
    memory and in checkpoints.

    Attributes:
        bins: Number of bins; published 15.
        gamma: Power at the start; published 1.
        rate: lambda; published 1.
        switch: Size at which the sign changes; published 0.2.
        gamma_min, gamma_max: Limits; published -2 and 20.
        reduction: ``mean`` over the batch; ``sum`` is what the released code does.

    Example:
        >>> out = Outputs(logits=torch.zeros(1, 2), labels=torch.tensor([0]))
        >>> round(float(AdaFocal().loss(out)), 4)
        0.3466
    """

    bins: Annotated[int, Field(ge=1, le=10_000)] = 15
    gamma: float = 1.0
    rate: NotNegative = 1.0
    switch: NotNegative = 0.2
    gamma_min: Annotated[float, Field(le=0)] = -2.0
    gamma_max: NotNegative = 20.0
    reduction: Reduction = "mean"

    needs: ClassVar[tuple[str, ...]] = HELD_OUT
    complete: ClassVar[bool] = True
    stateful: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Ghosh et al., AdaFocal, NeurIPS 2022, arXiv 2211.11838; code 3mcloud/adafocal, "
        "losses/adafocal.py, utils/metrics.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean or sum of the loss with each sample's power."""
        log_p = true_log_probability(*logits_and_labels(outputs, self.name))
        gammas, edges = self._state(outputs.memory, log_p)
        gamma = gammas[_bin(log_p.detach().exp(), edges)]
        focal = focal_factor(log_p, gamma.clamp_min(0))
        inverse = (1 + log_p.exp()) ** (-gamma).clamp_min(0)
        return reduced(-torch.where(gamma >= 0, focal, inverse) * log_p, self.reduction)

    def on_epoch_end(self, outputs: Outputs, memory: MutableMapping[str, Tensor]) -> None:
        """Set new bin edges and powers from the validation split."""
        logits = outputs.require("validation_logits", by=self.name).detach()
        labels = outputs.require("validation_labels", by=self.name)
        wide = torch.promote_types(logits.dtype, torch.float32)
        confidence, correct = confidence_and_correctness(softmax(logits.to(wide), dim=1), labels)
        gammas, _ = self._state(memory, confidence)
        shares = torch.linspace(0, 1, self.bins + 1, dtype=wide, device=logits.device)
        edges = torch.quantile(confidence, shares)[1:-1]
        index = _bin(confidence, edges)
        size = torch.bincount(index, minlength=self.bins)
        surplus = torch.zeros_like(gammas).index_add_(0, index, confidence - correct)
        gap = surplus / size.clamp_min(1)
        memory[EDGES] = edges
        memory[GAMMAS] = torch.where(size > 0, self.next_gammas(gammas, gap), gammas)

    def next_gammas(self, gammas: Tensor, gaps: Tensor) -> Tensor:
        """Powers (M,) for the next epoch from gaps (M,) = mean confidence - accuracy.

        Example:
            >>> AdaFocal().next_gammas(torch.tensor([1.0, 0.21]), torch.tensor([0.0, -0.5]))
            tensor([ 1.0000, -0.2000])
        """
        sign = torch.where(gammas > 0, 1.0, -1.0).to(gammas.dtype)
        grown = gammas * torch.exp(sign * self.rate * gaps)
        switched = torch.where(grown.abs() < self.switch, -sign * self.switch, grown)
        return switched.clamp(self.gamma_min, self.gamma_max)

    def _state(self, memory: Mapping[str, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        if GAMMAS in memory:
            return memory[GAMMAS].to(like), memory[EDGES].to(like)
        edges = torch.linspace(0, 1, self.bins + 1, dtype=like.dtype, device=like.device)[1:-1]
        return torch.full((self.bins,), self.gamma, dtype=like.dtype, device=like.device), edges


def _bin(values: Tensor, edges: Tensor) -> Tensor:
    """Index of the cell (lower, upper] that each value lies in; the outer cells are open-ended."""
    return torch.bucketize(values.contiguous(), edges.contiguous())
