"""ProDA's pairwise term: text features should not be similar to each other."""

from typing import ClassVar, Literal

from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import off_diagonal_mean
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("prompt_diversity")
class PromptDiversity(Objective):
    r"""Mean absolute pairwise cosine.

    .. math:: L = \frac{1}{P(P-1)} \sum_{p \ne p'} | \langle w_p, w_{p'} \rangle |

    ``contexts`` compares P contexts without any class name, features (P, D), as ProDA does; ``prompts``
    the P prompts of each class in text features (K, P, D), mean over classes; ``classes`` the classes in
    text features (K, D), as TCPT's ProDA experiment does. Features are unit vectors.

    Attributes:
        weight: Published 0.1.
        between: What is compared.

    Example:
        >>> import torch
        >>> out = Outputs(prompt_text_features=torch.tensor([[1.0, 0.0], [-0.6, 0.8]]))
        >>> round(float(PromptDiversity().loss(out)), 4)
        0.6
    """

    weight: float = 0.1
    between: Literal["contexts", "prompts", "classes"] = "contexts"

    needs: ClassVar[tuple[str, ...]] = ("text_features", "prompt_text_features")
    source: ClassVar[str] = (
        "Lu et al., Prompt distribution learning, CVPR 2022, arXiv 2205.03340; code "
        "ml-stat-Sustech/CLIP_Calibration, proda.py, and ashshaksharifdeen/TCPT, trainers/kgcoop.py."
    )

    @property
    def required(self) -> tuple[str, ...]:
        """Features of bare contexts, or of classes."""
        return self.needs[1:] if self.between == "contexts" else self.needs[:1]

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean absolute off-diagonal cosine."""
        sets = self._sets(outputs)
        return off_diagonal_mean((sets @ sets.mT).abs())

    def _sets(self, outputs: Outputs) -> Tensor:
        if self.between == "contexts":
            sets = outputs.require("prompt_text_features", by=self.name)[None]
        else:
            sets = text_groups(outputs, self.name)
        if self.between == "prompts":
            sets = sets.transpose(0, 1)
        if sets.shape[1] < 2:
            raise SpecError(
                f'objective "{self.name}" compares {self.between} and found only one; this needs a '
                "learner with several prompts, or between: classes and two classes"
            )
        return sets
