"""CLAP and the zero-shot-initialised linear probe: class prototypes on cached features."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Options, Stream
from vlmcal.types.features import Features
from vlmcal.types.outputs import Outputs


@LEARNERS.register("clap")
class CLAP(Learner):
    """Class prototypes w_c that start at the zero-shot text features and are held near them.

    z = s cos(f, w_c); w_c starts at the raw mean text feature t_c, and the objective ``clap`` adds
    mean_c alpha_c ||w_c - t_c||^2 with alpha_c the mean zero-shot probability of the true class over the
    training images of class c. Each epoch sees one view of every image; the public code draws as many
    from all views.

    Source: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
    Models", CVPR 2024, arXiv 2312.12730; recipe of the public code (SGD 0.1, batch 256, 300 epochs, 20
    views).
    """

    per_class: bool = True  # every class has its own prototype
    similarity_scores: ClassVar[bool] = False
    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "clap")
    provides: frozenset[str] = frozenset({"prototypes", "prototype_targets", "class_multipliers"})
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 300,
        "batch_size": 256,
        "lr": 0.1,
        "weight_decay": 0.0,
        "views": 20,
    }

    class Config(Options):
        """CLAP has no options; its penalty's weight belongs to the objective."""

    config: Config
    multipliers: Tensor

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.targets = classes.raw_text_features.to(self.parameter_dtype)
        self.prototypes = nn.Parameter(self.targets.clone())
        zeros = torch.zeros(len(self.targets), dtype=self.parameter_dtype)
        self.register_buffer("multipliers", zeros.to(self.encoder.device))

    def begin(self, train: Features, validation: Features | None) -> None:
        """Mean zero-shot probability of the true class, per class, over all views."""
        image = torch.tensor(np.asarray(train.image_features))
        image = normalize(image.to(self.encoder.device, self.parameter_dtype), dim=-1)
        text = normalize(self.targets, dim=-1)
        scale = self.encoder.logit_scale.to(self.parameter_dtype)
        probabilities = torch.softmax(scale * image @ text.T, dim=-1).mean(dim=1)
        labels = torch.from_numpy(train.labels).to(image.device)
        own = probabilities.gather(1, labels[:, None]).squeeze(1)
        for c in range(len(text)):
            rows = labels == c
            if rows.any():
                self.multipliers[c] = own[rows].mean()

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """The prototypes, raw, (K, D)."""
        return self.prototypes

    def outputs(self, batch: Batch) -> Outputs:
        """As everywhere, with prototypes and what the penalty holds them to."""
        outputs = super().outputs(batch)
        outputs.prototypes = self.prototypes
        outputs.prototype_targets = self.targets
        outputs.class_multipliers = self.multipliers
        return outputs


@LEARNERS.register("zs_lp")
class ZeroShotLinearProbe(CLAP):
    """Linear probe that starts at the zero-shot text features (ZS-LP): CLAP without its penalty.

    Source: Silva-Rodriguez et al., CVPR 2024, arXiv 2312.12730.
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce",)
