"""CalibPrompt's text term: class features should point in different directions."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import off_diagonal_mean
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("angular_separation")
class AngularSeparation(Objective):
    r"""Mean pairwise cosine of the class features.

    .. math:: L = \frac{1}{K(K-1)} \sum_{c \ne c'} \langle t_c, t_{c'} \rangle

    over unit-norm text features t (K, D). Minimised, as in the code and README; the abstract says that
    proximity is maximised. Published weights 0.001 to 3 by backbone and data set (``calibprompt``).

    Example:
        >>> import torch
        >>> out = Outputs(text_features=torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
        >>> round(float(AngularSeparation().loss(out)), 4)
        0.6
    """

    needs: ClassVar[tuple[str, ...]] = ("text_features",)
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "CalibPrompt, BMVC 2025, arXiv 2509.15226; code iabh1shekbasu/CalibPrompt, losses.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean cosine over pairs of different classes."""
        text = text_groups(outputs, self.name)
        return off_diagonal_mean(text @ text.mT)
