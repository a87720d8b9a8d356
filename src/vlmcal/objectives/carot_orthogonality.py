"""CaRot's constraint: the image projection should have orthonormal columns."""

from typing import ClassVar

import torch
from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.parameters import Layout, named_matrix
from vlmcal.objectives.predictions import lengths
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("carot_orthogonality")
class CaRotOrthogonality(Objective):
    r"""Distance of the image projection from one with orthonormal columns.

    .. math:: L = \lVert W^\top W - I \rVert_F

    for W (width, embed); the norm is not squared. Needs a learner that tunes the projection.

    Attributes:
        weight: Published 0.2.
        parameter: Name of the learned matrix, or its last part.
        layout: How the matrix is stored: (embed, width) as in a linear layer, or (width, embed).

    Example:
        >>> weights = {"visual_projection.weight": 2 * torch.eye(2)}
        >>> round(float(CaRotOrthogonality().loss(Outputs(parameters=weights))), 4)
        4.2426
    """

    weight: float = 0.2
    parameter: str = "visual_projection.weight"
    layout: Layout = "embed_width"

    needs: ClassVar[tuple[str, ...]] = ("parameters",)
    source: ClassVar[str] = (
        "Oh et al., Towards calibrated robust fine-tuning of vision-language models, NeurIPS 2024, "
        "arXiv 2311.01723; code MLAI-Yonsei/CaRot, src/models/carot_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Frobenius norm of W'W - I."""
        matrix = named_matrix(outputs, self.parameter, self.layout, self.name)
        gram = matrix.T @ matrix
        identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return lengths((gram - identity).flatten())
