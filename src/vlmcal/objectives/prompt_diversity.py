"""ProDA's pairwise term: text features should not be similar to each other."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("prompt_diversity")
@dataclass(frozen=True)
class PromptDiversity(Objective):
    r"""Mean absolute pairwise cosine.

    .. math:: L = \frac{1}{P(P-1)} \sum_{p \ne p'} | \langle w_p, w_{p'} \rangle |

    ``prompts`` compares the P prompts of each class in text features (K, P, D) and takes the mean over
    classes; ``classes`` compares the classes in text features (K, D), which is what TCPT's ProDA
    experiment does. ProDA itself compares its prompts without any class name; a learner that
    encodes those passes them as one class, (1, P, D).

    Attributes:
        weight: Published 0.1.
        between: What is compared.

    Example:
        >>> import torch
        >>> out = Outputs(text_features=torch.tensor([[1.0, 0.0], [-0.6, 0.8]]))
        >>> round(float(PromptDiversity(between="classes").loss(out)), 4)
        0.6
    """

    weight: float = 0.1
    between: Literal["prompts", "classes"] = "prompts"

    name: ClassVar[str] = "prompt_diversity"
    needs: ClassVar[tuple[str, ...]] = ("text_features",)
    source: ClassVar[str] = (
        "Lu et al., Prompt distribution learning, CVPR 2022, arXiv 2205.03340; code "
        "ml-stat-Sustech/CLIP_Calibration, proda.py, and ashshaksharifdeen/TCPT, trainers/kgcoop.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean absolute off-diagonal cosine."""
        return mean_absolute_cosine(self._sets(outputs))

    def _sets(self, outputs: Outputs) -> Tensor:
        groups = text_groups(outputs, self.name)
        if self.between == "prompts":
            groups = groups.transpose(0, 1)
        if groups.shape[1] < 2:
            raise SpecError(
                f'objective "{self.name}" compares {self.between} and found only one; this needs a '
                "learner with several prompts per class, or between: classes and two classes"
            )
        return groups


def mean_absolute_cosine(vectors: Tensor) -> Tensor:
    """Mean over sets of the mean |<w_i, w_j>|, i != j, of unit vectors (G, N, D)."""
    count = vectors.shape[1]
    gram = (vectors @ vectors.mT).abs()
    diagonal = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return ((gram.sum(dim=(-2, -1)) - diagonal) / (count * (count - 1))).mean()
