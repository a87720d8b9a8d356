"""Averages of learned tensors: over the epochs of a run, and between two models."""

from collections.abc import Mapping
from math import exp
from typing import cast

import torch
from torch import Tensor, nn

from vlmcal.errors import SpecError


def aggregation_weights(epochs: int, mean: float, deviation: float) -> tuple[float, ...]:
    r"""Weights of epochs 1 .. E in PromptSRC's Gaussian prompt aggregation; they add to 1.

    .. math:: w_e \propto \exp\bigl( -(e - \mu)^2 / (2 \sigma^2) \bigr)

    Published (E, mu, sigma): (20, 15, 1) base-to-new, (50, 30, 30) or (50, 45, 5) few-shot, (20, 6, 10)
    cross-dataset.

    Example:
        >>> [round(w, 3) for w in aggregation_weights(20, 15, 1)[12:17]]
        [0.054, 0.242, 0.399, 0.242, 0.054]
    """
    powers = [-((epoch - mean) ** 2) / (2 * deviation**2) for epoch in range(1, epochs + 1)]
    raw = [exp(power - max(powers)) for power in powers]
    return tuple(value / sum(raw) for value in raw)


def interpolated(
    zero_shot: Mapping[str, Tensor], fine_tuned: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """(1 - alpha) times the zero-shot weights plus alpha times the fine-tuned ones, tensor by tensor.

    alpha = 0 gives the zero-shot weights bit for bit, alpha = 1 the fine-tuned ones; whole numbers
    (positions) are those of the zero-shot model. Works for models, linear heads and prompts of equal shapes.

    Raises:
        SpecError: alpha outside [0, 1], or other names or shapes.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903.

    Example:
        >>> import torch
        >>> interpolated({"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}, 0.25)["w"].tolist()
        [1.5]
    """
    if not 0 <= alpha <= 1:
        raise SpecError(f"alpha: expected a number in [0, 1], got {alpha}")
    if set(zero_shot) != set(fine_tuned):
        (first, *_) = sorted(set(zero_shot) ^ set(fine_tuned))
        raise SpecError(
            f'interpolation needs the same tensors on both sides; "{first}" is on one only'
        )
    found = {}
    for name, start in zero_shot.items():
        end = fine_tuned[name].to(start.device)
        if start.shape != end.shape:
            raise SpecError(f'"{name}": shapes {tuple(start.shape)} and {tuple(end.shape)} differ')
        if alpha in (0, 1) or not start.is_floating_point():
            found[name] = (end if alpha == 1 else start).clone()
        else:
            found[name] = (1 - alpha) * start + alpha * end.to(start.dtype)
    return found


class EpochAverage(nn.Module):
    """Weighted sum over epochs of the parameters of a module, kept in buffers so that it can resume.

    Args:
        module: Whose parameters are summed; they are changed by :meth:`load` only.
    """

    weight: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._names = {f"sum_{i}": name for i, (name, _) in enumerate(module.named_parameters())}
        for buffer, name in self._names.items():
            self.register_buffer(buffer, torch.zeros_like(module.get_parameter(name)))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def add(self, module: nn.Module, weight: float, *, first: bool) -> None:
        """Add the parameters as they are now; the first addition starts from zero."""
        kept = 0.0 if first else 1.0
        self.weight.mul_(kept).add_(weight)
        for buffer, name in self._names.items():
            total = cast(Tensor, getattr(self, buffer))
            total.mul_(kept).add_(module.get_parameter(name), alpha=weight)

    @torch.no_grad()
    def load(self, module: nn.Module) -> None:
        """Put the sum in the place of the parameters, if anything was added."""
        if not self.weight:
            return
        for buffer, name in self._names.items():
            module.get_parameter(name).copy_(getattr(self, buffer))
