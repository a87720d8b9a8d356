"""CaRot's fourth term: image and text projections should not overlap."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.parameters import Layout, named_matrix
from vlmcal.objectives.predictions import lengths
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("carot_cross")
class CaRotCross(Objective):
    r"""Frobenius norm of the product of both projections.

    .. math:: L = \lVert W_v W_t^\top \rVert_F

    for W_v (image width, embed) and W_t (text width, embed). Optional in the released code, which
    labels it an approximation of an objective on the leading singular directions.

    Attributes:
        weight: Published 0.05.
        image_parameter, text_parameter: Names of the learned matrices, or their last parts.
        layout: How the matrices are stored.

    Example:
        >>> import torch
        >>> eye = torch.eye(2)
        >>> weights = {"visual_projection.weight": eye, "text_projection.weight": eye}
        >>> round(float(CaRotCross().loss(Outputs(parameters=weights))), 4)
        1.4142
    """

    weight: float = 0.05
    image_parameter: str = "visual_projection.weight"
    text_parameter: str = "text_projection.weight"
    layout: Layout = "embed_width"

    needs: ClassVar[tuple[str, ...]] = ("parameters",)
    source: ClassVar[str] = (
        "Oh et al., NeurIPS 2024, arXiv 2311.01723; code MLAI-Yonsei/CaRot, src/models/carot_loss.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """||W_v W_t'||_F."""
        image = named_matrix(outputs, self.image_parameter, self.layout, self.name)
        text = named_matrix(outputs, self.text_parameter, self.layout, self.name)
        return lengths((image @ text.T).flatten())
