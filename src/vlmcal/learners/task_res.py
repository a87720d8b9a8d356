"""TaskRes: a learned residual on every zero-shot text feature."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Options, Stream


@LEARNERS.register("task_res")
class TaskRes(Learner):
    """t_c <- base_c + a x_c with learned x (K, D), starting at zero; then normalised.

    base_c is the mean over templates of the raw text features. The residuals belong to classes, so there is
    no path to other class names. Names are cleaned of underscores, unlike in the public code.

    Source: Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023, arXiv 2211.10277;
    recipe of the public code (Adam 2e-3, batch 256, a = 0.5, 1.0 on Flowers102).
    """

    per_class: bool = True  # every class has its own residual
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "batch_size": 256,
        "optimiser": "adam",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "taskres-ep100": {
            "train": default_train,
            "source": "TaskRes, train_regular.sh (ImageNet: lr 2e-4; Flowers102: alpha 1)",
        }
    }

    class Config(Options):
        """Options of TaskRes.

        Attributes:
            alpha: a, factor on the residuals.
        """

        alpha: float = 0.5

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        base = classes.raw_text_features.to(self.parameter_dtype)
        self.base = base
        self.text_feature_residuals = nn.Parameter(torch.zeros_like(base))

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Base plus residual, raw, (K, D)."""
        return self.base + self.config.alpha * self.text_feature_residuals
