"""Divergence of a learned distribution over prompts from its prior."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("posterior_kl")
class PosteriorKL(Objective):
    r"""The KL that the learner states.

    .. math:: L = \frac{1}{N} \mathrm{KL}(q(v) \,\|\, p(v))

    ``bayes_coop`` gives KL / N for N training images, ``bpl`` the mean over the dimensions.

    Attributes:
        weight: 1 is the evidence lower bound of ``bayes_coop``; 0.001 is published for ``bpl``.

    Example:
        >>> import torch
        >>> float(PosteriorKL().compute(Outputs(divergence=torch.tensor(1.5))))
        1.5
    """

    weight: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("divergence",)
    source: ClassVar[str] = (
        "Derakhshani et al., Bayesian prompt learning, ICCV 2023, arXiv 2210.02390; arXiv 2305.07504."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """As the learner gives it."""
        return outputs.require("divergence", by=self.name)
