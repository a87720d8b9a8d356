"""CLAP and the zero-shot-initialised linear probe: class prototypes on cached features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner
from vlmcal.types.features import Features
from vlmcal.types.outputs import Outputs


@LEARNERS.register("clap")
class CLAP(Learner):
    """Class prototypes w_c that start at the zero-shot text features and are held near them.

    z = s cos(f, w_c); the objective ``clap`` adds mean_c alpha_c ||w_c - t_c||^2 with alpha_c the mean
    zero-shot probability of the true class over the training images of class c. With the objective
    ``ce`` alone this is the zero-shot-initialised linear probe (ZS-LP).

    Source: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
    Models", CVPR 2024, arXiv 2312.12730; recipe of the public code (SGD 0.1, batch 256, 300 epochs, 20
    views).
    """

    name: ClassVar[str] = "clap"
    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "clap")
    provides: ClassVar[frozenset[str]] = frozenset({"prototypes", "class_multipliers"})
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 300,
        "batch_size": 256,
        "lr": 0.1,
        "weight_decay": 0.0,
        "views": 20,
    }

    config: Any

    def __init__(
        self, classes: ClassContext, config: Any, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(classes, config, generator)
        start = classes.text_features.to(self.parameter_dtype)
        self.prototypes = nn.Parameter(start.clone())
        self.register_buffer("multipliers", torch.zeros(len(start), dtype=self.parameter_dtype))

    @dataclass(frozen=True)
    class Config:
        """CLAP has no options; its penalty's weight belongs to the objective."""

    @property
    def per_class(self) -> bool:
        """Always: every class has its own prototype."""
        return True

    def begin(self, train: Features, validation: Features | None) -> None:
        """Mean zero-shot probability of the true class, per class, over all views."""
        image = torch.from_numpy(np.ascontiguousarray(train.image_features))
        image = normalize(image.to(self.encoder.device, self.parameter_dtype), dim=-1)
        text = self.classes.text_features.to(self.parameter_dtype)
        scale = self.encoder.logit_scale.to(self.parameter_dtype)
        probabilities = torch.softmax(scale * image @ text.T, dim=-1).mean(dim=1)
        labels = torch.from_numpy(train.labels).to(image.device)
        own = probabilities[torch.arange(len(labels)), labels]
        for c in range(len(text)):
            rows = labels == c
            if rows.any():
                self.multipliers[c] = own[rows].mean()

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """The prototypes, raw, (K, D)."""
        return self.prototypes

    def outputs(self, batch: Batch) -> Outputs:
        """As everywhere, with prototypes and their multipliers for the penalty."""
        outputs = super().outputs(batch)
        outputs.prototypes = self.prototypes
        outputs.class_multipliers = self.multipliers
        return outputs
