"""Zero-shot classification with hand-written prompts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from vlmcal.learners.base import LEARNERS, Learner


@LEARNERS.register("zero_shot")
class ZeroShot(Learner):
    """Zero-shot CLIP: the class whose prompt is most similar to the image.

    z[b, c] = s * cos(f_b, t_c), with t_c the normalised mean over templates of the normalised text
    features. With one template this is the single-prompt baseline of the prompt-tuning papers, with
    several the template ensemble.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
    ICML 2021, arXiv 2103.00020.
    """

    name: ClassVar[str] = "zero_shot"
    trainable: ClassVar[bool] = False
    ignores: ClassVar[frozenset[str]] = frozenset({"shots", "seed", "objective", "train"})
    default_train: ClassVar[Mapping[str, Any]] = {}

    @dataclass(frozen=True)
    class Config:
        """Zero-shot classification has no options; templates belong to the data."""

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Mean zero-shot text features, (K, D)."""
        return self.classes.text_features
