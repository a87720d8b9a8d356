"""Zero-shot classification with hand-written prompts or with descriptions of the classes."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Stream
from vlmcal.learners.descriptions import Described, sentence_features


@LEARNERS.register("zero_shot")
class ZeroShot(Learner):
    """Zero-shot CLIP: the class whose prompt is most similar to the image.

    z[b, c] = s * cos(f_b, t_c), with t_c the normalised mean over templates of the normalised text
    features. With one template this is the single-prompt baseline of the prompt-tuning papers, with
    several the template ensemble; with ``descriptions`` the mean runs over the sentences of each class
    instead, and their number may differ between classes.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
    ICML 2021, arXiv 2103.00020; descriptions: Pratt et al., "What does a platypus look like?", ICCV
    2023, arXiv 2209.03320.
    """

    trainable: ClassVar[bool] = False
    ignores: ClassVar[frozenset[str]] = frozenset({"shots", "seed", "objective", "train"})

    class Config(Described):
        """Options of zero-shot classification; templates belong to the data.

        Attributes:
            descriptions: Class name -> sentences, or a JSON file of such a mapping; None for templates.
        """

        descriptions: Mapping[str, tuple[str, ...]] | str | None = None

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self._described: Tensor | None = None
        if isinstance(config.descriptions, Mapping):
            sets = sentence_features(self.encoder, classes.class_names, config.descriptions)
            self._described = torch.stack([features.mean(dim=0) for features in sets])

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Mean text features, (K, D)."""
        return self.classes.text_features if self._described is None else self._described
