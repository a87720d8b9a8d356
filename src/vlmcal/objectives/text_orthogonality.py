"""O-TPT: class features should be orthogonal."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import lengths
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("text_orthogonality")
class TextOrthogonality(Objective):
    r"""Distance of the class features' Gram matrix G = T T' from the identity.

    .. math::
        \text{householder:}\; L = \frac{1}{K} \sum_i \bigl( \lVert G_i \rVert_2 - 1 \bigr), \qquad
        \text{frobenius:}\; L = \lVert G - I \rVert_F^2

    over unit-norm text features (K, D). O-TPT's code reflects each row G_i onto its axis by a
    Householder matrix H_i and measures ||H_i G_i - e_i||; the reflection gives ||G_i|| e_i, so the
    first form is that number without building K matrices, and it has the right limit 0 at
    orthonormal features, where the released code divides 0 by 0.

    Attributes:
        weight: Published 18 (fine-grained data) and 2 (ImageNet shifts), for the Householder form.
        form: ``householder`` is the released code, ``frobenius`` the form the paper is described with.
        literal: Compute the reflections step by step as released, with NaN at orthonormal features.

    Example:
        >>> out = Outputs(text_features=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> float(TextOrthogonality().loss(out))
        0.0
    """

    weight: float = 18.0
    form: Literal["householder", "frobenius"] = "householder"
    literal: bool = False

    needs: ClassVar[tuple[str, ...]] = ("text_features",)
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "O-TPT, CVPR 2025, arXiv 2503.12096; code ashshaksharifdeen/O-TPT, otpt_classification.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """The chosen distance, mean over sets of class features."""
        text = text_groups(outputs, self.name)
        gram = text @ text.mT
        axes = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        if self.form == "frobenius":
            return (gram - axes).square().sum(dim=(-2, -1)).mean()
        if self.literal:
            return lengths(_reflected(gram, axes) - axes).mean()
        return (lengths(gram) - 1).mean()


def _reflected(gram: Tensor, axes: Tensor) -> Tensor:
    """Each row of ``gram`` reflected onto its own axis."""
    normal = gram - lengths(gram, keepdim=True) * axes
    normal = normal / lengths(normal, keepdim=True)
    return gram - 2 * (normal * gram).sum(dim=-1, keepdim=True) * normal
