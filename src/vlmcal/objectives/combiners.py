"""Rules that merge the gradients of several terms; plain summing is ``base.SumCombiner``."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.objectives.base import Terms, weighted_sum


@dataclass(frozen=True)
class ProjectionCombiner:
    r"""ProGrad's rule: drop what in the task gradient works against the guide.

    Per parameter tensor, with g the gradient of the summed task terms and h that of the guides,

    .. math:: g \leftarrow g - \lambda (g \cdot \hat h)\, \hat h \quad \text{if } g \cdot h < 0

    h itself is never added. A zero guide gradient leaves g as it is.

    Attributes:
        strength: lambda; 1 removes the conflicting part, 0 ignores the guide.
    """

    strength: float = 1.0

    def backward(self, terms: Terms, parameters: Iterable[Tensor]) -> Tensor:
        """Fill the gradients and return the sum of the task terms, detached.

        Raises:
            SpecError: No term is marked as a guide.
        """
        guides = [term.value * term.weight for term in terms.values() if term.guide]
        if not guides:
            raise SpecError('gradient projection needs a guide term; add the objective "prograd"')
        tuned = [parameter for parameter in parameters if parameter.requires_grad]
        total = weighted_sum(terms)
        task = torch.autograd.grad(total, tuned, retain_graph=True, allow_unused=True)
        guide = torch.autograd.grad(torch.stack(guides).sum(), tuned, allow_unused=True)
        for parameter, g, h in zip(tuned, task, guide, strict=True):
            if g is not None:
                merged = g if h is None else projected(g, h, self.strength)
                parameter.grad = merged if parameter.grad is None else parameter.grad + merged
        return total.detach()


def projected(task: Tensor, guide: Tensor, strength: float = 1.0) -> Tensor:
    """``task`` without ``strength`` times its part against ``guide``, both of one shape.

    Example:
        >>> projected(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0]))
        tensor([1., 0.])
    """
    length = torch.linalg.vector_norm(guide)
    direction = torch.where(length > 0, guide / length, torch.zeros_like(guide))
    along = (task * direction).sum().clamp_max(0)
    return task - strength * along * direction
