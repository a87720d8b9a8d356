"""C-TPT: class features should be far from their mean."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import lengths
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("text_dispersion")
class TextDispersion(Objective):
    r"""Negative average text feature dispersion, for test-time tuning.

    .. math:: L = -\frac{1}{K} \sum_c \lVert t_c - \bar t \rVert_2

    over unit-norm text features t (K, D). Where a feature equals the mean, its gradient is taken as 0.

    Attributes:
        weight: Published 50 (fine-grained data) and 20 (ImageNet shifts).

    Example:
        >>> import torch
        >>> out = Outputs(text_features=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> float(TextDispersion().loss(out))
        -1.0
    """

    weight: float = 50.0

    needs: ClassVar[tuple[str, ...]] = ("text_features",)
    source: ClassVar[str] = (
        "Yoon et al., C-TPT, ICLR 2024, arXiv 2403.14119; code hee-suk-yoon/C-TPT, clip/custom_clip.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Minus the mean distance to the centroid."""
        text = text_groups(outputs, self.name)
        return -lengths(text - text.mean(dim=1, keepdim=True)).mean()
