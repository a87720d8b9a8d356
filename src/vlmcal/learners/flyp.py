"""FLYP: both towers tuned as they were trained, on images and captions."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Options, Side, Stream
from vlmcal.learners.deep_prompts import require_pixels
from vlmcal.learners.whole_model import Prompts, Weights, encode_with, tower_tensors
from vlmcal.seeding import torch_generator
from vlmcal.types.limits import Whole
from vlmcal.types.outputs import Outputs

FEW_SHOT: Mapping[str, Any] = {
    "epochs": 10,
    "batch_size": 64,
    "optimiser": "adamw",
    "lr": 1e-5,
    "weight_decay": 0.1,
    "warmup_epochs": 0,
    "schedule": "cosine_step",
}
"""Recipe for a few images per class; the published one is for whole data sets."""
PUBLISHED: Mapping[str, Any] = {**FEW_SHOT, "warmup_steps": 500, "batch_size": 512}


@LEARNERS.register("flyp")
class FLYP(Learner):
    """All tensors of both towers and the logit scale, by the loss that CLIP was trained with.

    Each image of a step has a caption: its class's name in a template drawn from the list. The
    prediction is zero-shot with the tuned towers and all templates, so other class names work. The loss is
    ``clip_contrastive`` with ``false_negatives: mask``, as a batch of few classes holds several images
    of one; presets of whole data sets keep them, as published. The backbone itself is not touched.

    What is saved are the whole towers in float32 (600 MB for a ViT-B/16); a checkpoint holds them four times,
    with the optimiser's two moments and the start.

    Source: Goyal et al., "Finetune like you pretrain: improved finetuning of zero-shot vision models",
    CVPR 2023, arXiv 2212.00638, and its code.
    """

    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"text", "image"})
    opened: ClassVar[frozenset[Side]] = frozenset({"text", "image"})
    provides: frozenset[str] = frozenset({"caption_features"})
    default_objective: ClassVar[tuple[Any, ...]] = (
        {"name": "clip_contrastive", "false_negatives": "mask"},
    )
    default_train: ClassVar[Mapping[str, Any]] = FEW_SHOT
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flyp-imagenet": {
            "train": PUBLISHED,
            "objective": ["clip_contrastive"],
            "source": "FLYP's script for ImageNet (all images)",
        },
        "flyp-wilds": {
            "train": {**PUBLISHED, "epochs": 20, "batch_size": 256, "weight_decay": 0.2},
            "objective": ["clip_contrastive"],
            "source": "FLYP's scripts for iWildCam and FMoW (all images)",
        },
        "flyp-transfer": {
            "train": {**PUBLISHED, "epochs": 100, "batch_size": 256, "weight_decay": 0.0},
            "objective": ["clip_contrastive"],
            "source": "FLYP's scripts for Caltech101 and Cars (all images)",
        },
    }

    class Config(Options):
        """Options of FLYP.

        Attributes:
            chunk: Images or prompts of one pass, which is made again for the gradients: memory of that
                many instead of a batch (gradient checkpointing), about a third more time. 0 is off.
        """

        chunk: Whole = 0

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder = self.encoder
        named = {**tower_tensors(encoder, "image"), **tower_tensors(encoder, "text")}
        self.towers = Weights(named)
        scale = encoder.logit_scale.to(self.parameter_dtype)
        self.log_scale = nn.Parameter(scale.log().detach().clone())
        self.prompts = Prompts(encoder, classes.class_names, classes.templates)

    @property
    def logit_scale(self) -> Tensor:
        """The tuned factor s."""
        return self.log_scale.exp()

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features of the tuned tower, (B, D)."""
        return self._images(self.towers, batch)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Mean over templates of the tuned tower's unit features, (K, D)."""
        return self.prompts.ensemble(self.towers.named(), chunk=self.config.chunk)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """The same of other names, (O, D)."""
        prompts = Prompts(self.encoder, names, self.classes.templates)
        return prompts.ensemble(self.towers.named(), chunk=self.config.chunk)

    def outputs(self, batch: Batch) -> Outputs:
        """While training, class features under one drawn template, and the caption of every image."""
        if not self.training:
            return super().outputs(batch)
        raw_image = self.image_features(batch).to(self.parameter_dtype)
        image = normalize(raw_image, dim=-1)
        text, captions = self._texts(self.towers, batch)
        return self.offered(
            batch,
            raw_image,
            image,
            logits=self.scores(image, text),
            text_features=text,
            caption_features=captions,
            raw_text_features=text,
        )

    def _images(self, weights: Weights, batch: Batch) -> Tensor:
        pixels = require_pixels(batch, self.name)
        return encode_with(self.encoder, "image", weights.named(), pixels, chunk=self.config.chunk)

    def _texts(self, weights: Weights, batch: Batch) -> tuple[Tensor, Tensor]:
        """Unit features of the classes under one drawn template, (K, D), and of each caption, (B, D)."""
        count, k = self.prompts.shape
        labels = batch.labels.cpu()
        stream = torch_generator(batch.seed or 0, "captions", batch.step)
        shared, *own = torch.randint(count, (1 + len(labels),), generator=stream).tolist()
        templates = torch.tensor([shared] * k + own)
        classes = torch.cat([torch.arange(k), labels])
        found = self.prompts.features(
            templates, classes, weights.named(), chunk=self.config.chunk
        ).to(self.parameter_dtype)
        return found[:k], found[k:]
