"""KgCoOp: class features should stay close to the hand-written prompts'."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cosine_similarity

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.text import tuned_and_frozen
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("kgcoop")
class KgCoOp(Objective):
    r"""Knowledge-guided text regulariser, also TCP's.

    .. math:: L = 1 - \frac{1}{K} \sum_c \cos(t_c, f_c)

    over tuned and frozen text features t, f (K, D). For unit vectors this is half of the squared
    Euclidean distance that the paper writes, so weight 8 here is 4 on that form.

    Attributes:
        weight: Published 8 (2 in DePT).

    Example:
        >>> import torch
        >>> tuned, frozen = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> out = Outputs(text_features=tuned, frozen_text_features=frozen)
        >>> round(float(KgCoOp().loss(out)), 4)
        0.1
    """

    weight: float = 8.0

    needs: ClassVar[tuple[str, ...]] = ("text_features", "frozen_text_features")
    source: ClassVar[str] = (
        "Yao, Zhang, Xu, Visual-language prompt tuning with knowledge-guided context optimization, "
        "CVPR 2023, arXiv 2303.13283; code htyao89/KgCoOp, trainers/kgcoop.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """One minus the mean cosine."""
        tuned, frozen = tuned_and_frozen(outputs, self.name)
        return 1 - cosine_similarity(tuned, frozen.expand_as(tuned), dim=-1, eps=1e-7).mean()
