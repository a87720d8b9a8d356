"""Fine-tuning: the image tower and a linear head that starts from the zero-shot classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Options, Side, Stream
from vlmcal.learners.deep_prompts import require_pixels
from vlmcal.learners.flyp import FEW_SHOT
from vlmcal.learners.whole_model import Weights, encode_with, tower_tensors
from vlmcal.types.limits import Positive, Whole


@LEARNERS.register("fine_tune")
class FineTune(Learner):
    """z = W f + b with f the unit feature of the tuned image tower; cross-entropy.

    W starts as s times the zero-shot text features, so that it carries the logit scale, and b as 0: before
    the first step the model is zero-shot. The text tower is not used again. Saved are the image tower in
    float32 and the head.

    Source: the standard baseline of Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022,
    arXiv 2109.01903 (code: ImageClassifier, ClassificationHead); lr 3e-5 in CaRot's comparison.
    """

    per_class: bool = True  # every class has a row of the head
    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"image", "head"})
    opened: ClassVar[frozenset[Side]] = frozenset({"image"})
    similarity_scores: ClassVar[bool] = False
    default_train: ClassVar[Mapping[str, Any]] = {**FEW_SHOT, "lr": 3e-5}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fine-tune-imagenet": {
            "train": {**FEW_SHOT, "lr": 3e-5, "batch_size": 512, "warmup_steps": 500},
            "source": "CaRot's comparison on ImageNet (all images)",
        }
    }

    class Config(Options):
        """Options of fine-tuning.

        Attributes:
            chunk: Images of one pass, which is made again for the gradients: memory of that many instead
                of a batch (gradient checkpointing). 0 is off.
            head_factor: Learning rate of the head over that of the tower.
        """

        chunk: Whole = 0
        head_factor: Positive = 1.0

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.towers = Weights(tower_tensors(self.encoder, "image"))
        dtype = self.parameter_dtype
        scale = self.encoder.logit_scale.to(dtype)
        self.weight = nn.Parameter((scale * classes.text_features.to(dtype)).detach().clone())
        self.bias = nn.Parameter(torch.zeros_like(self.weight[:, 0]))

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features of the tuned tower, (B, D)."""
        pixels, chunk = require_pixels(batch, self.name), self.config.chunk
        return encode_with(self.encoder, "image", self.towers.named(), pixels, chunk=chunk)

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """W f + b, (B, K); the text features are not used."""
        return image @ self.weight.T + self.bias

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The tower, then the head at ``head_factor`` times the rate."""
        head = {"params": [self.weight, self.bias], "lr": self.config.head_factor * lr}
        return [{"params": list(self.towers.parameters()), "lr": lr}, head]
