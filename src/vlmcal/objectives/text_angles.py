"""A-TPT: the smallest angle from each class to another should be large."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("text_angles")
class TextAngles(Objective):
    r"""Negative mean of each class's smallest angle to another class, for test-time tuning.

    .. math::
        \theta_c = \arccos \max_{c' \ne c} \langle t_c, t_{c'} \rangle, \qquad
        L = -\frac{1}{K} \sum_c \theta_c

    over text features t (K, D), normalised here; angles in radians. The cosine is clamped to +-tau, beyond
    which there is no gradient.

    Attributes:
        weight: Published 80 (fine-grained data) and 10 (ImageNet shifts).
        tau: Clamp of the cosine; published 0.99999.
        released_sign: The released code adds + theta to the minimised loss, which pulls classes
            together, against the stated aim. False is the method as described.

    Example:
        >>> out = Outputs(text_features=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> round(float(TextAngles().loss(out)), 4)
        -1.5708
    """

    weight: float = 80.0
    tau: Annotated[float, Field(ge=0, le=1 - 1e-7)] = 0.99999
    released_sign: bool = False

    needs: ClassVar[tuple[str, ...]] = ("text_features",)
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = "A-TPT; code MB-Shihab-Aaqil-Ahamed/A-TPT, atpt_classification.py."

    def compute(self, outputs: Outputs) -> Tensor:
        """Minus the mean smallest angle (plus, with the released sign)."""
        angle = smallest_angles(text_groups(outputs, self.name), self.tau).mean()
        return angle if self.released_sign else -angle


def smallest_angles(text: Tensor, tau: float) -> Tensor:
    """Smallest angle (..., K) in radians from each of K vectors (..., K, D) to another.

    Example:
        >>> smallest_angles(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), 0.99999)
        tensor([1.5708, 1.5708, 1.5708])
    """
    same = torch.eye(text.shape[-2], dtype=torch.bool, device=text.device)
    unit = normalize(text, dim=-1)
    cosine = (unit @ unit.mT).masked_fill(same, -torch.inf)
    return torch.arccos(cosine.max(dim=-1).values.clamp(-tau, tau))
