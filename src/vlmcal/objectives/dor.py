"""DOR: words outside the task should keep their zero-shot text features."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import cosine_similarity

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.types.limits import Count
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("dor")
class DOR(Objective):
    r"""Dynamic outlier regularisation.

    .. math:: L = 1 - \frac{1}{O} \sum_o \cos(\psi(t'_o), \psi(t_o))

    over features (O, D) of a fresh sample of outlier words in every step, under the learned prompt (t')
    and under the zero-shot prompt (t, frozen). Features of the task's classes are not constrained. Words
    that name a class, or its plural or singular, are never drawn. The learner needs a prompt that applies
    to any name, so a class-specific context is refused.

    Attributes:
        weight: Published 8 for CoOp; set 2 for every other method, as published.
        n_outliers: O, words per step. The paper does not say; 32 is the common batch size.
        pool: Words that are drawn from; published 5000.
        selection: ``near`` keeps the words with the largest mean cosine to the training classes under
            zero-shot prompts (published), ``far`` those with the smallest, ``random`` any. ``oracle``
            takes the test classes that were not trained on: they are unknown in use, so for analysis only.
        vocabulary: ``wordnet`` (117 744 nouns) or a text file with one name per line.

    Example:
        >>> import torch
        >>> tuned, frozen = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> out = Outputs(outlier_text_features=tuned, frozen_outlier_text_features=frozen)
        >>> float(DOR().loss(out))
        0.5
    """

    weight: float = 8.0
    n_outliers: Count = 32
    pool: Count = 5000
    selection: Literal["near", "random", "far", "oracle"] = "near"
    vocabulary: str = "wordnet"

    needs: ClassVar[tuple[str, ...]] = ("outlier_text_features", "frozen_outlier_text_features")
    files: ClassVar[tuple[str, ...]] = ("vocabulary",)
    source: ClassVar[str] = (
        "Wang, Li, Wei, Understanding and mitigating miscalibration in prompt tuning for "
        "vision-language models, ICML 2025, arXiv 2410.02681; after two secondary sources, the "
        "official code was not read."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """One minus the mean cosine."""
        tuned = outputs.require("outlier_text_features", by=self.name)
        frozen = outputs.require("frozen_outlier_text_features", by=self.name).detach()
        if tuned.shape != frozen.shape:
            raise SpecError(
                f'objective "dor": tuned outlier features {tuple(tuned.shape)} and frozen ones '
                f"{tuple(frozen.shape)} must have the same shape (O, D)"
            )
        return 1 - cosine_similarity(tuned, frozen, dim=-1).mean()
