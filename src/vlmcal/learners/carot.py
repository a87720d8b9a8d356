"""CaRot: FLYP held to an orthonormal image projection and to a slow teacher of its own."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Stream
from vlmcal.learners.flyp import FLYP, PUBLISHED
from vlmcal.learners.whole_model import Weights
from vlmcal.types.limits import Count, Part
from vlmcal.types.outputs import Outputs
from vlmcal.types.schedules import teacher_momentum

_TERMS: tuple[Any, ...] = ("carot_orthogonality", "carot_cross", "carot_distillation")
_EVERY, _UPDATES = 500, 20


@LEARNERS.register("carot")
class CaRot(FLYP):
    """FLYP + 0.2 ||P'P - I||_F + 0.05 ||P Q'||_F + 1.5 self-distillation from a moving average.

    P and Q are the projections of images and texts. The teacher starts as a copy; after steps 0, n, 2n,
    ... it becomes m times itself plus 1 - m times the student, logit scale included, with m rising from
    0.05 to 0.9 over the first fifth of training. n is 500 as published, or a twentieth of the steps
    where that is less, so that a short run has a moving teacher. Predictions are the student's; the
    teacher is saved beside it.

    Source: Oh et al., "Towards calibrated robust fine-tuning of vision-language models", NeurIPS 2024,
    arXiv 2311.01723; code MLAI-Yonsei/CaRot, example_scripts/carot.sh.
    """

    provides: frozenset[str] = FLYP.provides | {
        *("teacher_image_features", "teacher_caption_features", "teacher_scale")
    }
    default_objective: ClassVar[tuple[Any, ...]] = (*FLYP.default_objective, *_TERMS)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "carot-imagenet": {
            "train": PUBLISHED,
            "objective": ["clip_contrastive", *_TERMS],
            "source": "CaRot's script for ImageNet (all images)",
        }
    }

    class Config(FLYP.Config):
        """Options of FLYP, and those of the teacher.

        Attributes:
            every: Steps between two updates of the teacher; None is 500 or a twentieth of the steps.
            rising: Share of training over which the teacher's momentum rises.
        """

        every: Count | None = None
        rising: Part = 0.2

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.teacher = Weights(self.towers.named(), learned=False)
        self.register_buffer("teacher_log_scale", self.log_scale.detach().clone())

    def outputs(self, batch: Batch) -> Outputs:
        """As FLYP's, with the teacher's features of the same images and captions."""
        outputs = super().outputs(batch)
        if self.training:
            with torch.no_grad():
                image = self._images(self.teacher, batch).to(self.parameter_dtype)
                outputs.teacher_image_features = normalize(image, dim=-1)
                outputs.teacher_caption_features = self._texts(self.teacher, batch)[1]
                outputs.teacher_scale = self.get_buffer("teacher_log_scale").exp()
        return outputs

    def interval(self, total_steps: int) -> int:
        """Steps between two updates of the teacher.

        Example:
            >>> from vlmcal.backbones import load_backbone
            >>> learner = CaRot(ClassContext(load_backbone("pocket"), ("a", "b"), ("{}",)), CaRot.Config())
            >>> learner.interval(25_000), learner.interval(100)
            (500, 5)
        """
        return self.config.every or min(_EVERY, max(1, total_steps // _UPDATES))

    @torch.no_grad()
    def on_step_end(self, step: int, total_steps: int) -> None:
        """Let the teacher follow."""
        if step % self.interval(total_steps):
            return
        momentum = teacher_momentum(step, total_steps, rising=self.config.rising)
        pairs: list[tuple[Tensor, Tensor]] = [
            (self.get_buffer("teacher_log_scale"), self.log_scale)
        ]
        student = self.towers.named()
        pairs += [(own, student[name]) for name, own in self.teacher.named().items()]
        for own, other in pairs:
            own.mul_(momentum).add_(other.detach(), alpha=1 - momentum)
